"""Of which kind a checkpoint's context modules are: two kinds can have weights of the same names and shapes."""

import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.layers.non_local import NON_LOCAL, NonLocal

KINDS = "context_modules"  # in a checkpoint: name of the module -> kind

logger = logging.getLogger(__name__)


def kinds_of(model: nn.Module) -> dict[str, str]:
    """The context modules of a model by name, such as {"backbone.fpn.non_local_res5": "enl, DCT_SIZE 9"}."""
    return {name: _kind(module) for name, module in model.named_modules() if isinstance(module, NonLocal)}


def _kind(module: NonLocal) -> str:
    name = next((name for name, kind in NON_LOCAL.items() if kind is type(module)), type(module).__name__)
    return f"{name}, DCT_SIZE {module.dct_size}" if hasattr(module, "dct_size") else name


def leave_other_kinds(model: nn.Module, checkpoint: dict[str, Any], allow_mismatch: bool) -> None:
    """Compare the kinds that a checkpoint names with the model's.

    Args:
        checkpoint: its "model" loses the weights of modules of another kind; files of other programs name no kinds.
        allow_mismatch: such modules start anew; otherwise CheckpointError is raised.
    """
    saved, ours = checkpoint.pop(KINDS, None), kinds_of(model)
    if not isinstance(saved, Mapping):
        return
    others = {name: saved[name] for name in ours if name in saved and saved[name] != ours[name]}
    if not others:
        return
    said = "; ".join(f"{name}: {kind} in the file, {ours[name]} in the model" for name, kind in others.items())
    if not allow_mismatch:
        raise CheckpointError(
            f"The weights are of other context modules than the configuration's (MODEL.NON_LOCAL): {said}. Set its keys as they "
            "were in the training. To start a training from the rest of these weights, set MODEL.WEIGHT_ALLOW_MISMATCH True."
        )
    logger.warning("Context modules of another kind keep their initial values: %s", said)
    checkpoint["model"] = {
        name: value
        for name, value in checkpoint["model"].items()
        if not name.startswith(tuple(f"{other}." for other in others))
    }
