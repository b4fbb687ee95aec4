"""Detectron's .pkl files by maskrcnn-benchmark's names; the renaming itself is in checkpoint/detectron.py.

A body whose files are other ones registers a loader: `@C2_FORMAT_LOADER.register("MY-BODY")`, a function of (cfg, file) that
returns {"model": state dict}. The checkpointer asks here for every .pkl.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from maskrcnn_benchmark.checkpoint import detectron
from maskrcnn_benchmark.checkpoint.pickles import load_pickle
from maskrcnn_benchmark.utils.registry import Registry

# The last residual block of each stage, "stage.block", by the depth of the ResNet.
_C2_STAGE_NAMES = {
    body: [f"{stage}.{count - 1}" for stage, count in enumerate(counts, start=1)]
    for body, counts in {"R-50": (3, 4, 6, 3), "R-101": (3, 4, 23, 3), "R-152": (3, 8, 36, 3)}.items()
}

C2_FORMAT_LOADER = Registry()


def _load_c2_pickled_weights(file_path: str) -> Mapping[str, Any]:
    """The blobs of a file, by Detectron's names; nothing but arrays and plain containers is built."""
    loaded = load_pickle(file_path)
    return loaded.get("blobs", loaded)


def _rename_weights_for_resnet(
    weights: Mapping[str, np.ndarray], stage_names: Sequence[str] = ()
) -> OrderedDict[str, Tensor]:
    """Blobs under this package's names. `stage_names` is not needed: the names of the blocks say where they are."""
    return detectron.rename_blobs(weights)


def _rename_basic_resnet_weights(layer_keys: Sequence[str]) -> list[str]:
    """The names of blobs under this package's; those that have none stay as they are."""
    return [detectron.blob_name(key, layer_keys) or key for key in layer_keys]


def _rename_fpn_weights(layer_keys: Sequence[str], stage_names: Sequence[str] = ()) -> list[str]:
    """The same; names that are this package's already stay."""
    return _rename_basic_resnet_weights(layer_keys)


def _rename_conv_weights_for_deformable_conv_layers(state_dict: Mapping[str, Tensor], cfg) -> OrderedDict[str, Tensor]:
    """The 3 x 3 convolutions of deformable stages where a DFConv2d has its own."""
    return detectron.rename_deformable(OrderedDict(state_dict), cfg.MODEL.RESNETS.STAGE_WITH_DCN)


def load_resnet_c2_format(cfg, f: str) -> dict[str, OrderedDict[str, Tensor]]:
    """Read a Detectron file for the model of `cfg`: {"model": state dict}.

    Raises CheckpointError if it holds something else, or the body is no ResNet.
    """
    return {"model": detectron.convert_c2(cfg, load_pickle(f), f)}


for _depth, _suffixes in (("50", "C4 C5 FPN FPN-RETINANET"), ("101", "C4 C5 FPN FPN-RETINANET"), ("152", "FPN")):
    for _suffix in _suffixes.split():
        C2_FORMAT_LOADER.register(f"R-{_depth}-{_suffix}", load_resnet_c2_format)


def load_c2_format(cfg, f: str) -> dict[str, OrderedDict[str, Tensor]]:
    """{"model": state dict}, by the loader that is registered for MODEL.BACKBONE.CONV_BODY."""
    return C2_FORMAT_LOADER.get(cfg.MODEL.BACKBONE.CONV_BODY, load_resnet_c2_format)(cfg, f)
