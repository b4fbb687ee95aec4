"""FBNet bodies and heads (Wu et al. 2019, https://arxiv.org/abs/1812.03443) under the names that configurations use."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import registries
from maskrcnn_benchmark.modeling.backbone.fbnet_builder import (
    FBNetBuilder,
    get_blocks,
    get_num_stages,
    unify_arch_def,
)
from maskrcnn_benchmark.modeling.backbone.fbnet_modeldef import MODEL_ARCH
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.pooling import configured_pooler
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.wording import counted

# The group of keys below MODEL of each head of an architecture.
ARCH_CFG_NAME_MAPPING = {"bbox": "ROI_BOX_HEAD", "kpts": "ROI_KEYPOINT_HEAD", "mask": "ROI_MASK_HEAD"}


def create_builder(cfg) -> tuple[FBNetBuilder, dict[str, Any]]:
    """A builder, and the architecture that MODEL.FBNET.ARCH names or ARCH_DEF describes in JSON."""
    fbnet = cfg.MODEL.FBNET
    described = unify_arch_def(json.loads(fbnet.ARCH_DEF)) if fbnet.ARCH_DEF else None
    arch_def = unify_arch_def(MODEL_ARCH[fbnet.ARCH]) if fbnet.ARCH in MODEL_ARCH else described
    if arch_def is None:
        raise ValueError(
            f"MODEL.FBNET.ARCH {fbnet.ARCH!r} is not one of {', '.join(sorted(MODEL_ARCH))}; name one of them or describe it in "
            "MODEL.FBNET.ARCH_DEF."
        )
    if described is not None and described != arch_def:
        raise ValueError(
            f"MODEL.FBNET.ARCH_DEF describes another architecture than {fbnet.ARCH!r}; leave one of the two out."
        )
    builder = FBNetBuilder(
        width_ratio=fbnet.SCALE_FACTOR,
        bn_type=_norm_type(cfg, fbnet.BN_TYPE),
        width_divisor=fbnet.WIDTH_DIVISOR,
        dw_skip_bn=fbnet.DW_CONV_SKIP_BN,
        dw_skip_relu=fbnet.DW_CONV_SKIP_RELU,
    )
    return builder, arch_def


def _norm_type(cfg, name: str) -> str | tuple[str, int]:
    return ("gn", cfg.MODEL.GROUP_NORM.NUM_GROUPS) if name == "gn" else name


def _get_trunk_cfg(arch_def: dict[str, Any]) -> dict[str, Any]:
    """The description with the blocks of the body only; without "backbone" in it, all stages but the last."""
    return get_blocks(arch_def, arch_def.get("backbone", range(get_num_stages(arch_def) - 1)))


def _get_rpn_stage(arch_def: dict[str, Any], num_blocks: int) -> list[dict[str, Any]]:
    """The blocks of the RPN's head, or the last `num_blocks` of them if that is above 0."""
    if "rpn" not in arch_def:
        raise ValueError(
            f"The FBNet architecture has no 'rpn'; it has {', '.join(sorted(arch_def))}. Take another head "
            "(MODEL.RPN.RPN_HEAD) or another architecture (MODEL.FBNET.ARCH)."
        )
    blocks = get_blocks(arch_def, arch_def["rpn"])["stages"]
    if num_blocks > len(blocks):
        raise ValueError(
            f"MODEL.FBNET.RPN_HEAD_BLOCKS is {num_blocks}; the architecture has {counted(len(blocks), 'block')} there."
        )
    return blocks[-num_blocks:] if num_blocks > 0 else blocks


def _get_head_stage(arch: dict[str, Any], head_name: str, blocks: Sequence[int] | None) -> list[dict[str, Any]]:
    """The blocks of a head, of its own entry or of "head"; of all stages if the architecture has neither, as upstream."""
    stage = arch.get(head_name if head_name in arch else "head")
    return get_blocks(arch, stage, blocks)["stages"]


@any_layout
class FBNetTrunk(nn.Module):
    """Tensor[B, dim_in, H, W] -> a list of one map."""

    def __init__(self, builder: FBNetBuilder, arch_def: dict[str, Any], dim_in: int):
        super().__init__()
        self.first = builder.add_first(arch_def["first"], dim_in=dim_in)
        self.stages = builder.add_blocks(_get_trunk_cfg(arch_def)["stages"])

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.stages(self.first(x))]


@registries.BACKBONES.register("FBNet")
def add_conv_body(cfg, dim_in: int = 3) -> Any:
    builder, arch_def = create_builder(cfg)
    model: Any = nn.Sequential(OrderedDict([("body", FBNetTrunk(builder, arch_def, dim_in))]))
    model.out_channels = builder.last_depth
    return model


@any_layout
class FBNetRPNHead(nn.Module):
    """The blocks before the RPN's predictions: a list of maps -> a list of maps."""

    def __init__(self, cfg, in_channels: int, builder: FBNetBuilder, arch_def: dict[str, Any]):
        super().__init__()
        fbnet = cfg.MODEL.FBNET
        builder.last_depth = in_channels
        if fbnet.RPN_BN_TYPE:
            builder.bn_type = _norm_type(cfg, fbnet.RPN_BN_TYPE)
        self.head = builder.add_blocks(_get_rpn_stage(arch_def, fbnet.RPN_HEAD_BLOCKS))
        self.out_channels = builder.last_depth

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        return [self.head(level) for level in x]


@registries.RPN_HEADS.register("FBNet.rpn_head")
def add_rpn_head(cfg, in_channels: int, num_anchors: int) -> nn.Module:
    # rpn.py imports the package whose backbones are registered here.
    from maskrcnn_benchmark.modeling.rpn.heads import RPNHeadConvRegressor

    features = FBNetRPNHead(cfg, in_channels, *create_builder(cfg))
    return nn.Sequential(features, RPNHeadConvRegressor(cfg, features.out_channels, num_anchors))


@any_layout
class FBNetROIHead(nn.Module):
    """Pooling and blocks: feature maps, proposals -> Tensor[K, out_channels, R', R'].

    Args:
        head_name: a key of ARCH_CFG_NAME_MAPPING.
        use_blocks: indices of the blocks of the stage to use; empty for all.
        stride_init: stride of the first block; 0 for the architecture's.
        last_layer_scale: see FBNetBuilder.add_last.
    """

    def __init__(
        self,
        cfg,
        in_channels: int,
        builder: FBNetBuilder,
        arch_def: dict[str, Any],
        head_name: str,
        use_blocks: Sequence[int],
        stride_init: int,
        last_layer_scale: float,
    ):
        super().__init__()
        builder.last_depth = in_channels
        blocks = [dict(b) for b in _get_head_stage(arch_def, head_name, use_blocks)]
        if stride_init:
            blocks[0]["block"] = [*blocks[0]["block"][:3], stride_init]
        self.pooler = configured_pooler(Pooler, cfg, ARCH_CFG_NAME_MAPPING[head_name])
        self.head = nn.Sequential(
            OrderedDict(
                [
                    ("blocks", builder.add_blocks(blocks)),
                    ("last", builder.add_last([arch_def["last"][0], last_layer_scale])),
                ]
            )
        )
        self.out_channels = builder.last_depth

    def forward(self, x: Sequence[Tensor], proposals: list[BoxList]) -> Tensor:
        return self.head(self.pooler(x, proposals))


@registries.ROI_BOX_FEATURE_EXTRACTORS.register("FBNet.roi_head")
def add_roi_head(cfg, in_channels: int) -> FBNetROIHead:
    fbnet = cfg.MODEL.FBNET
    options = fbnet.DET_HEAD_BLOCKS, fbnet.DET_HEAD_STRIDE, fbnet.DET_HEAD_LAST_SCALE
    return FBNetROIHead(cfg, in_channels, *create_builder(cfg), "bbox", *options)


@registries.ROI_KEYPOINT_FEATURE_EXTRACTORS.register("FBNet.roi_head_keypoints")
def add_roi_head_keypoints(cfg, in_channels: int) -> FBNetROIHead:
    fbnet = cfg.MODEL.FBNET
    options = fbnet.KPTS_HEAD_BLOCKS, fbnet.KPTS_HEAD_STRIDE, fbnet.KPTS_HEAD_LAST_SCALE
    return FBNetROIHead(cfg, in_channels, *create_builder(cfg), "kpts", *options)


@registries.ROI_MASK_FEATURE_EXTRACTORS.register("FBNet.roi_head_mask")
def add_roi_head_mask(cfg, in_channels: int) -> FBNetROIHead:
    fbnet = cfg.MODEL.FBNET
    options = fbnet.MASK_HEAD_BLOCKS, fbnet.MASK_HEAD_STRIDE, fbnet.MASK_HEAD_LAST_SCALE
    return FBNetROIHead(cfg, in_channels, *create_builder(cfg), "mask", *options)
