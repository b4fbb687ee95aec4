"""What passes between pixels: the weights that a trained model's non-local module gives to all positions of an image."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.non_local import NonLocal, PairWeights
from maskrcnn_benchmark.structures.image_list import to_image_list


def non_local_modules(model: nn.Module) -> dict[str, NonLocal]:
    """The non-local modules of a detector by name, as in its state dict: backbone.fpn.non_local_res3 and so on."""
    return {name: module for name, module in model.named_modules() if isinstance(module, NonLocal)}


@torch.no_grad()
def context_weights(model: nn.Module, image: Tensor, point: tuple[float, float], name: str = "res3") -> PairWeights:
    """The weights with which one pixel's position takes from all others, in the non-local module of one stage.

    Args:
        model: a detector with a backbone; it is left in the mode (training or not) in which it comes.
        image: Tensor[3, H, W] as the model takes it, resized and normalised.
        point: x and y in pixels of this image, 0 to W and 0 to H.
        name: of the module, or how it ends ("res3").

    Returns:
        appearance, position and their sum, each Tensor[h, w] over the map of that stage; row i covers the image's pixels from
        i * H / h on.
    """
    module = _find(model, name)
    height, width = image.shape[-2:]
    x, y = point
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"The point ({x:g}, {y:g}) is outside the image of {width} x {height} pixels.")
    inputs: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    was_training = model.training
    try:
        model.eval()
        layout: Any = getattr(model, "layout", torch.contiguous_format)
        model.backbone(to_image_list([image]).tensors.contiguous(memory_format=layout))  # type: ignore
    finally:
        handle.remove()
        model.train(was_training)
    features = inputs[0][0]
    rows, columns = features.shape[-2:]
    return module.pair_weights(features, int(y * rows / height), int(x * columns / width))


@contextlib.contextmanager
def without_context(model: nn.Module) -> Iterator[None]:
    """Within the block the non-local modules of a detector give back what they take, as if they were not there.

    A compiled model does not notice. Raises ValueError for a model without any.
    """
    modules = non_local_modules(model)
    if not modules:
        raise ValueError("The model has no non-local module; MODEL.NON_LOCAL.TOP_DOWN.TYPE turns them on.")
    handles = [module.register_forward_hook(lambda module, args, output: args[0]) for module in modules.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _find(model: nn.Module, name: str) -> NonLocal:
    modules = non_local_modules(model)
    found = [module for full, module in modules.items() if full == name or full.endswith(name)]
    if not modules:
        raise ValueError("The model has no non-local module; MODEL.NON_LOCAL.TOP_DOWN.TYPE turns them on.")
    if len(found) != 1:
        raise ValueError(f"{len(found)} non-local modules are called {name!r}; there are {', '.join(modules)}.")
    return found[0]
