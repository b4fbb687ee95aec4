"""What INPUT.TRANSFORMS may name, and whether what it does to an image and its objects fits together."""

import inspect
from typing import Any

import torch
from PIL import Image

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data.items import ItemError, described
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.registered import registered
from maskrcnn_benchmark.utils.registry import Registry

# A class whose instances take and return a PIL image and its target, a BoxList, with a plain keyword constructor and, where it
# reads cfg, a class method `from_config(cfg)`; or a function make(cfg) that returns such a callable; or the callable itself.
TRANSFORMS = Registry()


class OwnTransform:
    """A registered transform, whose results are looked at. One that returns an image alone leaves the objects as they are."""

    def __init__(self, name: str, transform: Any):
        self.name, self.transform = name, transform

    def __call__(self, image: Image.Image, target: BoxList) -> tuple[Image.Image, BoxList]:
        result = self.transform(image, target)
        is_pair = isinstance(result, tuple) and len(result) == 2
        image, target = result if is_pair else (result, target)
        if not isinstance(image, Image.Image) or image.mode != "RGB" or not isinstance(target, BoxList):
            got = f"{described(image)} and {described(target)}" if is_pair else described(result)
            raise self._error(f"must return a PIL image of the mode RGB and a BoxList; got {got}")
        if tuple(target.size) != image.size:
            raise self._error(
                f"returned an image of {_sides(image.size)} and boxes of one of {_sides(target.size)} pixels; what it does to "
                "the image it must do to the boxes too (BoxList.resize, crop and transpose), and give them the image's size"
            )
        boxes = target.convert("xyxy").bbox
        if not torch.isfinite(boxes).all():
            raise self._error("returned a box that is not finite")
        first, last = boxes[:, :2], boxes[:, 2:]
        outside = ((last < -1) | (first > boxes.new_tensor(image.size))).any(1)
        if outside.any():
            box = [round(v, 1) for v in boxes[outside][0].tolist()]
            raise self._error(
                f"returned a box {box} that lies outside the image of {_sides(image.size)} pixels; "
                "`target.clip_to_image(remove_empty=True)` leaves such objects out, and cuts others at the edges"
            )
        return image, target

    def _error(self, text: str) -> ItemError:
        return ItemError(f"the transform {self.name!r} of INPUT.TRANSFORMS {text}.")

    def __repr__(self) -> str:
        return repr(self.transform)


def _sides(size: Any) -> str:
    return " x ".join(f"{side:g}" for side in size)


def make_transform(name: str, cfg: Any) -> OwnTransform:
    """The transform registered as `name`, in any form of TRANSFORMS. A class without `from_config` whose constructor needs an
    argument, or calls its first one cfg or config, is given `cfg`.
    """
    entry = registered(TRANSFORMS, name, "INPUT.TRANSFORMS")
    if hasattr(entry, "from_config"):
        return OwnTransform(name, entry.from_config(cfg))
    parameters = list(inspect.signature(entry).parameters.values())
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    is_class = inspect.isclass(entry)
    if is_class:
        takes_cfg = bool(needed) or [p.name for p in parameters[:1]] in (["cfg"], ["config"])
        transform = entry(cfg) if takes_cfg else entry()
    else:
        transform = entry if len(needed) == 2 or "target" in [p.name for p in parameters] else entry(cfg)
    if not callable(transform):
        raise ConfigError(
            f"The transform {name!r} of INPUT.TRANSFORMS is registered as a function that returns {described(transform)}; it "
            "must be a class, a function of cfg that returns a transform, or a transform: a callable of an image and its target."
        )
    return OwnTransform(name, transform)
