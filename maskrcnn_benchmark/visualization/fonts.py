"""Fonts for text in any script: Pillow's own for what it has, those of the system for the rest.

MRB_FONT in the environment names a TrueType or OpenType font that comes before those of the system.
"""

import logging
import os
import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

ENDINGS = (".ttf", ".otf", ".ttc")
# Of the system's fonts those that are made for reading come first, and the plain cut of each.
PREFERRED = (
    "notosans-regular",
    "notosanscjk",
    "dejavusans.",
    "arialuni",
    "arial.",
    "segoeui.",
    "helvetica",
    "liberationsans",
)
SIZE_TO_COMPARE = 24
ABSENT = "\U0010ffff"  # no character: fonts show for it what they show for all that they lack

logger = logging.getLogger(__name__)
_said: set[str] = set()


def font_folders() -> list[Path]:
    """Where this system keeps fonts."""
    home = Path.home()
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home)) / "Microsoft" / "Windows" / "Fonts"
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts", local]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    shared = os.environ.get("XDG_DATA_DIRS", "") or "/usr/local/share:/usr/share"
    own = Path(os.environ.get("XDG_DATA_HOME", "") or home / ".local" / "share")
    return [home / ".fonts", own / "fonts", *(Path(folder) / "fonts" for folder in shared.split(":") if folder)]


@lru_cache(maxsize=1)
def font_files() -> list[str]:
    """MRB_FONT, then the fonts of the system, the preferred ones first."""
    found: list[str] = []
    for folder in font_folders():
        for path, _, names in os.walk(folder):
            found += [os.path.join(path, name) for name in names if name.lower().endswith(ENDINGS)]

    def rank(path: str) -> tuple:
        name = os.path.basename(path).lower()
        place = next((i for i, word in enumerate(PREFERRED) if name.startswith(word)), len(PREFERRED))
        is_plain = not any(
            word in name for word in ("bold", "italic", "oblique", "mono", "serif", "condensed", "light")
        )
        return place, not is_plain, name

    named = os.environ.get("MRB_FONT", "")
    if named and _opened(named, SIZE_TO_COMPARE) is None:
        logger.warning("MRB_FONT names %s, which is no font that can be read.", named)
    return [*([named] if named else []), *sorted(found, key=rank)]


@lru_cache(maxsize=64)
def _opened(path: str, size: int) -> ImageFont.FreeTypeFont | None:
    """A font by its file, "" for Pillow's own; None where it cannot be used, as fonts of coloured pictures."""
    try:
        return ImageFont.load_default(size) if not path else ImageFont.truetype(path, size)  # type: ignore[return-value]
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4096)
def _has(path: str, character: str) -> bool:
    font = _opened(path, SIZE_TO_COMPARE)
    if font is None:
        return False
    shape, absent = font.getmask(character), font.getmask(ABSENT)
    return shape.size != absent.size or bytes(shape) != bytes(absent)


@lru_cache(maxsize=4096)
def font_for(character: str) -> str | None:
    """The file of the first font that has a character ("" for Pillow's own), or None."""
    if character.isspace() or unicodedata.category(character) in (
        "Mn",
        "Me",
        "Cf",
    ):  # what joins others has no shape of its own
        return ""
    return next((path for path in ("", *font_files()) if _has(path, character)), None)


def readable(text: str) -> str:
    """A text for one line: control characters become spaces."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)


def runs(text: str) -> Iterator[tuple[str, str]]:
    """(file of a font, part of the text) one after another, all of it in one font if one has it all; warns once of what none
    has."""
    _warn_of_missing(text)
    fonts: list[str] = []
    for character in text:
        is_joined = unicodedata.category(character) in ("Mn", "Me", "Cf") and bool(fonts)
        fonts.append(fonts[-1] if is_joined else font_for(character) or "")
    for path in dict.fromkeys(fonts):
        if all(character.isspace() or _has(path, character) for character in text):
            yield path, text
            return
    for path, part in groupby(zip(fonts, text, strict=True), key=lambda pair: pair[0]):
        yield path, "".join(character for _, character in part)


def _warn_of_missing(text: str) -> None:
    missing = [c for c in dict.fromkeys(text) if c not in _said and font_for(c) is None]
    if not missing:
        return
    _said.update(missing)
    scripts = sorted({unicodedata.name(c, "unnamed").split()[0].capitalize() for c in missing})
    logger.warning(
        "No font on this machine has the characters %s (%s); they are drawn as empty boxes. Install one that has, such as Noto "
        "Sans of that script, or name its file in the environment variable MRB_FONT.",
        "".join(missing[:20]),
        ", ".join(scripts),
    )


def fitted(path: str, ascent: int, descent: int, size: int) -> ImageFont.FreeTypeFont:
    """A font by its file, of letters of `size` pixels or smaller, so that no more stands above and below the base line."""
    while True:
        font = _opened(path, size)
        assert font is not None
        own = font.getmetrics()
        scale = min(ascent / max(own[0], 1), descent / max(own[1], 1))
        if scale >= 1 or size <= 4:
            return font
        size = max(min(int(size * scale), size - 1), 4)


def draw_line(text: str, size: int, margin: int) -> Image.Image:
    """A text in one line, white on black, mode "L", with `margin` pixels around; all texts of a size have one height and one
    base line."""
    plain = _opened("", size)
    assert plain is not None
    ascent, descent = plain.getmetrics()
    parts = [(plain if not path else fitted(path, ascent, descent, size), part) for path, part in runs(readable(text))]
    if not features.check("raqm"):  # which orders and joins letters; without, at least their order is right
        parts = [(font, part[::-1] if _is_right_to_left(part) else part) for font, part in parts]
    width = sum(font.getlength(part) for font, part in parts)
    picture = Image.new("L", (int(width) + 2 * margin + 1, ascent + descent + margin))
    pen, x = ImageDraw.Draw(picture), float(margin)
    for font, part in parts:
        pen.text((x, margin // 2 + ascent), part, fill=255, font=font, anchor="ls")
        x += font.getlength(part)
    return picture


def _is_right_to_left(text: str) -> bool:
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
