"""A fork's own ResNet."""

from collections import namedtuple

import torch.nn.functional as F
from torch import nn

from maskrcnn_benchmark.layers import Conv2d, DFConv2d, FrozenBatchNorm2d
from maskrcnn_benchmark.modeling.make_layers import group_norm
from maskrcnn_benchmark.utils.registry import Registry

StageSpec = namedtuple("StageSpec", ["index", "block_count", "return_features"])


def _stages(counts, returned):
    return tuple(StageSpec(i, count, i in returned) for i, count in enumerate(counts, 1))


ResNet50StagesTo5 = _stages((3, 4, 6, 3), (4,))
ResNet50StagesTo4 = _stages((3, 4, 6), (3,))
ResNet101StagesTo5 = _stages((3, 4, 23, 3), (4,))
ResNet101StagesTo4 = _stages((3, 4, 23), (3,))
ResNet50FPNStagesTo5 = _stages((3, 4, 6, 3), (1, 2, 3, 4))
ResNet101FPNStagesTo5 = _stages((3, 4, 23, 3), (1, 2, 3, 4))
ResNet152FPNStagesTo5 = _stages((3, 8, 36, 3), (1, 2, 3, 4))


class ResNet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        options = cfg.MODEL.RESNETS
        self.stem = _STEM_MODULES[options.STEM_FUNC](cfg)
        self.stages = []
        self.return_features = {}
        in_channels = options.STEM_OUT_CHANNELS
        for spec in _STAGE_SPECS[cfg.MODEL.BACKBONE.CONV_BODY]:
            name = f"layer{spec.index}"
            factor = 2 ** (spec.index - 1)
            stage = _make_stage(
                _TRANSFORMATION_MODULES[options.TRANS_FUNC],
                in_channels,
                options.NUM_GROUPS * options.WIDTH_PER_GROUP * factor,
                options.RES2_OUT_CHANNELS * factor,
                spec.block_count,
                options.NUM_GROUPS,
                options.STRIDE_IN_1X1,
                first_stride=2 if spec.index > 1 else 1,
                dcn_config={
                    "stage_with_dcn": options.STAGE_WITH_DCN[spec.index - 1],
                    "with_modulated_dcn": options.WITH_MODULATED_DCN,
                    "deformable_groups": options.DEFORMABLE_GROUPS,
                },
            )
            in_channels = options.RES2_OUT_CHANNELS * factor
            self.add_module(name, stage)
            self.stages.append(name)
            self.return_features[name] = spec.return_features
        self._freeze_backbone(cfg.MODEL.BACKBONE.FREEZE_CONV_BODY_AT)

    def _freeze_backbone(self, freeze_at):
        for index in range(freeze_at):
            for p in (self.stem if index == 0 else getattr(self, f"layer{index}")).parameters():
                p.requires_grad = False

    def forward(self, x):
        outputs = []
        x = self.stem(x)
        for name in self.stages:
            x = getattr(self, name)(x)
            if self.return_features[name]:
                outputs.append(x)
        return outputs


class ResNetHead(nn.Module):
    def __init__(
        self,
        block_module,
        stages,
        num_groups=1,
        width_per_group=64,
        stride_in_1x1=True,
        stride_init=None,
        res2_out_channels=256,
        dilation=1,
        dcn_config=None,
    ):
        super().__init__()
        factor = 2 ** (stages[0].index - 1)
        self.out_channels = res2_out_channels * factor
        in_channels = self.out_channels // 2
        self.stages = []
        for spec in stages:
            name = f"layer{spec.index}"
            stage = _make_stage(
                _TRANSFORMATION_MODULES[block_module],
                in_channels,
                num_groups * width_per_group * factor,
                self.out_channels,
                spec.block_count,
                num_groups,
                stride_in_1x1,
                first_stride=stride_init or (2 if spec.index > 1 else 1),
                dilation=dilation,
                dcn_config=dcn_config,
            )
            stride_init = None
            in_channels = self.out_channels
            self.add_module(name, stage)
            self.stages.append(name)

    def forward(self, x):
        for name in self.stages:
            x = getattr(self, name)(x)
        return x


def _make_stage(
    transformation_module,
    in_channels,
    bottleneck_channels,
    out_channels,
    block_count,
    num_groups,
    stride_in_1x1,
    first_stride,
    dilation=1,
    dcn_config=None,
):
    blocks = []
    for i in range(block_count):
        blocks.append(
            transformation_module(
                in_channels if i == 0 else out_channels,
                bottleneck_channels,
                out_channels,
                num_groups,
                stride_in_1x1,
                first_stride if i == 0 else 1,
                dilation=dilation,
                dcn_config=dcn_config,
            )
        )
    return nn.Sequential(*blocks)


class Bottleneck(nn.Module):
    def __init__(
        self,
        in_channels,
        bottleneck_channels,
        out_channels,
        num_groups,
        stride_in_1x1,
        stride,
        dilation,
        norm_func,
        dcn_config,
    ):
        super().__init__()
        if dilation > 1:
            stride = 1
        self.downsample = None
        if in_channels != out_channels:
            self.downsample = nn.Sequential(
                Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False), norm_func(out_channels)
            )
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = Conv2d(in_channels, bottleneck_channels, kernel_size=1, stride=first, bias=False)
        self.bn1 = norm_func(bottleneck_channels)
        middle = {"kernel_size": 3, "stride": second, "groups": num_groups, "dilation": dilation, "bias": False}
        if dcn_config and dcn_config["stage_with_dcn"]:
            self.conv2 = DFConv2d(
                bottleneck_channels,
                bottleneck_channels,
                with_modulated_dcn=dcn_config["with_modulated_dcn"],
                deformable_groups=dcn_config["deformable_groups"],
                **middle,
            )
        else:
            self.conv2 = Conv2d(bottleneck_channels, bottleneck_channels, padding=dilation, **middle)
        self.bn2 = norm_func(bottleneck_channels)
        self.conv3 = Conv2d(bottleneck_channels, out_channels, kernel_size=1, bias=False)
        self.bn3 = norm_func(out_channels)

    def forward(self, x):
        out = F.relu_(self.bn1(self.conv1(x)))
        out = F.relu_(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return F.relu_(out)


class BaseStem(nn.Module):
    def __init__(self, cfg, norm_func):
        super().__init__()
        out_channels = cfg.MODEL.RESNETS.STEM_OUT_CHANNELS
        self.conv1 = Conv2d(3, out_channels, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = norm_func(out_channels)

    def forward(self, x):
        return F.max_pool2d(F.relu_(self.bn1(self.conv1(x))), kernel_size=3, stride=2, padding=1)


class BottleneckWithFixedBatchNorm(Bottleneck):
    norm = FrozenBatchNorm2d

    def __init__(
        self,
        in_channels,
        bottleneck_channels,
        out_channels,
        num_groups=1,
        stride_in_1x1=True,
        stride=1,
        dilation=1,
        dcn_config=None,
    ):
        sizes = (in_channels, bottleneck_channels, out_channels, num_groups)
        super().__init__(*sizes, stride_in_1x1, stride, dilation, type(self).norm, dcn_config)


class BottleneckWithGN(BottleneckWithFixedBatchNorm):
    norm = group_norm


class StemWithFixedBatchNorm(BaseStem):
    def __init__(self, cfg):
        super().__init__(cfg, norm_func=FrozenBatchNorm2d)


class StemWithGN(BaseStem):
    def __init__(self, cfg):
        super().__init__(cfg, norm_func=group_norm)


_TRANSFORMATION_MODULES = Registry(
    {"BottleneckWithFixedBatchNorm": BottleneckWithFixedBatchNorm, "BottleneckWithGN": BottleneckWithGN}
)
_STEM_MODULES = Registry({"StemWithFixedBatchNorm": StemWithFixedBatchNorm, "StemWithGN": StemWithGN})
_STAGE_SPECS = Registry(
    {
        "R-50-C4": ResNet50StagesTo4,
        "R-50-C5": ResNet50StagesTo5,
        "R-101-C4": ResNet101StagesTo4,
        "R-101-C5": ResNet101StagesTo5,
        "R-50-FPN": ResNet50FPNStagesTo5,
        "R-50-FPN-RETINANET": ResNet50FPNStagesTo5,
        "R-101-FPN": ResNet101FPNStagesTo5,
        "R-101-FPN-RETINANET": ResNet101FPNStagesTo5,
        "R-152-FPN": ResNet152FPNStagesTo5,
    }
)
