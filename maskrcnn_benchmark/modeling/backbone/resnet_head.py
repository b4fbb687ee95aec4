"""Stages of a ResNet that stand behind the pooling of regions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.backbone.resnet_blocks import (
    _TRANSFORMATION_MODULES,
    NO_DCN,
    StageSpec,
    make_stage,
)


@any_layout
class ResNetHead(nn.Module):
    """Stages of a ResNet on pooled regions: Tensor[K, C, H, W] -> Tensor[K, out_channels, H', W'].

    Args:
        block_module: the residual block, or its name.
        stages: which stages; their `return_features` does not matter here.
        stride_init: stride of the first stage; None for the usual one (2, for res2 1).
    """

    def __init__(
        self,
        block_module: str | Callable[..., nn.Module],
        stages: Sequence[StageSpec],
        num_groups: int = 1,
        width_per_group: int = 64,
        stride_in_1x1: bool = True,
        stride_init: int | None = None,
        res2_out_channels: int = 256,
        dilation: int = 1,
        dcn_config: Mapping[str, Any] = NO_DCN,
    ):
        super().__init__()
        block = _TRANSFORMATION_MODULES[block_module] if isinstance(block_module, str) else block_module
        first = stages[0].index
        # Of res2 the input is the stem's output; further up it is half as deep as the stage's own.
        in_channels = res2_out_channels * 2 ** (first - 2) if first > 1 else res2_out_channels // 4
        self.stages = []
        for i, spec in enumerate(stages):
            factor = 2 ** (spec.index - 1)
            self.out_channels = res2_out_channels * factor
            stride = stride_init if i == 0 and stride_init else (2 if spec.index > 1 else 1)
            stage = make_stage(
                block,
                in_channels,
                num_groups * width_per_group * factor,
                self.out_channels,
                spec.block_count,
                stride,
                num_groups,
                stride_in_1x1,
                dilation,
                dcn_config,
            )
            in_channels = self.out_channels
            self.add_module(f"layer{spec.index}", stage)
            self.stages.append(f"layer{spec.index}")

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return x
