"""Detectors that only detect: norms folded into convolutions, narrower weights, compiled with the weights as constants."""

import copy
import functools
import itertools
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.convolution import is_plain
from maskrcnn_benchmark.layers.frozen_batch_norm import FrozenBatchNorm2d, can_be_fused, is_watched
from maskrcnn_benchmark.modeling.backbone.resnet import ResNet
from maskrcnn_benchmark.modeling.backbone.resnet_blocks import ResidualBlock
from maskrcnn_benchmark.modeling.backbone.resnet_head import ResNetHead
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.parts import STEPS, has_two_steps, heads_by_name
from maskrcnn_benchmark.ops.onednn import OneDnnConv2d, OneDnnLinear, has_onednn
from maskrcnn_benchmark.ops.winograd import WINOGRAD_CHANNELS, WinogradConv2d, has_winograds_form
from maskrcnn_benchmark.utils.overriding import is_overridden

# Packages in whose modules bn1 follows conv1. In others it may come first, or after an activation; and a Sequential with a
# `forward` of its own may call its modules in any order.
NAMED_IN_ORDER = ("maskrcnn_benchmark", "torchvision")


def optimize_for_inference(model: nn.Module, dtype: torch.dtype = torch.float32, compile: bool = False) -> nn.Module:
    """A copy of a detector that detects faster and cannot be trained.

    Batch norms are folded into the convolutions before them, and on a CPU in float32 most 3 x 3 convolutions become
    `WinogradConv2d`, whose rounding is some 1e-5 of a map's largest values, and fully connected layers `OneDnnLinear`. It takes
    what the model takes; call it below torch.inference_mode or torch.no_grad.

    A head of one's own keeps its dtype and is not compiled, unless all its weights lie in modules called `feature_extractor`
    and `predictor`; nor is any part of a detector without `backbone` and `rpn.head`.

    Args:
        model: what `build_detection_model` returns; it stays as it is.
        dtype: of weights and maps. Proposals, boxes and scores are decoded and selected in float32 in any case. bfloat16 is
            several times as fast where the processor multiplies it (AMX, AVX512-BF16, any GPU), and slower where not.
        compile: compile backbone and heads, with their weights as constants, when they are first used. One compilation serves
            all sizes of images, except that small ones (those with maps of few positions) may need one of their own.
    """
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating-point type such as torch.bfloat16; got {dtype}.")
    fast: Any = copy.deepcopy(model).eval().requires_grad_(False)
    fold_norms(fast)
    parts, others = _parts(fast)
    for part in parts:
        part.to(dtype)
    for module in [fast.backbone, *others] if parts else others:
        module.register_forward_pre_hook(_in_own_dtype)
    if next(fast.parameters()).device.type == "cpu":
        if dtype != torch.bfloat16 or not has_matrix_units():
            use_winograd(fast)
        use_onednn(fast, not compile)  # a compiler lets convolutions add and end with a ReLU by itself
        _give_blocks_their_inputs(fast)
    if compile:
        for module in fast.modules():
            if isinstance(module, Pooler):  # proposals are no business of a compiler
                pooler: Any = module
                pooler.forward = torch.compiler.disable(module.forward)
        for part in parts:
            part.forward = _compiled_with_constants(part.forward)
    return fast


def use_winograd(model: nn.Module) -> int:
    """Replace the 3 x 3 convolutions of WINOGRAD_CHANNELS and more that keep the size of their map, in place.

    Returns:
        The number of convolutions replaced.
    """
    replaced = 0
    layout: Any = getattr(model, "layout", torch.contiguous_format)  # what the model's other modules are made for
    for module in list(model.modules()):
        for name, conv in list(module.named_children()):
            if not is_plain(conv) or not has_winograds_form(conv):
                continue
            if min(conv.in_channels, conv.out_channels) >= WINOGRAD_CHANNELS:
                setattr(module, name, WinogradConv2d(conv, layout))
                replaced += 1
    return replaced


def use_onednn(model: nn.Module, convolutions: bool = True) -> int:
    """Make fully connected layers OneDnnLinear, and if asked for convolutions OneDnnConv2d, in place: the same parameters under
    the same names, and the same hooks. A convolution with weights that are not finite stays: the ReLU of oneDNN makes zeros of
    what is no number, which would hide it.

    Returns:
        The number of layers.
    """
    if not has_onednn():
        return 0
    replaced = 0
    for module in model.modules():
        kind: Any = None
        if type(module) is nn.Linear:
            kind = OneDnnLinear
        elif convolutions and is_plain(module) and all(p.isfinite().all() for p in module.parameters(recurse=False)):
            kind = OneDnnConv2d
        if kind is not None and type(module) is not kind:
            module.__class__ = kind
            replaced += 1
    return replaced


def _give_blocks_their_inputs(model: nn.Module) -> None:
    """Let the blocks of a body write into what the block before them made, which nobody else sees."""
    for body in model.modules():
        if type(body) not in (ResNet, ResNetHead) or "forward" in vars(body):
            continue
        for stage in body.children():
            blocks = list(stage.children()) if type(stage) is nn.Sequential else []
            for before, block in itertools.pairwise(blocks):
                if isinstance(block, ResidualBlock) and isinstance(before, ResidualBlock) and not is_watched(before):
                    block.owns_input = True


def has_matrix_units() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in units of their own (AMX)."""
    return getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()


def _compiled_with_constants(forward: Callable) -> Callable:
    """`forward` compiled for all sizes, with the parameters it reads as constants, packed as the processor wants them."""
    from torch._inductor import config  # here, as it takes as long to import as torch itself

    compiled = torch.compile(forward, dynamic=True)

    @functools.wraps(forward)
    def call(*args: Any) -> Any:
        # The tracer and the code generator both read the setting, whenever a size needs its own code.
        with config.patch(freezing=True):
            return compiled(*args)

    return call


def _parts(model: Any) -> tuple[list[nn.Module], list[nn.Module]]:
    """What computes alike for every image: backbone, the dense head, and what each head does with its regions. And the heads of
    which that is not known, or that share a part with one of these."""
    if not hasattr(model, "backbone") or not hasattr(getattr(model, "rpn", None), "head"):
        return [], []
    heads = list(heads_by_name(model).values())
    others = [head for head in heads if not has_two_steps(head)]
    theirs = {p for head in others for p in head.parameters()}
    others += [head for head in heads if head not in others and not theirs.isdisjoint(head.parameters())]
    steps = [getattr(head, name) for head in heads if head not in others for name in STEPS]
    return [model.backbone, model.rpn.head, *steps], others


def _in_own_dtype(module: nn.Module, args: tuple) -> tuple:
    """Before a module is called: images or maps, its first argument, in the dtype that its weights have by now."""
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    maps = args[0]
    return maps.to(dtype) if isinstance(maps, Tensor) else [x.to(dtype) for x in maps], *args[1:]


@torch.no_grad()
def fold_norms(model: nn.Module) -> int:
    """Multiply batch norms (frozen, or with running statistics as in eval mode) into the convolutions before them, in place.

    A pair is two neighbours in a Sequential, or two attributes conv1 and bn1 of a module of NAMED_IN_ORDER; norms become
    nn.Identity.

    Returns:
        The number of norms folded.
    """
    folded = 0
    for module in list(model.modules()):
        for conv, name, norm in _pairs(module):
            affine = _affine(norm)
            if affine is None or not can_be_fused(conv, norm):
                continue
            scale, shift = affine
            bias = shift if conv.bias is None else shift + conv.bias * scale
            weight = conv.weight * scale[:, None, None, None]
            conv.weight = nn.Parameter(weight, requires_grad=False)
            conv.bias = nn.Parameter(bias, requires_grad=False)
            setattr(module, name, nn.Identity())
            folded += 1
    return folded


def _pairs(module: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """What may be a convolution, the name of what follows it, and that."""
    children = dict(module.named_children())
    is_known = type(module).__module__.partition(".")[0] in NAMED_IN_ORDER
    following = {}
    if isinstance(module, nn.Sequential) and (is_known or type(module).forward is nn.Sequential.forward):
        names = list(children)
        following = dict(zip(names, names[1:], strict=False))
    elif is_known:
        following = {name: re.sub("^conv", "bn", name) for name in children if name.startswith("conv")}
    return [(children[a], b, children[b]) for a, b in following.items() if b in children]


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Scale and shift, each Tensor[C], that a norm layer stands for; None if they depend on its input."""
    if type(norm) is FrozenBatchNorm2d:
        return None if is_overridden(norm, FrozenBatchNorm2d, "forward") else norm.affine()
    if type(norm) is not nn.BatchNorm2d or norm.running_mean is None or norm.running_var is None:
        return None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias
