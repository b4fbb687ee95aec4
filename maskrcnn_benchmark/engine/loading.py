"""A trained detector, for anything but training."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from maskrcnn_benchmark.checkpoint import checkpointer as own
from maskrcnn_benchmark.checkpoint import forks
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.checkpoint.matching import context_of, matched_weights
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.categories import class_names_of
from maskrcnn_benchmark.data.labels import set_class_names
from maskrcnn_benchmark.engine.precision import dtype_on
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.optimize import optimize_for_inference
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from maskrcnn_benchmark.utils.wording import counted, listed

# A checkpoint may lack these: they are counters, or computed from the configuration.
COMPUTED = ("num_batches_tracked", "cell_anchors")

MOST_LISTED = 12  # modules in a message
OF_BODIES = "catalog://ImageNetPretrained/"  # no detectors

logger = logging.getLogger(__name__)


def load_detector(
    cfg: CfgNode, weights: str = "", device: str | torch.device = "", *, require_weights: bool = True
) -> nn.Module:
    """The configured detector with its weights, for testing (`eval()`); averaged ones (SOLVER.EMA) where the file has them.

    Args:
        weights: a file, a URL or a catalog name as in MODEL.WEIGHT. Default: see `find_weights`.
        device: default MODEL.DEVICE.
        require_weights: whether to refuse to go on without any; otherwise the model keeps its initial weights.

    Raises CheckpointError for weights that leave a part of the model untrained (what it detected would be noise), ConfigError or
    OSError where there are none, unless MODEL.WEIGHT_ALLOW_MISSING is on.
    """
    weights = name_of_weights(weights)
    model = build_detection_model(cfg).to(device or cfg.MODEL.DEVICE).eval()
    source = find_weights(cfg, weights)
    if source.startswith(OF_BODIES) and require_weights and not options(cfg).MODEL.WEIGHT_ALLOW_MISSING:
        raise ConfigError(
            f"There are no weights to detect with: MODEL.WEIGHT names {source}, an image classifier's body that a training "
            f"starts from, and {_place(cfg)} holds no checkpoint. Name the weights of a trained detector (--weights), or set "
            "OUTPUT_DIR to the folder of a training."
        )
    if source and source == cfg.MODEL.WEIGHT and not weights and cfg.OUTPUT_DIR not in ("", "."):
        logger.warning(
            "OUTPUT_DIR (%s) holds no checkpoint: the weights are those of MODEL.WEIGHT, %s.", cfg.OUTPUT_DIR, source
        )
    if source:
        forks.load(
            _StrictCheckpointer(cfg, model, save_dir=cfg.OUTPUT_DIR), source, use_latest=not weights, averaged=True
        )
        set_class_names(model, getattr(model, "class_names", {}) or class_names_of(cfg, {}, source))
    elif require_weights and not options(cfg).MODEL.WEIGHT_ALLOW_MISSING:
        raise ConfigError(
            f"There are no weights to detect with: {_place(cfg)} holds no checkpoint, and MODEL.WEIGHT is empty. Name "
            "a file, set MODEL.WEIGHT, "
            "or set OUTPUT_DIR to the folder of a training. MODEL.WEIGHT_ALLOW_MISSING True goes on with a model "
            "of random weights."
        )
    else:
        logger.warning("There are no weights: what this model detects is noise.")
    return model


def _place(cfg: CfgNode) -> str:
    return f"OUTPUT_DIR ({cfg.OUTPUT_DIR})" if cfg.OUTPUT_DIR else "OUTPUT_DIR, which is empty,"


def name_of_weights(weights: Any) -> str:
    """The file, URL or catalog name that a caller gave; "" for None. Raises ConfigError for anything else, as loaded weights."""
    if weights is None or isinstance(weights, str):
        return weights or ""
    if isinstance(weights, os.PathLike) and isinstance(name := os.fspath(weights), str):
        return name
    raise ConfigError(
        f"Weights are named by their file, a URL or a name of the catalog; got a {type(weights).__name__}. Name the file that "
        "they were loaded from, or write them to one: torch.save(weights, FILE)."
    )


def find_weights(cfg: CfgNode, weights: str = "") -> str:
    """`weights`, or the last checkpoint in OUTPUT_DIR, or MODEL.WEIGHT; empty if there are none."""
    last: Any = own.Checkpointer(nn.Identity(), save_dir=cfg.OUTPUT_DIR)
    return weights or last.get_checkpoint_file() or cfg.MODEL.WEIGHT


def optimize(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """The model to test: with TEST.OPTIMIZE a copy that only detects, in DTYPE and, with MODEL.COMPILE, compiled."""
    if options(cfg).TEST.OPTIMIZE:
        device = next(model.parameters()).device
        return optimize_for_inference(model, dtype_on(cfg, device), options(cfg).MODEL.COMPILE)
    return compile_backbone(cfg, model)


def compile_backbone(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """With MODEL.COMPILE compile, in place, what computes alike for every image; names of parameters stay as they are."""
    backbone: Any = getattr(model, "backbone", None)  # a detector of one's own may have none
    if options(cfg).MODEL.COMPILE and backbone is not None and backbone._compiled_call_impl is None:
        backbone.compile(dynamic=True)
    return model


class _StrictCheckpointer(DetectronCheckpointer):
    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        if issubclass(DetectronCheckpointer, own.Checkpointer):  # a fork's may give names another meaning
            self._check(checkpoint["model"])
        set_class_names(self.model, class_names_of(self.cfg, checkpoint, ""))
        super()._load_model(checkpoint)

    def _check(self, weights: dict[str, Any]) -> None:
        """Raise CheckpointError if a part of the model would stay random. A file of another model altogether is for
        `_load_model` to refuse."""
        names = [name for name in self.model.state_dict() if not any(word in name for word in COMPUTED)]
        # Other shapes are refused by `_load_model`, with a list of them, where they are not allowed.
        found = matched_weights(self.model, weights, of_any_shape=not options(self.cfg).MODEL.WEIGHT_ALLOW_MISMATCH)
        is_of_another = not found and not matched_weights(self.model, weights, of_any_shape=True)
        missing = [name for name in names if name not in found]
        theirs, ours = ({context_of(name).rpartition(".")[2] for name in some} for some in (weights, names))
        if (left_out := sorted(theirs - ours)) and found:
            logger.warning(
                "The weights hold context modules that this configuration has no place for (MODEL.NON_LOCAL): %s. What is "
                "detected without them is not what the model was trained for.",
                listed(left_out),
            )
        if not missing or is_of_another or options(self.cfg).MODEL.WEIGHT_ALLOW_MISSING:
            return
        raise CheckpointError(
            f"The weights lack {len(missing):,} of the model's {counted(len(names), 'tensor')}, which would stay random: "
            f"{summary(missing)}. "
            "They are of another model, or of a part of one. Name those of the trained detector, with the configuration of its "
            "training; MODEL.WEIGHT_ALLOW_MISSING True goes on as it is."
        )


def summary(names: Sequence[str]) -> str:
    """Names of tensors by the modules that hold them, with counts where there are many."""
    for depth in (99, 4, 3, 2, 1):
        counts = Counter(".".join(name.split(".")[:-1][:depth]) or name for name in names)
        if len(counts) <= MOST_LISTED:
            break
    return listed([f"{module} ({count})" for module, count in counts.items()], MOST_LISTED)
