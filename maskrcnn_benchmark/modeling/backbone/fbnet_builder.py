"""Builds FBNets from descriptions of their stages (Wu et al. 2019, https://arxiv.org/abs/1812.03443)."""

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
    get_divisible_by,
    make_block,
)

__all__ = [
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
    "expand_stage_cfg",
    "expand_stages_cfg",
    "get_blocks",
    "get_num_stages",
    "unify_arch_def",
]


def expand_stage_cfg(stage_cfg: Sequence[Sequence]) -> list[list]:
    """[[t, c, n, s], ...] -> [t, c, 1, s] of each block; all but the first of n have the stride 1."""
    return [[t, c, 1, s if i == 0 else 1] for t, c, n, s in stage_cfg for i in range(n)]


def expand_stages_cfg(stage_cfgs: Sequence[Sequence[Sequence]]) -> list[list[list]]:
    return [expand_stage_cfg(stage) for stage in stage_cfgs]


def unify_arch_def(arch_def: dict[str, Any]) -> dict[str, Any]:
    """One entry for each block: arch_def["stages"] becomes a list of {"stage_idx", "block_idx", "block", "block_op_type"}.

    The other entries of arch_def["block_cfg"] move up. A description that has this form is returned as it is.
    """
    if "block_cfg" not in arch_def:
        return arch_def
    unified = {key: value for key, value in arch_def["block_cfg"].items() if key != "stages"}
    stages = expand_stages_cfg(arch_def["block_cfg"]["stages"])
    names = arch_def["block_op_type"]
    if [len(stage) for stage in stages] != [len(stage) for stage in names]:
        raise ValueError(
            f"block_op_type names {[len(s) for s in names]} blocks in its stages, block_cfg has {[len(s) for s in stages]}."
        )
    unified["stages"] = [
        {"stage_idx": s, "block_idx": b, "block": block, "block_op_type": name}
        for s, (stage, stage_names) in enumerate(zip(stages, names, strict=True))
        for b, (block, name) in enumerate(zip(stage, stage_names, strict=True))
    ]
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

    def _width(self, channels: float) -> int:
        return get_divisible_by(int(channels), self.width_divisor)

    def add_first(self, stage_info: Sequence[int], dim_in: int = 3, pad: bool = True) -> nn.Module:
        """The stem, a convolution: stage_info is [channels, stride] or [channels, stride, kernel], the kernel being 3."""
        channels, stride, *rest = stage_info
        kernel = rest[0] if rest else 3
        self.last_depth = self._width(channels * self.width_ratio)
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
        make: Callable[..., Any] = make_block
        block = make(
            block_op_types[0],
            self.last_depth,
            self._width(channels * self.width_ratio),
            expansion,
            stride,
            bn_type=self.bn_type,
            width_divisor=self.width_divisor,
            dw_skip_bn=self.dw_skip_bn,
            dw_skip_relu=self.dw_skip_relu,
            **kwargs,
        )
        self.last_depth = block.output_depth
        return block

    def add_last(self, stage_info: Sequence[float]) -> nn.Module:
        """A 1 x 1 convolution: stage_info is [channels, scale]. Nothing if either is 0; a negative scale is of the last depth."""
        channels, scale = stage_info
        channels = self.last_depth if scale < 0 else int(channels * max(self.width_ratio, 1.0))
        depth = self._width(channels * abs(scale))
        if depth == 0:
            return nn.Sequential()
        dim_in, self.last_depth = self.last_depth, depth
        return ConvBNRelu(dim_in, depth, 1, 1, 0, True, "relu", self.bn_type)
