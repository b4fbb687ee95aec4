"""A trained detector, for anything but training."""

import logging
from typing import Any

import torch
from torch import nn

from maskrcnn_benchmark.checkpoint import checkpointer as own
from maskrcnn_benchmark.checkpoint import forks
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.checkpoint.matching import match_names
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.categories import class_names_of
from maskrcnn_benchmark.data.labels import set_class_names
from maskrcnn_benchmark.engine.precision import dtype_of
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.optimize import optimize_for_inference
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer

# A checkpoint may lack these: they are counters, or computed from the configuration.
COMPUTED = ("num_batches_tracked", "cell_anchors")

logger = logging.getLogger(__name__)


def load_detector(
    cfg, weights: str = "", device: str | torch.device = "", *, require_weights: bool = True
) -> nn.Module:
    """The configured detector with its weights, for testing (`eval()`); averaged ones (SOLVER.EMA) where the file has them.

    Args:
        weights: a file, a URL or a catalog name as in MODEL.WEIGHT. Default: see `find_weights`.
        device: default MODEL.DEVICE.
        require_weights: whether to refuse to go on without any; otherwise the model keeps its initial weights.

    Raises CheckpointError for weights that leave a part of the model untrained (what it detected would be noise), unless
    MODEL.WEIGHT_ALLOW_MISMATCH is on; ConfigError or OSError where there are none.
    """
    model = build_detection_model(cfg).to(device or cfg.MODEL.DEVICE).eval()
    source = find_weights(cfg, weights)
    if source:
        forks.load(
            _StrictCheckpointer(cfg, model, save_dir=cfg.OUTPUT_DIR), source, use_latest=not weights, averaged=True
        )
        set_class_names(model, getattr(model, "class_names", {}) or class_names_of(cfg, {}, source))
    elif require_weights:
        raise ConfigError(
            "There are no weights to detect with: name a file, set MODEL.WEIGHT, or set OUTPUT_DIR to the folder of a training."
        )
    else:
        logger.warning("There are no weights: what this model detects is noise.")
    return model


def find_weights(cfg, weights: str = "") -> str:
    """`weights`, or the last checkpoint in OUTPUT_DIR, or MODEL.WEIGHT; empty if there are none."""
    last: Any = own.Checkpointer(nn.Identity(), save_dir=cfg.OUTPUT_DIR)
    return weights or last.get_checkpoint_file() or cfg.MODEL.WEIGHT


def optimize(cfg, model: nn.Module) -> nn.Module:
    """The model to test: with TEST.OPTIMIZE a copy that only detects, in DTYPE and, with MODEL.COMPILE, compiled."""
    if options(cfg).TEST.OPTIMIZE:
        return optimize_for_inference(model, dtype_of(cfg), options(cfg).MODEL.COMPILE)
    return compile_backbone(cfg, model)


def compile_backbone(cfg, model: nn.Module) -> nn.Module:
    """With MODEL.COMPILE compile, in place, what computes alike for every image; names of parameters stay as they are."""
    if options(cfg).MODEL.COMPILE:
        backbone: Any = model.backbone
        if backbone._compiled_call_impl is None:
            backbone.compile(dynamic=True)
    return model


class _StrictCheckpointer(DetectronCheckpointer):
    def _load_model(self, checkpoint: dict) -> None:
        if issubclass(DetectronCheckpointer, own.Checkpointer):  # a fork's may give names another meaning
            self._check(checkpoint["model"])
        set_class_names(self.model, class_names_of(self.cfg, checkpoint, ""))
        super()._load_model(checkpoint)

    def _check(self, weights: dict) -> None:
        names = list(self.model.state_dict())
        found = match_names(names, [name.removeprefix("module.") for name in weights])
        missing = [n for n in names if n not in found and not any(word in n for word in COMPUTED)]
        if missing and found and not options(self.cfg).MODEL.WEIGHT_ALLOW_MISMATCH:
            raise CheckpointError(
                f"The weights lack {len(missing)} of the model's {len(names)} tensors, {missing[0]} for one: they are of another "
                "model, or of a backbone only. Name those of the trained detector, with the configuration of its training."
            )
