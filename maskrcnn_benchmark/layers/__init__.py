"""Upstream's layers, and GroupNorm, EfficientNonLocal, batched_nms, conv_norm and multiscale_roi_align.

Those five are not upstream's. The package itself imports them from the modules that define them, since a fork's version of this
file lacks them.
"""

from torch.nn import BatchNorm2d

from maskrcnn_benchmark.layers.batch_norm import FrozenBatchNorm2d
from maskrcnn_benchmark.layers.dcn.deform_conv_func import deform_conv, modulated_deform_conv
from maskrcnn_benchmark.layers.dcn.deform_conv_module import DeformConv, ModulatedDeformConv, ModulatedDeformConvPack
from maskrcnn_benchmark.layers.dcn.deform_pool_func import deform_roi_pooling
from maskrcnn_benchmark.layers.dcn.deform_pool_module import (
    DeformRoIPooling,
    DeformRoIPoolingPack,
    ModulatedDeformRoIPoolingPack,
)
from maskrcnn_benchmark.layers.deformable import DFConv2d
from maskrcnn_benchmark.layers.frozen_batch_norm import conv_norm
from maskrcnn_benchmark.layers.group_norm import GroupNorm
from maskrcnn_benchmark.layers.misc import Conv2d, ConvTranspose2d, interpolate
from maskrcnn_benchmark.layers.nms import nms
from maskrcnn_benchmark.layers.non_local import EfficientNonLocal
from maskrcnn_benchmark.layers.roi_align import ROIAlign, roi_align
from maskrcnn_benchmark.layers.roi_pool import ROIPool, roi_pool
from maskrcnn_benchmark.layers.sigmoid_focal_loss import SigmoidFocalLoss
from maskrcnn_benchmark.layers.smooth_l1_loss import smooth_l1_loss
from maskrcnn_benchmark.ops.nms import batched_nms
from maskrcnn_benchmark.ops.roi_align import multiscale_roi_align

__all__ = [
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "DFConv2d",
    "DeformConv",
    "DeformRoIPooling",
    "DeformRoIPoolingPack",
    "EfficientNonLocal",
    "FrozenBatchNorm2d",
    "GroupNorm",
    "ModulatedDeformConv",
    "ModulatedDeformConvPack",
    "ModulatedDeformRoIPoolingPack",
    "ROIAlign",
    "ROIPool",
    "SigmoidFocalLoss",
    "batched_nms",
    "conv_norm",
    "deform_conv",
    "deform_roi_pooling",
    "interpolate",
    "modulated_deform_conv",
    "multiscale_roi_align",
    "nms",
    "roi_align",
    "roi_pool",
    "smooth_l1_loss",
]
