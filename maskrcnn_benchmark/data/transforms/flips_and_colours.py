"""Random mirroring and colours."""

import random

from PIL import Image

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM


class _RandomFlip:
    pil_method: Image.Transpose
    method: int

    def __init__(self, prob: float = 0.5):
        self.prob = prob

    def __call__(self, image: Image.Image, target: BoxList | None) -> tuple[Image.Image, BoxList | None]:
        if random.random() >= self.prob or _cannot_be_mirrored(target):
            return image, target
        return image.transpose(self.pil_method), target if target is None else target.transpose(self.method)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob})"


def _cannot_be_mirrored(target: BoxList | None) -> bool:
    """Whether nobody knows which keypoints change places; `check_flips` says so before a training."""
    if target is None or not target.has_field("keypoints"):
        return False
    return getattr(target.get_field("keypoints"), "FLIP_INDS", ()) is None


class RandomHorizontalFlip(_RandomFlip):
    pil_method = Image.Transpose.FLIP_LEFT_RIGHT
    method = FLIP_LEFT_RIGHT


class RandomVerticalFlip(_RandomFlip):
    pil_method = Image.Transpose.FLIP_TOP_BOTTOM
    method = FLIP_TOP_BOTTOM


class ColorJitter:
    """torchvision's random brightness, contrast, saturation and hue."""

    def __init__(self, brightness: float = 0, contrast: float = 0, saturation: float = 0, hue: float = 0):
        import torchvision.transforms  # here, as it takes as long to import as torch, and predictions need it nowhere

        self.color_jitter = torchvision.transforms.ColorJitter(
            brightness or 0, contrast or 0, saturation or 0, hue or 0
        )

    def __call__(self, image: Image.Image, target: BoxList | None) -> tuple[Image.Image, BoxList | None]:
        return self.color_jitter(image), target

    def __repr__(self) -> str:
        return repr(self.color_jitter)
