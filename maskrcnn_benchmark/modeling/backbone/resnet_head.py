"""Stages of a ResNet that stand behind the pooling of regions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks
from maskrcnn_benchmark.modeling.backbone.resnet_blocks import (
    _TRANSFORMATION_MODULES,
    NO_DCN,
    StageSpec,
    configured_block,
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


def make_res5_head(cfg) -> Any:
    """The last stage of the configured ResNet, for regions pooled from a C4 body's map."""
    from maskrcnn_benchmark.modeling.backbone import resnet  # which imports this module

    resnets = cfg.MODEL.RESNETS
    # A fork's own head looks the block up by its name.
    is_ours = resnet.ResNetHead is ResNetHead
    return forks.call(
        resnet.ResNetHead,
        block_module=configured_block(cfg) if is_ours else resnets.TRANS_FUNC,
        stages=(resnet.StageSpec(index=4, block_count=3, return_features=False),),
        num_groups=resnets.NUM_GROUPS,
        width_per_group=resnets.WIDTH_PER_GROUP,
        stride_in_1x1=resnets.STRIDE_IN_1X1,
        stride_init=None,
        res2_out_channels=resnets.RES2_OUT_CHANNELS,
        dilation=resnets.RES5_DILATION,
    )
