"""Names of a package that are imported when they are first asked for, so that who needs one module of it waits for no others."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def late_imports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`; `homes` says which module of the package each name comes from ("..other": of
    the package two above). Modules are found by name too.
    """

    def find(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(f".{homes[name]}", package), name)
        module = f"{package}.{name}"
        try:
            if not name.startswith("_"):
                return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
