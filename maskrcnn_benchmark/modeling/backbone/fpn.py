"""Feature pyramid (Lin et al. 2017), with a slot for a non-local module at every level of its top-down stream."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers.fused import add_conv
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.backbone.retinanet_levels import LastLevelP6P7
from maskrcnn_benchmark.modeling.blocks import ConvBlock
from maskrcnn_benchmark.modeling.non_local import with_context

__all__ = ["FPN", "LastLevelMaxPool", "LastLevelP6P7"]


@any_layout
class FPN(nn.Module):
    """Joins the stages of a body, coarse to fine, into maps of equal depth.

    Args:
        in_channels_list: channels of each stage, finest first; 0 leaves a stage out.
        out_channels: channels of every output.
        conv_block: make(in_channels, out_channels, kernel_size, stride=1) of a convolution.
        top_blocks: makes further, coarser maps from the coarsest.

    Shape: list of Tensor[B, C_l, H_l, W_l] -> tuple of Tensor[B, out_channels, H_l, W_l], finest first.
    """

    def __init__(
        self,
        in_channels_list: Sequence[int],
        out_channels: int,
        conv_block: ConvBlock,
        top_blocks: nn.Module | None = None,
    ):
        super().__init__()
        self.levels = [level for level, channels in enumerate(in_channels_list, start=1) if channels]
        self.inner_blocks = [f"fpn_inner{level}" for level in self.levels]
        self.layer_blocks = [f"fpn_layer{level}" for level in self.levels]
        for level, inner, layer in zip(self.levels, self.inner_blocks, self.layer_blocks, strict=True):
            self.add_module(inner, conv_block(in_channels_list[level - 1], out_channels, 1))
            self.add_module(layer, conv_block(out_channels, out_channels, 3, 1))
        self.top_blocks = top_blocks

    def set_context(self, stage: str, module: nn.Module) -> None:
        """Let a module replace the top-down map of a level ("res5", "res4", "res3"), after the lateral sum and before the
        upsampling to the next finer one (Levi and Ullman 2019, section 3.4). Both that level's output and the upsampling see
        it. It becomes the attribute non_local_res5 and so on."""
        upsampled = [f"res{level + 1}" for level in self.levels[1:]]
        if stage not in upsampled:
            raise ValueError(
                f"MODEL.NON_LOCAL.TOP_DOWN.STAGES names {stage!r}; the levels that are upsampled are {', '.join(upsampled)}."
            )
        self.add_module(f"non_local_{stage}", module)

    def _context(self, level: int, x: Tensor) -> Tensor:
        module = getattr(self, f"non_local_res{level + 1}", None)
        return x if module is None else with_context(module, x)

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        results: list[Tensor] = []
        top_down = None
        for level in reversed(self.levels):
            inner, map = getattr(self, f"fpn_inner{level}"), x[level - 1]
            if top_down is None:
                top_down = inner(map)
            else:
                # The size is that of the finer map, which need not be twice the coarser one's.
                top_down = add_conv(F.interpolate(top_down, size=map.shape[-2:], mode="nearest"), map, inner)
            top_down = self._context(level, top_down)
            results.insert(0, getattr(self, f"fpn_layer{level}")(top_down))
        if isinstance(self.top_blocks, LastLevelP6P7):
            results.extend(self.top_blocks(x[-1], results[-1]))
        elif self.top_blocks is not None:
            results.extend(self.top_blocks(results[-1]))
        return tuple(results)


@any_layout
class LastLevelMaxPool(nn.Module):
    """One more level by taking every second pixel of the coarsest."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [F.max_pool2d(x, kernel_size=1, stride=2)]
