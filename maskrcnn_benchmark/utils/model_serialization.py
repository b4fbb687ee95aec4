"""Putting loaded weights into a model whose parameter names are longer or shorter than theirs; see checkpoint/matching.py."""

from collections.abc import Mapping

from torch import Tensor, nn

from maskrcnn_benchmark.checkpoint import matching
from maskrcnn_benchmark.checkpoint.matching import strip_prefix_if_present

__all__ = ["align_and_update_state_dicts", "load_state_dict", "strip_prefix_if_present"]


def align_and_update_state_dicts(model_state_dict: dict[str, Tensor], loaded_state_dict: Mapping[str, Tensor]) -> None:
    """Replace the entries of `model_state_dict` that have a match. Raises ShapeMismatchError where shapes differ."""
    matching.align_and_update_state_dicts(model_state_dict, loaded_state_dict)


def load_state_dict(model: nn.Module, loaded_state_dict: Mapping[str, Tensor]) -> None:
    """Load what belongs to the model; see `align_and_update_state_dicts`."""
    matching.load_state_dict(model, loaded_state_dict)
