"""Weights of torchvision's ResNets and of its R-CNNs on a feature pyramid, under this package's names.

What is the same: the layers, the order of anchors and box offsets, BBOX_REG_WEIGHTS, and RoIAlign without the half pixel.
What differs is taken into the weights: RGB in [0, 1] over its standard deviation against INPUT.TO_BGR255, PIXEL_MEAN and
PIXEL_STD; the epsilon of the batch norms; and the 91 outputs for COCO's ids against its 80 classes.

What stays different in a detector: here boxes include their last pixel and anchors are centred half a cell further, so
boxes come out up to a pixel apart until the model is trained a little.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from yacs.config import CfgNode

from maskrcnn_benchmark.checkpoint.detectron import rename_deformable
from maskrcnn_benchmark.checkpoint.errors import CheckpointError

SCHEME = "torchvision://"
# Of RGB in [0, 1].
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
BN_EPS = 1e-5
# COCO's ids run to 90; these have no objects.
_COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_COCO_OUTPUTS = [i for i in range(91) if i not in _COCO_GAPS]  # 0 is the background

_NAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"backbone\.body\.(conv1|bn1)\.", r"backbone.body.stem.\1."),
        (r"(conv1|bn1)\.", r"stem.\1."),
        (r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
        (r"roi_heads\.box_head\.", "roi_heads.box.feature_extractor."),
        (r"roi_heads\.box_predictor\.", "roi_heads.box.predictor."),
        (r"roi_heads\.mask_head\.(mask_fcn\d)\.", r"roi_heads.mask.feature_extractor.\1."),
        (r"roi_heads\.mask_predictor\.", "roi_heads.mask.predictor."),
        (r"roi_heads\.keypoint_predictor\.", "roi_heads.keypoint.predictor."),
    )
)
# Lists that torchvision counts from 0: old files have them without the inner ".0".
_LISTS: tuple[tuple[re.Pattern[str], str, int], ...] = tuple(
    (re.compile(pattern), name, step)
    for pattern, name, step in (
        (r"backbone\.fpn\.inner_blocks\.(\d)(?:\.0)?\.(?=weight|bias)", "backbone.fpn.fpn_inner", 1),
        (r"backbone\.fpn\.layer_blocks\.(\d)(?:\.0)?\.(?=weight|bias)", "backbone.fpn.fpn_layer", 1),
        (r"roi_heads\.mask_head\.(\d)\.0\.", "roi_heads.mask.feature_extractor.mask_fcn", 1),
        (r"roi_heads\.keypoint_head\.(\d+)\.", "roi_heads.keypoint.feature_extractor.conv_fcn", 2),  # ReLUs between
    )
)


def is_torchvision(names: Collection[str]) -> bool:
    """Whether a state dict is one of torchvision's; Caffe's ResNets in similar names have no classifier `fc`."""
    classifier = {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "fc.weight"} <= set(names)
    return classifier or any(name.startswith("backbone.fpn.inner_blocks.") for name in names)


def address(name: str) -> str:
    """The URL of torchvision://MODEL or torchvision://MODEL/WEIGHTS; without WEIGHTS the first that torchvision had."""
    from torchvision.models import get_model_weights

    model, _, wanted = name.removeprefix(SCHEME).partition("/")
    try:
        weights = get_model_weights(model)
    except ValueError:
        raise CheckpointError(f"torchvision has no model {model!r}; one that it has is {SCHEME}resnet50.") from None
    known = {entry.name: entry.url for entry in weights}
    if wanted and wanted not in known:
        raise CheckpointError(f"torchvision has no weights {wanted!r} of {model}, only {', '.join(known)}.")
    return known[wanted] if wanted else next(iter(known.values()))


def convert_torchvision(cfg: CfgNode, state_dict: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """A state dict of torchvision's for the model and the images of `cfg`.

    Raises:
        CheckpointError: the model of `cfg` computes something else from such weights, or they are of another design.
    """
    _check(cfg, state_dict)
    # Batch norms that count batches have an epsilon. torchvision sets that of its published detectors, which are frozen
    # and do not count, to 0.
    eps = BN_EPS if any(n.endswith(".num_batches_tracked") for n in state_dict) or "fc.weight" in state_dict else 0.0
    if "FixedBatchNorm" not in cfg.MODEL.RESNETS.TRANS_FUNC:
        eps = 0.0  # a batch norm that learns adds its own
    converted = OrderedDict()
    for name, value in state_dict.items():
        if name.startswith("fc.") or name.endswith(".num_batches_tracked"):
            continue
        if name in ("conv1.weight", "backbone.body.conv1.weight"):
            value = _for_images(cfg, value)
        elif name.endswith(".running_var"):
            value = value + eps
        elif re.search(r"\.(cls_score|bbox_pred|mask_fcn_logits)\.", name) and name.startswith("roi_heads."):
            value = _for_classes(cfg, value, 4 if ".bbox_pred." in name else 1)
        converted[_rename(name)] = value
    return rename_deformable(converted, cfg.MODEL.RESNETS.STAGE_WITH_DCN)


def _check(cfg: CfgNode, state_dict: Mapping[str, Tensor]) -> None:
    resnets = cfg.MODEL.RESNETS
    if any(name.endswith("layer1.0.conv3.weight") for name in state_dict) and resnets.STRIDE_IN_1X1:
        raise CheckpointError(
            "torchvision's bottlenecks have their stride in the 3 x 3 convolution; set MODEL.RESNETS.STRIDE_IN_1X1 False."
        )
    if resnets.TRANS_FUNC.endswith("GN"):
        raise CheckpointError(
            f"torchvision's weights are for batch norms, and MODEL.RESNETS.TRANS_FUNC is {resnets.TRANS_FUNC!r}."
        )
    if "backbone.fpn.inner_blocks.0.1.weight" in state_dict:
        raise CheckpointError(
            "These are weights of one of torchvision's _v2 detectors, whose pyramid has batch norms, which ours has not; "
            "take the first version."
        )


def _rename(name: str) -> str:
    for pattern, prefix, step in _LISTS:
        if match := pattern.match(name):
            return f"{prefix}{int(match[1]) // step + 1}.{name[match.end() :]}"
    for pattern, replacement in _NAMES:
        if match := pattern.match(name):
            return match.expand(replacement) + name[match.end() :]
    return name


def _for_images(cfg: CfgNode, weight: Tensor) -> Tensor:
    """The first convolution, Tensor[O, 3, H, W], for images as `cfg.INPUT` gives them."""
    mean, std, top = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD), 1.0
    if cfg.INPUT.TO_BGR255:
        mean, std, weight, top = mean.flip(0), std.flip(0), weight.flip(1), 255.0
    offset = (torch.tensor(cfg.INPUT.PIXEL_MEAN) / top - mean) / std
    if offset.abs().max() > 1e-3:
        # It cannot go into the weights: the border of zeros has none.
        exact = ", ".join(f"{v:g}" for v in (mean * top).tolist())
        logging.getLogger(__name__).warning(
            "INPUT.PIXEL_MEAN is up to %.3f standard deviations from the one these weights were trained with; "
            "INPUT.PIXEL_MEAN (%s) is exact.",
            offset.abs().max(),
            exact,
        )
    return weight * (torch.tensor(cfg.INPUT.PIXEL_STD) / (top * std))[:, None, None].to(weight.dtype)


def _for_classes(cfg: CfgNode, value: Tensor, per_class: int) -> Tensor:
    """Outputs of a predictor, Tensor[91 * per_class, ...], for the classes of COCO where the model has those."""
    if len(value) != 91 * per_class or cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES != len(_COCO_OUTPUTS):
        return value
    return value.unflatten(0, (91, per_class))[_COCO_OUTPUTS].flatten(0, 1)
