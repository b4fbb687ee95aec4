"""Reading weights of every origin."""

import os
import zipfile

import torch

from maskrcnn_benchmark.checkpoint import detectron2, torchvision
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.checkpoint.pickles import load_pickle
from maskrcnn_benchmark.utils import c2_model_loading
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.model_serialization import strip_prefix_if_present
from maskrcnn_benchmark.utils.model_zoo import cache_url


def load_file(path: str) -> dict:
    """Read a .pth file, tensors and plain containers only: a file from elsewhere cannot run code."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no checkpoint {path!r}.")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle fail in every way: KeyError, IndexError, struct.error, ...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({os.path.getsize(path)} bytes): {reason}"
        ) from None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a state dict.")
    return loaded


def check_contents(path: str) -> None:
    """Raise CheckpointError if a file that `torch.save` wrote is not what it was then; loading would not notice."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({os.path.getsize(path)} bytes): {error}."
        ) from None
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {damaged} in it is wrong.")


def load_weights(cfg, f: str) -> dict:
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
    pickled = f.endswith(".pkl")
    if pickled and _has_loader_of_its_own(cfg.MODEL.BACKBONE.CONV_BODY):
        return c2_model_loading.load_c2_format(cfg, f)
    loaded = load_pickle(f) if pickled else load_file(f)
    if "model" not in loaded:
        loaded = c2_model_loading.load_c2_format(cfg, f) if pickled else {"model": loaded}
    if not isinstance(loaded["model"], dict):
        raise CheckpointError(f"{f} holds a {type(loaded['model']).__name__} as its model, not a state dict.")
    weights = strip_prefix_if_present(loaded["model"], "module.")
    if detectron2.is_detectron2(weights):
        loaded["model"] = detectron2.convert_detectron2(cfg, weights)
    elif torchvision.is_torchvision(weights):
        loaded["model"] = torchvision.convert_torchvision(cfg, weights)
    return loaded


def _has_loader_of_its_own(body: str) -> bool:
    """Whether a fork registered a loader of .pkl files for this body, which then are none of Detectron's."""
    loaders = getattr(c2_model_loading, "C2_FORMAT_LOADER", {})
    return body in loaders and loaders[body] is not getattr(c2_model_loading, "load_resnet_c2_format", None)
