"""Putting loaded weights into a model whose parameter names are longer or shorter than theirs."""

import logging
from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from maskrcnn_benchmark.checkpoint.errors import ShapeMismatchError


def strip_prefix_if_present(state_dict: Mapping[str, Tensor], prefix: str) -> Mapping[str, Tensor]:
    """Remove a prefix ("module.") that all names share."""
    if not state_dict or not all(name.startswith(prefix) for name in state_dict):
        return state_dict
    return OrderedDict((name[len(prefix) :], value) for name, value in state_dict.items())


def match_names(model_names: list[str], loaded_names: list[str]) -> dict[str, str]:
    """For each model name, the longest loaded name that is the same or a dotted tail of it.

    Weights of a body alone (`layer1.0.conv1.weight`) so find their place in a detector (`backbone.body.layer1...`).
    """
    loaded = set(loaded_names)
    matches = {}
    for name in model_names:
        tail = name
        while tail not in loaded and "." in tail:
            tail = tail.partition(".")[2]
        if tail in loaded:
            matches[name] = tail
    return matches


def align_and_update_state_dicts(
    model_state_dict: dict[str, Tensor], loaded_state_dict: Mapping[str, Tensor], allow_mismatch: bool = False
) -> None:
    """Replace the entries of `model_state_dict` that have a match; say what has none.

    Raises:
        ShapeMismatchError: a match has another shape, unless `allow_mismatch`: then the model's own value stays.
    """
    logger = logging.getLogger(__name__)
    matches = match_names(list(model_state_dict), list(loaded_state_dict))
    if not matches:
        raise ValueError(
            f"None of the {len(loaded_state_dict)} loaded weights belongs to this model: the file holds names like "
            f"{next(iter(loaded_state_dict), '(nothing)')!r}, the model names like {next(iter(model_state_dict))!r}."
        )
    mismatched = []
    for name, source in matches.items():
        value = loaded_state_dict[source]
        if value.shape != model_state_dict[name].shape:
            mismatched.append(
                f"{name}: {list(value.shape)} in the file, {list(model_state_dict[name].shape)} in the model"
            )
        else:
            model_state_dict[name] = value
    if mismatched:
        listing = "\n  ".join(mismatched)
        if not allow_mismatch:
            raise ShapeMismatchError(
                f"{len(mismatched)} weights have another shape than the model's (another number of classes, or another "
                "architecture?). Set MODEL.WEIGHT_ALLOW_MISMATCH True to leave these at their initial values:\n  "
                f"{listing}"
            )
        logger.warning("%d weights of another shape keep their initial values:\n  %s", len(mismatched), listing)
    new = [name for name in model_state_dict if name not in matches]
    unused = sorted(set(loaded_state_dict) - set(matches.values()))
    for what, names in (
        ("weights are not in the file and keep their initial values", new),
        ("of the file are not used", unused),
    ):
        if names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            logger.info("%d %s: %s", len(names), what, shown)


def load_state_dict(model: nn.Module, loaded_state_dict: Mapping[str, Tensor], allow_mismatch: bool = False) -> None:
    """Load what belongs to the model; see `align_and_update_state_dicts`."""
    state = model.state_dict()
    align_and_update_state_dicts(state, strip_prefix_if_present(loaded_state_dict, "module."), allow_mismatch)
    model.load_state_dict(state)
