"""Image files, and what is said about those that cannot be read."""

from PIL import Image


class BrokenImageError(OSError):
    """An image file that is missing or cannot be decoded; the message names it."""


def read_rgb(path: str) -> Image.Image:
    """The image as RGB. Raises BrokenImageError."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenImageError(f"The image {path} cannot be read: {error}") from None


def image_size(path: str) -> tuple[int, int]:
    """(width, height) from the file's header, without decoding it. Raises BrokenImageError."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenImageError(f"The image {path} cannot be read: {error}") from None
