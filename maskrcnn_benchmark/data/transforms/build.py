from typing import Any

from yacs.config import CfgNode

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.transforms import flips_and_colours
from maskrcnn_benchmark.data.transforms import transforms as T
from maskrcnn_benchmark.data.transforms.crop import RandomCrop, RandomTile, ScaleJitter
from maskrcnn_benchmark.data.transforms.registry import make_transform


def build_transforms(cfg: CfgNode, is_train: bool = True) -> T.Compose:
    """What the INPUT keys describe; nothing random for testing."""
    source, own = cfg.INPUT, options(cfg).INPUT
    steps: list[Any] = []
    if is_train:
        jitter = (source.BRIGHTNESS, source.CONTRAST, source.SATURATION, source.HUE)
        if any(jitter):
            steps.append(getattr(T, "ColorJitter", flips_and_colours.ColorJitter)(*jitter))
        steps += [make_transform(name, cfg) for name in own.TRANSFORMS]
        if own.CROP_TYPE:
            steps.append(RandomCrop(own.CROP_TYPE, own.CROP_SIZE, own.CROP_MIN_VISIBLE))
        if own.TILES.TRAIN and own.TILES.SIZE:
            tiles = own.TILES
            scales = own.SCALE_JITTER or (1.0, 1.0)
            tile: Any = RandomTile(tiles.SIZE, tiles.SCALE, scales, tiles.OBJECTS, tiles.MIN_VISIBLE)
            if share := tiles.TRAIN_WHOLE:
                from torchvision.transforms import RandomChoice  # takes as long to import as torch

                whole = T.Resize(source.MIN_SIZE_TRAIN, source.MAX_SIZE_TRAIN)
                tile = RandomChoice([tile, whole], [1 - share, share])
            steps.append(tile)
        elif own.SCALE_JITTER:
            fill = _mean_colour(source)
            steps.append(ScaleJitter(own.SCALE_JITTER, own.SCALE_JITTER_SIZE, fill, own.CROP_MIN_VISIBLE))
        else:
            steps.append(T.Resize(source.MIN_SIZE_TRAIN, source.MAX_SIZE_TRAIN))
        steps.append(T.RandomHorizontalFlip(source.HORIZONTAL_FLIP_PROB_TRAIN))
        if source.VERTICAL_FLIP_PROB_TRAIN > 0:
            flip = getattr(T, "RandomVerticalFlip", flips_and_colours.RandomVerticalFlip)
            steps.append(flip(source.VERTICAL_FLIP_PROB_TRAIN))
    else:
        steps.append(T.Resize(source.MIN_SIZE_TEST, source.MAX_SIZE_TEST))
    steps += [T.ToTensor(), T.Normalize(source.PIXEL_MEAN, source.PIXEL_STD, source.TO_BGR255)]
    return T.Compose(steps)


def _mean_colour(source: CfgNode) -> tuple[int, ...]:
    """The pixels that Normalize makes next to 0, RGB."""
    mean = source.PIXEL_MEAN[::-1] if source.TO_BGR255 else [255 * m for m in source.PIXEL_MEAN]
    return tuple(min(max(round(m), 0), 255) for m in mean)
