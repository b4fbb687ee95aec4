"""Weights of detectron2's ResNets and of its R-CNNs on a plain feature pyramid, under this package's names.

What differs is taken into the weights: the background is detectron2's last class and ours the first, box offsets and masks
have no entry for it there, and its frozen batch norms have an epsilon.

What stays different: it pools regions half a pixel further up and left (ROIAlignV2), its boxes end before their last
pixel, and its anchors are centred on the corner of a cell; boxes come out up to a pixel apart. Images must be given as
the weights were trained: INPUT.PIXEL_MEAN (103.53, 116.28, 123.675) for all that start from MSRA's ResNets, and
STRIDE_IN_1X1 as there.
"""

import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from maskrcnn_benchmark.checkpoint.detectron import rename_deformable
from maskrcnn_benchmark.checkpoint.errors import CheckpointError

BN_EPS = 1e-5

_BODY = re.compile(r"(backbone\.bottom_up\.)?(stem|res[2-5]\.\d+)\.(conv[123]|shortcut)(\.norm)?")
_PYRAMID = re.compile(r"backbone\.fpn_(lateral|output)([2-5])")
_HEADS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"proposal_generator\.rpn_head\.conv", "rpn.head.conv"),
        (r"proposal_generator\.rpn_head\.objectness_logits", "rpn.head.cls_logits"),
        (r"proposal_generator\.rpn_head\.anchor_deltas", "rpn.head.bbox_pred"),
        (r"roi_heads\.box_head\.fc1", "roi_heads.box.feature_extractor.fc6"),
        (r"roi_heads\.box_head\.fc2", "roi_heads.box.feature_extractor.fc7"),
        (r"roi_heads\.box_predictor\.(cls_score|bbox_pred)", r"roi_heads.box.predictor.\1"),
        (r"roi_heads\.mask_head\.(mask_fcn\d)", r"roi_heads.mask.feature_extractor.\1"),
        (r"roi_heads\.mask_head\.deconv", "roi_heads.mask.predictor.conv5_mask"),
        (r"roi_heads\.mask_head\.predictor", "roi_heads.mask.predictor.mask_fcn_logits"),
        (r"roi_heads\.keypoint_head\.(conv_fcn\d)", r"roi_heads.keypoint.feature_extractor.\1"),
        (r"roi_heads\.keypoint_head\.score_lowres", "roi_heads.keypoint.predictor.kps_score_lowres"),
    )
)
# Constants, and the classifier of an ImageNet model.
_DROPPED = re.compile(
    r"pixel_(mean|std)|proposal_generator\.anchor_generator\..*|(stem\.)?fc\..*|.*num_batches_tracked"
)


def is_detectron2(names: Collection[str]) -> bool:
    return "res2.0.conv1.weight" in names or any(n.startswith("backbone.bottom_up.") for n in names)


def convert_detectron2(cfg: CfgNode, weights: Mapping[str, Any]) -> OrderedDict[str, Tensor]:
    """A state dict of detectron2's, arrays or tensors, for the model of `cfg`.

    Raises:
        CheckpointError: a layer has no counterpart here, as in pyramids with norm layers and deformable bodies.
    """
    # A batch norm that learns adds its own epsilon.
    eps = BN_EPS if "FixedBatchNorm" in cfg.MODEL.RESNETS.TRANS_FUNC else 0.0
    converted: OrderedDict[str, Tensor] = OrderedDict()
    for source, array in weights.items():
        if _DROPPED.fullmatch(source):
            continue
        layer, _, parameter = source.rpartition(".")
        name = _layer_name(layer)
        if name is None:
            raise CheckpointError(
                f"{source} of detectron2's has no counterpart here; models with plain ResNets and a pyramid without norms have."
            )
        value = array if isinstance(array, Tensor) else torch.from_numpy(np.array(array))
        if parameter == "running_var":
            value = value + eps
        converted[f"{name}.{parameter}"] = _background_first(name, value)
    return rename_deformable(converted, cfg.MODEL.RESNETS.STAGE_WITH_DCN)


def _layer_name(layer: str) -> str | None:
    if body := _BODY.fullmatch(layer):
        detector, block, module, norm = body.groups()
        prefix = "backbone.body." if detector else ""
        if block != "stem":
            stage, index = block[3:].split(".")
            block = f"layer{int(stage) - 1}.{index}"
        if module == "shortcut":
            return f"{prefix}{block}.downsample.{1 if norm else 0}"
        return f"{prefix}{block}.{'bn' if norm else 'conv'}{module[-1]}"
    if level := _PYRAMID.fullmatch(layer):
        return f"backbone.fpn.fpn_{'inner' if level[1] == 'lateral' else 'layer'}{int(level[2]) - 1}"
    for pattern, name in _HEADS:
        if match := pattern.fullmatch(layer):
            return match.expand(name)
    return None


def _background_first(name: str, value: Tensor) -> Tensor:
    """Outputs of a predictor, Tensor[K, ...], in our order; those that are missing for the background become zeros.

    A predictor with one output for all classes stays as it is.
    """
    if name.endswith(".predictor.cls_score"):
        return value.roll(1, 0)
    per_class = {"bbox_pred": 4, "mask_fcn_logits": 1}.get(name.rpartition(".")[2], 0)
    if not name.startswith("roi_heads.") or not per_class or len(value) == per_class:
        return value
    return torch.cat((value.new_zeros(per_class, *value.shape[1:]), value))
