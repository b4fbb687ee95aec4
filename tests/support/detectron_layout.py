"""Writes models as Detectron does: the other way round and by other means than the package reads them."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import torch

BLOCKS = {2: 2, 3: 3, 4: 5, 5: 2}  # the last block of each stage of a ResNet-50
# Our layer: Detectron's, as its code names them.
HEADS = {
    "rpn.head.conv": "conv_rpn_fpn2",
    "rpn.head.cls_logits": "rpn_cls_logits_fpn2",
    "rpn.head.bbox_pred": "rpn_bbox_pred_fpn2",
    "roi_heads.box.feature_extractor.fc6": "fc6",
    "roi_heads.box.feature_extractor.fc7": "fc7",
    "roi_heads.box.predictor.cls_score": "cls_score",
    "roi_heads.box.predictor.bbox_pred": "bbox_pred",
    "roi_heads.mask.predictor.conv5_mask": "conv5_mask",
    "roi_heads.mask.predictor.mask_fcn_logits": "mask_fcn_logits",
    "roi_heads.keypoint.predictor.kps_score_lowres": "kps_score_lowres",
    "backbone.body.stem.conv1": "conv1",
    "backbone.fpn.top_blocks.p6": "fpn_6",
    "backbone.fpn.top_blocks.p7": "fpn_7",
}


def is_constant(key: str) -> bool:
    return key.endswith(("running_mean", "running_var")) or "cell_anchors" in key


def blob_name(key: str, gn: bool) -> str:
    """Detectron's name of a parameter of a model on a feature pyramid; `gn`: with group norms."""
    layer, parameter = key.rsplit(".", 1)
    suffix = {"weight": "w", "bias": "b"}[parameter]
    norm = ("_gn_" if gn else "_bn_") + {"weight": "s", "bias": "b"}[parameter]
    words = layer.split(".")
    if layer in HEADS:
        return f"{HEADS[layer]}_{suffix}"
    if layer == "backbone.body.stem.bn1":
        return ("conv1" if gn else "res_conv1") + norm
    if words[1] == "body":
        block = f"res{int(words[2][-1]) + 1}_{words[3]}_branch"
        if words[4] == "downsample":
            return block + "1" + (norm if words[5] == "1" else "_w")
        return block + "2" + "abc"[int(words[4][-1]) - 1] + (norm if words[4].startswith("bn") else "_w")
    if words[1] == "fpn":
        stage = int(words[2][-1]) + 1
        name = f"fpn_{'inner_' if 'inner' in words[2] else ''}res{stage}_{BLOCKS[stage]}_sum"
        name += "_lateral" if "inner" in words[2] and stage < 5 else ""
        return name + (norm if words[3:] == ["1"] else f"_{suffix}")
    if words[3] == "xconvs":
        index, is_norm = divmod(int(words[4]), 3)
        return f"head_conv{index + 1}" + (norm if is_norm else "_w")
    fcn = words[3].replace("mask_fcn", "_[mask]_fcn")
    return fcn + (norm if words[4:] == ["1"] else f"_{suffix}")


def c4_blob_name(key: str) -> str:
    """Detectron's name of a parameter of a model without a pyramid, whose res5 is in the head of the boxes."""
    in_body = key.replace("roi_heads.box.feature_extractor.head", "backbone.body")
    return re.sub(r"_fpn2_(?=[wb]$)", "_", blob_name(in_body, gn=False))


def retinanet_blob(key: str, value: torch.Tensor) -> tuple[str, np.ndarray]:
    """Detectron's name of a RetinaNet's parameter and its content; the heads are named by the finest level, P3.

    Detectron's predictions for a position go octave by octave and within it shape by shape, 3 of each; ours the other way.
    """
    suffix = {"weight": "w", "bias": "b"}[key.rsplit(".", 1)[1]]
    if tower := re.match(r"rpn\.head\.(cls|bbox)_tower\.(\d)\.", key):
        return f"retnet_{tower[1]}_conv_n{int(tower[2]) // 2}_fpn3_{suffix}", value.numpy()
    if predictor := re.match(r"rpn\.head\.(cls_logits|bbox_pred)\.", key):
        size = len(value) // 9
        anchors = [shape * 3 + octave for octave in range(3) for shape in range(3)]
        ordered = np.concatenate([value[a * size : (a + 1) * size].numpy() for a in anchors])
        return f"retnet_{'cls' if predictor[1] == 'cls_logits' else 'bbox'}_pred_fpn3_{suffix}", ordered
    return blob_name(key, gn=False), value.numpy()


def write(path: Path, blobs: dict, protocol: int = 2, bare: bool = False) -> str:
    """Pickle blobs as Detectron's trainer does, or `bare` as its files of ImageNet weights are."""
    path.write_bytes(pickle.dumps(blobs if bare else {"blobs": blobs, "cfg": "MODEL: {}"}, protocol=protocol))
    return str(path)
