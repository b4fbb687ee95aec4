"""Reading weights of every origin."""

import io
import os
import pickle
import re
import zipfile
from typing import Any

import numpy as np
import torch
from yacs.config import CfgNode

from maskrcnn_benchmark.checkpoint import detectron2, torchvision
from maskrcnn_benchmark.checkpoint.claims import check_archive, check_stream, check_unpacked
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.checkpoint.pickles import check_is_file, load_pickle
from maskrcnn_benchmark.checkpoint.wrappers import without_wrappers
from maskrcnn_benchmark.utils import c2_model_loading, shipped
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.model_zoo import cache_url
from maskrcnn_benchmark.utils.wording import listed

# Where files of other programs have their state dict; the first that is there counts.
_CONTAINERS = (
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
_DEEPEST = 3  # containers one in the other
OLD_START = b"\x80\x02"  # of what torch.save wrote before 1.6


def is_checkpoint(path: str) -> bool:
    """Whether a file begins as those of torch.save do, or as a pickle."""
    with open(path, "rb") as file:
        return file.read(4)[:2] in (b"PK", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))


def load_file(path: str) -> dict[str, Any]:
    """Read a .pth file, tensors and plain containers only: a file from elsewhere cannot run code."""
    check_is_file(path)
    try:
        with open(path, "rb") as file:
            # torch's way before 1.6: whatever its few bytes announce, no more is read than there is in memory.
            is_archive = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            content = b"" if is_archive else file.read()
        if is_archive:
            check_archive(path)
        else:
            check_stream(content)
        source: Any = path if is_archive else io.BytesIO(content)
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle fail in every way: KeyError, IndexError, struct.error, ...
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({os.path.getsize(path):,} bytes): {_why(error)}."
        ) from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a state dict.")
    return loaded


def _why(error: Exception) -> str:
    """What keeps a file from being read; torch's own words are for programmers."""
    if isinstance(error, CheckpointError):
        return str(error)
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return "there is not enough memory for it"
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and refused:
        return (
            f"it asks for {refused[1].rstrip('.,')}, and other objects than tensors, numbers, text and plain containers could "
            "run programs. Save the state dict alone, with torch.save(model.state_dict(), FILE)"
        )
    return "it is damaged, cut off, or no checkpoint at all"


def check_contents(path: str) -> None:
    """Raise CheckpointError if a file that `torch.save` wrote is not what it was then; loading would not notice.

    Files of torch before 1.6, as upstream's runs have, have no checksums; loading says what is wrong with them.
    """
    with open(path, "rb") as f:
        if f.read(len(OLD_START)) == OLD_START:
            return
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(archive, os.path.getsize(path))
            damaged = archive.testzip()
    except FileNotFoundError:
        raise
    except (
        Exception
    ) as error:  # an archive that is none fails in every way: BadZipFile, EOFError, NotImplementedError, ...
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({os.path.getsize(path):,} bytes): {_why(error)}."
        ) from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {damaged} in it is wrong.")


def load_weights(cfg: CfgNode, f: str) -> dict[str, Any]:
    """Read weights of ours, upstream's, Detectron's, detectron2's or torchvision's for the model of `cfg`.

    Args:
        f: a path, a URL, catalog://NAME (of the ModelCatalog in PATHS_CATALOG) or torchvision://MODEL.

    Returns:
        What the file holds, with a state dict in our names under "model".
    """
    if f.startswith("catalog://"):
        catalog = import_file("maskrcnn_benchmark.config.paths_catalog", cfg.PATHS_CATALOG, True).ModelCatalog
        f = catalog.get(f.removeprefix("catalog://"))
    elif f.startswith(torchvision.SCHEME):
        f = torchvision.address(f)
    if "://" in f:
        f = cache_url(f)
    elif not os.path.exists(f) and (shipped.ROOT / f).is_file():  # the package's own, as `mrb suggest` names it
        f = str(shipped.ROOT / f)
    pickled = f.endswith(".pkl")
    if pickled and _has_loader_of_its_own(cfg.MODEL.BACKBONE.CONV_BODY):
        return c2_model_loading.load_c2_format(cfg, f)
    loaded = load_pickle(f) if pickled else load_file(f)
    if pickled and "model" not in loaded:
        return c2_model_loading.load_c2_format(cfg, f)
    loaded = with_model(loaded, f)
    inner = {without_wrappers(name): value for name, value in loaded["model"].items()}
    if detectron2.is_detectron2(inner):
        loaded["model"] = detectron2.convert_detectron2(cfg, inner)
    elif torchvision.is_torchvision(inner):
        loaded["model"] = torchvision.convert_torchvision(cfg, inner)
    return loaded


def with_model(loaded: dict[str, Any], source: str) -> dict[str, Any]:
    """What a file holds with its state dict under "model", wherever it was; a bare state dict is all of it.

    Args:
        source: the file, for messages.

    Raises:
        CheckpointError: there is no state dict, or there are several and it is open which one is meant.
    """
    found = _state_dicts(loaded, _DEEPEST)
    if not found:
        names = listed(list(loaded)) or "none"
        raise CheckpointError(f"{source} holds no weights of a model; its entries are: {names}.")
    if len(found) > 1:
        places = " and ".join(".".join(map(str, place)) for place, _ in found)
        raise CheckpointError(f"{source} holds several sets of weights, {places}; save the one that is meant alone.")
    place, weights = found[0]
    if not all(isinstance(name, str) for name in weights):
        raise CheckpointError(f"{source} holds weights under numbers, not names: it is no state dict.")
    return {"model": weights} if not place else {**loaded, "model": weights}


def _state_dicts(content: dict[str, Any], depth: int) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The state dicts in a file with their places, one only where a usual name says which is meant."""
    for name in _CONTAINERS:
        if isinstance(content.get(name), dict):
            inner = _state_dicts(content[name], depth - 1) if depth else []
            if inner:
                return [((name, *place), weights) for place, weights in inner]
            if any(map(_is_array, content[name].values())):
                return [((name,), content[name])]
    arrays = [name for name, value in content.items() if _is_array(value)]
    if any(not isinstance(name, str) or "." in name for name in arrays):
        return [((), content)]
    if not depth:
        return []
    nested = [(name, value) for name, value in content.items() if isinstance(value, dict)]
    inner = [((name, *place), weights) for name, value in nested for place, weights in _state_dicts(value, depth - 1)]
    inner = [(place, weights) for place, weights in inner if all(isinstance(name, str) for name in weights)]
    return inner or ([((), content)] if arrays else [])


def _is_array(value: Any) -> bool:
    return isinstance(value, (torch.Tensor, np.ndarray))


def _has_loader_of_its_own(body: str) -> bool:
    """Whether a fork registered a loader of .pkl files for this body, which then are none of Detectron's."""
    loaders = getattr(c2_model_loading, "C2_FORMAT_LOADER", {})
    return body in loaders and loaders[body] is not getattr(c2_model_loading, "load_resnet_c2_format", None)
