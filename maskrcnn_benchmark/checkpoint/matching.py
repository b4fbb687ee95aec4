"""Putting loaded weights into a model whose parameter names are longer or shorter than theirs."""

import logging
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.checkpoint.errors import CheckpointError, ShapeMismatchError
from maskrcnn_benchmark.checkpoint.wrappers import look_alikes, unwrapped
from maskrcnn_benchmark.utils.wording import counted, listed

FLOATING_POINT = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


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
        CheckpointError: a weight that the model lacks is in the file under a name that cannot be understood, unless
            `allow_mismatch`; or something in the file is no tensor of numbers, or is quantized.
        ValueError: nothing in the file belongs to the model.
    """
    logger = logging.getLogger(__name__)
    matches = match_names(list(model_state_dict), list(loaded_state_dict))
    if not matches:
        raise ValueError(
            f"None of the {len(loaded_state_dict):,} loaded weights belongs to this model: the file holds names like "
            f"{next(iter(loaded_state_dict), '(nothing)')!r}, the model names like {next(iter(model_state_dict))!r}."
        )
    mismatched, other = [], set()  # lines, and context modules of another kind
    weights = {source: as_weight(loaded_state_dict[source], source) for source in matches.values()}
    _check_kinds(model_state_dict, weights, matches)
    for name, source in matches.items():
        value = weights[source]
        if value.shape != model_state_dict[name].shape:
            mismatched.append(
                f"{name}: {list(value.shape)} in the file, {list(model_state_dict[name].shape)} in the model"
            )
            other.add(context_of(name))
    for name, source in matches.items():
        if weights[source].shape != model_state_dict[name].shape:
            continue
        if (context := context_of(name)) and context in other:
            mismatched.append(f"{name}: of a context module of another kind")
        else:
            model_state_dict[name] = weights[source]
    if mismatched:
        listing = "\n  ".join(mismatched)
        if not allow_mismatch:
            raise ShapeMismatchError(
                f"{counted(len(mismatched), 'weight has', 'weights have')} another shape than the model's (another number of "
                "classes, or another "
                "architecture?). Set MODEL.WEIGHT_ALLOW_MISMATCH True to leave these at their initial values:\n  "
                f"{listing}"
            )
        logger.warning(
            "%s:\n  %s",
            counted(
                len(mismatched),
                "weight of another shape keeps its initial values",
                "weights of another shape keep their initial values",
            ),
            listing,
        )
    _say_what_is_left(model_state_dict, loaded_state_dict, matches, allow_mismatch)


def context_of(name: str) -> str:
    """The context module that a weight belongs to, by its name; "" for other weights.

    Those of two kinds have some weights of equal names and shapes, which mean nothing to each other.
    """
    found = re.match(r"(?:.*\.)?non_local\w*(?=\.)", name)
    return found.group() if found else ""


def _check_kinds(model: Mapping[str, Tensor], weights: Mapping[str, Tensor], matches: Mapping[str, str]) -> None:
    """Raise CheckpointError for weights of 8 bits or whole numbers in place of floating-point ones: they lack their scales."""
    odd = [
        source
        for name, source in matches.items()
        if model[name].is_floating_point() and weights[source].dtype not in FLOATING_POINT
    ]
    if odd:
        raise CheckpointError(
            f"{counted(len(odd), 'weight')} of the file, of {len(matches):,} that the model takes from it, are no floating-point "
            f"numbers of 16 bits or more: {odd[0]} is of {str(weights[odd[0]].dtype).removeprefix('torch.')}, for one. Quantized "
            "weights mean nothing without their scales; load those from before the quantization."
        )


def _say_what_is_left(
    model: Mapping[str, Tensor], loaded: Mapping[str, Tensor], matches: Mapping[str, str], allow_mismatch: bool
) -> None:
    logger = logging.getLogger(__name__)
    new = [name for name in model if name not in matches]
    unused = sorted(set(loaded) - set(matches.values()))
    alike = look_alikes(unused, {name: model[name] for name in new}, loaded)
    if alike and not allow_mismatch:
        theirs, ours = alike[0]
        raise CheckpointError(
            f"{counted(len(alike), 'weight')} of the file would be left out and the model's own stay random, because of their "
            f"names: the file's {theirs} seems to be the model's {ours}. Rename the weights in the file, or set "
            "MODEL.WEIGHT_ALLOW_MISMATCH True to leave them out."
        )
    if new:
        said = counted(
            len(new), "weight is not in the file and keeps its", "weights are not in the file and keep their"
        )
        logger.info("%s initial values: %s", said, listed(new))
    if unused:
        logger.info(
            "%s not used: %s", counted(len(unused), "weight of the file is", "weights of the file are"), listed(unused)
        )


def as_weight(value: Any, name: str) -> Tensor:
    """A value of a state dict as a tensor. Raises CheckpointError for what is no dense tensor of real numbers."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        value = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
    if not isinstance(value, Tensor):
        raise CheckpointError(f"The file's {name} is no tensor but a {type(value).__name__}.")
    if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
        kind = "quantized" if value.is_quantized else f"{value.dtype}, {value.layout}, on {value.device}"
        raise CheckpointError(f"The file's {name} is no dense tensor of real numbers ({kind}).")
    return value


def matched_weights(model: nn.Module, weights: Mapping[str, Any], of_any_shape: bool) -> set[str]:
    """Names of the model's tensors for which a state dict has one, of the same shape or `of_any_shape`."""
    state = model.state_dict()
    loaded, _ = unwrapped(_named(weights), state)
    matches = match_names(list(state), list(loaded))
    shapes = {name: getattr(loaded[source], "shape", None) for name, source in matches.items()}
    return {name for name, shape in shapes.items() if of_any_shape or shape == state[name].shape}


def _named(weights: Mapping[Any, Any]) -> Mapping[str, Any]:
    """A state dict without what its writers put beside the weights. Raises CheckpointError for names that are no text."""
    if not all(isinstance(name, str) for name in weights):
        raise CheckpointError("A state dict names its weights by text, and this one does so by numbers.")
    return strip_prefix_if_present(weights, "module.")


def load_state_dict(model: nn.Module, loaded_state_dict: Mapping[str, Tensor], allow_mismatch: bool = False) -> None:
    """Load what belongs to the model, whatever wraps its names; see `unwrapped` and `align_and_update_state_dicts`."""
    state = model.state_dict()
    loaded, origins = unwrapped(_named(loaded_state_dict), state)
    if origins:
        ours, theirs = next(iter(origins.items()))
        logging.getLogger(__name__).warning(
            "%s in the file than in the model: %s is loaded as %s, for one.",
            counted(len(origins), "weight has another name", "weights have other names"),
            theirs,
            ours,
        )
    align_and_update_state_dicts(state, loaded, allow_mismatch)
    _warn_of_non_finite(state)
    model.load_state_dict(state)


def _warn_of_non_finite(state: Mapping[str, Tensor]) -> None:
    bad = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        logging.getLogger(__name__).warning(
            "%s infinite values or NaN, and so will be what the model computes: %s",
            counted(len(bad), "loaded weight holds", "loaded weights hold"),
            listed(bad),
        )
