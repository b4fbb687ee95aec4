"""Words of messages that depend on numbers."""

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any


def counted(count: int, singular: str, plural: str = "") -> str:
    """A number with its noun, "1 image" or "2,000 images"; a verb may follow the noun: counted(n, "image is", "images are").

    Args:
        plural: default: the singular with an s.
    """
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def lasting(seconds: float) -> str:
    """A time as "45 seconds", "1 minute" or "2.5 minutes"."""
    if seconds < 59.5:
        return counted(max(round(seconds), 1), "second")
    minutes = round(seconds / 60, 1)
    return counted(int(minutes), "minute") if minutes == int(minutes) else f"{minutes:,} minutes"


def listed(items: Collection[Any], most: int = 5) -> str:
    """The first `most` items with commas between, and how many more there are."""
    shown: Iterable[str] = (str(item) for item in islice(items, most))
    rest = len(items) - most
    return ", ".join(shown) + (f" and {rest:,} more" if rest > 0 else "")


def odd_name(names: Iterable[str]) -> str:
    """The first name that holds half of a character (a lone surrogate of UTF-16, "\\ud800", as JSON can have it), which no text
    file can hold; as ASCII, in quotes. Empty where all names are text."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            return ascii(name)
    return ""
