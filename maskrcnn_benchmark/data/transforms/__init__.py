from maskrcnn_benchmark.data.transforms.build import build_transforms
from maskrcnn_benchmark.data.transforms.crop import RandomCrop, RandomTile, ScaleJitter
from maskrcnn_benchmark.data.transforms.flips_and_colours import ColorJitter, RandomVerticalFlip
from maskrcnn_benchmark.data.transforms.transforms import Compose, Normalize, RandomHorizontalFlip, Resize, ToTensor

__all__ = [
    "ColorJitter",
    "Compose",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomTile",
    "RandomVerticalFlip",
    "Resize",
    "ScaleJitter",
    "ToTensor",
    "build_transforms",
]
