"""Builds FBNets from descriptions of their stages (Wu et al. 2019, https://arxiv.org/abs/1812.03443)."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import (
    CascadeConv3x3,
    ChannelShuffle,
    ConvBNRelu,
    Identity,
    IRFBlock,
    NormType,
    SEModule,
    Shift,
    ShiftBlock5x5,
    Upsample,
    _get_divisible_by,
    _get_upsample_op,
    _py2_round,
    get_divisible_by,
    make_block,
)

__all__ = [
    "PRIMITIVES",
    "CascadeConv3x3",
    "ChannelShuffle",
    "ConvBNRelu",
    "FBNetBuilder",
    "IRFBlock",
    "Identity",
    "SEModule",
    "Shift",
    "ShiftBlock5x5",
    "Upsample",
    "_add_to_arch",
    "_block_cfgs_to_list",
    "_expand_block_cfg",
    "_get_divisible_by",
    "_get_upsample_op",
    "_py2_round",
    "expand_stage_cfg",
    "expand_stages_cfg",
    "get_blocks",
    "get_num_stages",
    "unify_arch_def",
]


_VARIANTS = [f"ir_k{k}_{v}" for k in (3, 5) for v in ("e1", "e3", "e6", "s4", "s2")]
_NAMES = ["skip", "basic_block", "shift_5x5", "shuffle", "ir_k1", "ir_k3", "ir_k5", "ir_k7", *_VARIANTS]
_NAMES += [f"{name}_se" for name in _VARIANTS] + ["ir_k3_sep", "ir_k7_sep"]
_NAMES += [f"ir_{kernel}_e{e}" for kernel in ("k33", "k7", "k7_sep") for e in (1, 3, 6)]
# Makers of blocks, called with input channels, output channels, expansion, stride and the options of IRFBlock. Forks add theirs.
PRIMITIVES: dict[str, Callable[..., Any]] = {name: functools.partial(make_block, name) for name in _NAMES}


def _expand_block_cfg(block_cfg: Sequence) -> list[list]:
    """[t, c, n, s] -> [t, c, 1, s] of each of n blocks; all but the first have the stride 1."""
    t, c, n, s = block_cfg
    return [[t, c, 1, s if i == 0 else 1] for i in range(n)]


def expand_stage_cfg(stage_cfg: Sequence[Sequence]) -> list[list]:
    return [block for block_cfg in stage_cfg for block in _expand_block_cfg(block_cfg)]


def expand_stages_cfg(stage_cfgs: Sequence[Sequence[Sequence]]) -> list[list[list]]:
    return [expand_stage_cfg(stage) for stage in stage_cfgs]


def _block_cfgs_to_list(block_cfgs: Sequence[Sequence[Sequence]]) -> list[dict[str, Any]]:
    """The stages as one list with an entry for each block: "stage_idx", "block_idx" and "block" = [t, c, 1, s]."""
    return [
        {"stage_idx": s, "block_idx": b, "block": block}
        for s, stage in enumerate(expand_stages_cfg(block_cfgs))
        for b, block in enumerate(stage)
    ]


def _add_to_arch(arch: list[dict[str, Any]], info: Sequence[Sequence[Any]], name: str) -> None:
    """Put info[stage][block] into that block's entry of `arch` under `name`."""
    values = {(s, b): value for s, stage in enumerate(info) for b, value in enumerate(stage)}
    counts = [sum(entry["stage_idx"] == s for entry in arch) for s in range(len(info))]
    if len(values) != len(arch) or any((e["stage_idx"], e["block_idx"]) not in values for e in arch):
        raise ValueError(f"{name} names {[len(s) for s in info]} blocks in its stages, block_cfg has {counts}.")
    for entry in arch:
        entry[name] = values[entry["stage_idx"], entry["block_idx"]]


def unify_arch_def(arch_def: dict[str, Any]) -> dict[str, Any]:
    """One entry for each block: arch_def["stages"] becomes a list of {"stage_idx", "block_idx", "block", "block_op_type"}.

    The other entries of arch_def["block_cfg"] move up. A description that has this form is returned as it is.
    """
    if "block_cfg" not in arch_def:
        return arch_def
    unified = {key: value for key, value in arch_def["block_cfg"].items() if key != "stages"}
    unified["stages"] = _block_cfgs_to_list(arch_def["block_cfg"]["stages"])
    _add_to_arch(unified["stages"], arch_def["block_op_type"], "block_op_type")
    return unified


def get_num_stages(arch_def: dict[str, Any]) -> int:
    return 1 + max((block["stage_idx"] for block in arch_def["stages"]), default=-1)


def get_blocks(
    arch_def: dict[str, Any], stage_indices: Sequence[int] | None = None, block_indices: Sequence[int] | None = None
) -> dict[str, Any]:
    """The description with the blocks of the given stages, and of each the given ones, only; none given means all."""
    chosen = [
        block
        for block in arch_def["stages"]
        if (not stage_indices or block["stage_idx"] in stage_indices)
        and (not block_indices or block["block_idx"] in block_indices)
    ]
    return {**arch_def, "stages": chosen}


class FBNetBuilder:
    """Makes the parts of an FBNet one after another; `last_depth` is the channels of the last one.

    Args:
        width_ratio: scales all channels.
        bn_type: see ConvBNRelu.
        width_divisor: channels are a multiple of it.
        dw_skip_bn, dw_skip_relu: see IRFBlock.
    """

    def __init__(
        self,
        width_ratio: float,
        bn_type: NormType = "bn",
        width_divisor: int = 1,
        dw_skip_bn: bool = False,
        dw_skip_relu: bool = False,
    ):
        self.width_ratio = width_ratio
        self.bn_type = bn_type
        self.width_divisor = width_divisor
        self.dw_skip_bn = dw_skip_bn
        self.dw_skip_relu = dw_skip_relu
        self.last_depth = -1

    def _get_divisible_width(self, width: float) -> int:
        return get_divisible_by(int(width), self.width_divisor)

    def add_first(self, stage_info: Sequence[int], dim_in: int = 3, pad: bool = True) -> nn.Module:
        """The stem, a convolution: stage_info is [channels, stride] or [channels, stride, kernel], the kernel being 3."""
        channels, stride, *rest = stage_info
        kernel = rest[0] if rest else 3
        self.last_depth = self._get_divisible_width(channels * self.width_ratio)
        return ConvBNRelu(
            dim_in, self.last_depth, kernel, stride, kernel // 2 if pad else 0, True, "relu", self.bn_type
        )

    def add_blocks(self, blocks: Sequence[dict[str, Any]]) -> nn.Sequential:
        """Blocks as in `unify_arch_def`, by the names that state dicts have."""
        modules = OrderedDict(
            (f"xif{b['stage_idx']}_{b['block_idx']}", self.add_ir_block(b["block"], [b["block_op_type"]]))
            for b in blocks
        )
        return nn.Sequential(modules)

    def add_ir_block(self, tcns: Sequence, block_op_types: Sequence[str], **kwargs: Any) -> nn.Module:
        """One block: tcns is [expansion, channels, 1, stride], block_op_types its name."""
        expansion, channels, _, stride = tcns
        width = self._get_divisible_width(channels * self.width_ratio)
        block, self.last_depth = self._add_ir_block(
            self.last_depth, width, stride, expansion, block_op_types[0], **kwargs
        )
        return block

    def _add_ir_block(
        self,
        dim_in: int,
        dim_out: int,
        stride: int,
        expand_ratio: float,
        block_op_type: str,
        **kwargs: Any,
    ) -> tuple[Any, int]:
        """A block by name, and its output channels."""
        make = PRIMITIVES.get(block_op_type) or functools.partial(make_block, block_op_type)
        block = make(
            dim_in,
            dim_out,
            expansion=expand_ratio,
            stride=stride,
            bn_type=self.bn_type,
            width_divisor=self.width_divisor,
            dw_skip_bn=self.dw_skip_bn,
            dw_skip_relu=self.dw_skip_relu,
            **kwargs,
        )
        return block, block.output_depth

    def add_last(self, stage_info: Sequence[float]) -> nn.Module:
        """A 1 x 1 convolution: stage_info is [channels, scale]. Nothing if either is 0; a negative scale is of the last depth."""
        channels, scale = stage_info
        channels = self.last_depth if scale < 0 else int(channels * max(self.width_ratio, 1.0))
        depth = self._get_divisible_width(channels * abs(scale))
        if depth == 0:
            return nn.Sequential()
        dim_in, self.last_depth = self.last_depth, depth
        return ConvBNRelu(dim_in, depth, 1, 1, 0, True, "relu", self.bn_type)
