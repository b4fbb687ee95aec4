"""Weights from Detectron's .pkl files (Caffe2), under this package's names.

The names returned leave out what a model may prefix them with: `layer4.0.conv1.weight` finds its place in a body as well
as in the heads of a C4 model, which both take it.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.utils.wording import counted, listed

# The last part of a blob's name and of ours.
_PARAMETERS = {"w": "weight", "b": "bias", "s": "weight"}
_CONVOLUTIONS = {"a": "1", "b": "2", "c": "3"}
# Classifiers of ImageNet, the fixed upsampling of keypoints, and what a solver keeps beside the weights.
_DROPPED = re.compile(r"(fc1000|pred)_[wb]|kps_score_[wb]|.*_momentum|lr|model_iter|weight_order|cfg")

# Layer name in Detectron, ours. FPN heads exist once, under the name of their finest level.
_LAYERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"fpn_([67])", r"fpn.top_blocks.p\1"),
        (r"conv_rpn(_fpn\d)?", r"rpn.head.conv"),
        (r"rpn_(cls_logits|bbox_pred)(_fpn\d)?", r"rpn.head.\1"),
        (r"retnet_cls_pred_fpn\d", r"rpn.head.cls_logits"),
        (r"retnet_bbox_pred_fpn\d", r"rpn.head.bbox_pred"),
        (r"(fc[67])", r"box.feature_extractor.\1"),
        (r"(cls_score|bbox_pred)", r"box.predictor.\1"),
        (r"_?(?:\[mask\]|mask)_fcn(\d)", r"mask.feature_extractor.mask_fcn\1"),
        (r"(conv5_mask|mask_fcn_logits)", r"mask.predictor.\1"),
        (r"(conv_fcn\d)", r"keypoint.feature_extractor.\1"),
        (r"(kps_score_lowres)", r"keypoint.predictor.\1"),
    )
)
_BLOCK = re.compile(r"(_\[mask\]_)?res([2-5])_(\d+)_branch(1|2[abc])(_bn|_gn)?")
_FPN = re.compile(r"fpn_(inner_)?res([2-5])_\d+_sum(?:_lateral)?")


def _layer_name(layer: str, with_norm: bool) -> str | None:
    """Our name of a layer, or None.

    Args:
        layer: a blob's name without its last part.
        with_norm: whether the layer is a convolution with a group norm of its own after it.
    """
    if block := _BLOCK.fullmatch(layer):
        mask, stage, index, branch, norm = block.groups()
        prefix = f"{'mask.feature_extractor.head.' if mask else ''}layer{int(stage) - 1}.{index}."
        if branch == "1":
            return f"{prefix}downsample.{1 if norm else 0}"
        return f"{prefix}{'bn' if norm else 'conv'}{_CONVOLUTIONS[branch[1]]}"
    if layer in ("conv1", "res_conv1_bn", "conv1_bn", "conv1_gn"):
        return f"stem.{'conv1' if layer == 'conv1' else 'bn1'}"
    if tower := re.fullmatch(r"retnet_(cls|bbox)_conv_n(\d)_fpn\d", layer):
        return f"rpn.head.{tower[1]}_tower.{2 * int(tower[2])}"
    is_norm = layer.endswith("_gn")
    base = layer.removesuffix("_gn")
    part = f".{int(is_norm)}" if with_norm or is_norm else ""
    if head := re.fullmatch(r"head_conv(\d)", base):
        step = 3 if part else 2  # convolution, norm, ReLU
        return f"box.feature_extractor.xconvs.{step * (int(head[1]) - 1) + is_norm}"
    if pyramid := _FPN.fullmatch(base):
        return f"fpn.fpn_{'inner' if pyramid[1] else 'layer'}{int(pyramid[2]) - 1}{part}"
    for pattern, name in _LAYERS:
        if match := pattern.fullmatch(base):
            return match.expand(name) + part
    return None


def blob_name(blob: str, blobs: Container[str]) -> str | None:
    """Our name of a blob's weights among those of a file, or None."""
    layer, _, parameter = blob.rpartition("_")
    name = _layer_name(layer, with_norm=f"{layer}_gn_s" in blobs) if parameter in _PARAMETERS else None
    return None if name is None else f"{name}.{_PARAMETERS[parameter]}"


def rename_blobs(blobs: Mapping[str, np.ndarray]) -> OrderedDict[str, Tensor]:
    """Detectron's blobs under our names; what is no weight of a detector is left out, and said if it is unexpected."""
    weights: OrderedDict[str, Tensor] = OrderedDict()
    unknown = []
    for blob, value in blobs.items():
        if _DROPPED.fullmatch(blob) or not isinstance(value, np.ndarray):
            continue
        name = blob_name(blob, blobs)
        # The bias of a convolution with a batch norm after it is part of the norm: MSRA's stem has one, of zeros.
        if name is None or name == "stem.conv1.bias":
            if name is None:
                unknown.append(blob)
            continue
        if value.dtype.kind not in "fiub":
            raise CheckpointError(f"The blob {blob} of the file holds no numbers, but values of dtype {value.dtype}.")
        with np.errstate(over="ignore"):  # infinite values are said when the weights are loaded
            weights[name] = torch.from_numpy(np.array(value, dtype=np.float32))
    if unknown:
        said = counted(len(unknown), "blob of the file has", "blobs of the file have")
        logging.getLogger(__name__).info("%s no place here: %s", said, listed(sorted(unknown)))
    return weights


def rename_deformable(weights: OrderedDict[str, Tensor], stages: Iterable[bool]) -> OrderedDict[str, Tensor]:
    """Put the 3 x 3 convolutions of the deformable stages (res2 first) where a DFConv2d has its own."""
    deformable = {f"layer{i}" for i, on in enumerate(stages, start=1) if on}
    pattern = re.compile(r"(?:.*\.)?(layer\d)\.\d+\.conv2\.weight")

    def renamed(name: str) -> str:
        match = pattern.fullmatch(name)
        return name.removesuffix("weight") + "conv.weight" if match and match[1] in deformable else name

    return OrderedDict((renamed(name), value) for name, value in weights.items())


def reorder_anchors(weights: OrderedDict[str, Tensor], scales: int, shapes: int) -> OrderedDict[str, Tensor]:
    """A RetinaNet's predictions at a position: Detectron's go scale by scale, ours and upstream's shape by shape."""

    def reordered(name: str, value: Tensor) -> Tensor:
        if not name.startswith(("rpn.head.cls_logits.", "rpn.head.bbox_pred.")) or len(value) % (scales * shapes):
            return value
        return value.unflatten(0, (scales, shapes, -1)).transpose(0, 1).flatten(0, 2)

    return OrderedDict((name, reordered(name, value)) for name, value in weights.items())


def convert_c2(cfg: CfgNode, loaded: Mapping[str, Any], source: str) -> OrderedDict[str, Tensor]:
    """What a Detectron file holds, for the model of `cfg`.

    Args:
        source: the file, for messages.

    Raises:
        CheckpointError: it holds something else, or there are no such files for the body of `cfg`.
    """
    body = cfg.MODEL.BACKBONE.CONV_BODY
    if not body.startswith("R-"):
        raise CheckpointError(
            f"Detectron's files are for ResNets, and MODEL.BACKBONE.CONV_BODY is {body!r}: {source} does not fit."
        )
    blobs = loaded.get("blobs", loaded)
    if isinstance(blobs, dict) and not all(isinstance(name, str) for name in blobs):
        raise CheckpointError(f"{source} is none of Detectron's files: not all of its entries have names.")
    weights = rename_blobs(blobs) if isinstance(blobs, dict) else OrderedDict()
    if not weights:
        names = listed([name if isinstance(name, str) else type(name).__name__ for name in loaded])
        raise CheckpointError(f"{source} holds no blob with a name of Detectron's; its entries are {names}.")
    if cfg.MODEL.RETINANET_ON:
        weights = reorder_anchors(
            weights, cfg.MODEL.RETINANET.SCALES_PER_OCTAVE, len(cfg.MODEL.RETINANET.ASPECT_RATIOS)
        )
    return rename_deformable(weights, cfg.MODEL.RESNETS.STAGE_WITH_DCN)
