from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from yacs.config import CfgNode

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.config.options import options


def make_ema(cfg: CfgNode, model: nn.Module, state_dict: dict[str, Tensor] | None = None) -> AveragedModel | None:
    """The model with the exponential moving average of its weights, by SOLVER.EMA; None without.

    Its `module` is the averaged model; `update_parameters(model)` after each step. Buffers are the trained model's.

    Args:
        state_dict: of the averaged model, to go on from; otherwise the average starts at the model.
    """
    decay = options(cfg).SOLVER.EMA
    if not 0 <= decay < 1:
        raise ValueError(f"SOLVER.EMA must be at least 0 and less than 1; got {decay}.")
    if decay == 0:
        return None
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    ema.n_averaged.fill_(1)  # its first update is an average, too
    ema.requires_grad_(False)
    if state_dict is not None:
        try:
            ema.module.load_state_dict(state_dict)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"The averaged weights in the checkpoint are not this model's{_difference(ema.module, state_dict)}. Start a new "
                "run from its weights (MODEL.WEIGHT, in another OUTPUT_DIR)."
            ) from error
    return ema.eval()


def _difference(model: nn.Module, loaded: Any) -> str:
    """The first weight that is missing or of another shape, in words; empty where it is neither."""
    own = model.state_dict()
    if not isinstance(loaded, dict):
        return f": there is a {type(loaded).__name__} in their place"
    for name, value in own.items():
        shape = getattr(loaded.get(name), "shape", None)
        if shape != value.shape:
            theirs = "missing" if name not in loaded else f"{list(shape)}" if shape is not None else "no tensor"
            return f": {name} is {theirs}, and in the model {list(value.shape)}"
    return ""
