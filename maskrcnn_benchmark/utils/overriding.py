"""Methods that somebody may replace: in a subclass, on an instance, or on the class itself, as patches in notebooks do.

Where images, levels and classes are handled together there is no moment at which upstream's step for one of them could be
called; a class one of whose steps was replaced goes through the steps instead.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


def replaceable(*names: str) -> Callable[[Class], Class]:
    """Decorate a class whose methods of these names `is_overridden` is asked for: they are kept as they are now. Outermost."""

    def keep(cls: Class) -> Class:
        cls._replaceable = {name: getattr(cls, name) for name in names}  # type: ignore[attr-defined]
        return cls

    return keep


def is_overridden(instance: object, base: Any, *names: str) -> bool:
    """Whether there is another method under one of these names than `base` had when it was defined.

    A fork's file may hold a `base` of its own, which is not decorated.
    """
    own = getattr(base, "_replaceable", None) or {name: getattr(base, name) for name in names}
    return any(getattr(getattr(instance, name), "__func__", None) is not own[name] for name in names)
