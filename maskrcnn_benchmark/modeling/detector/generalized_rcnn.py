"""A detector: backbone, region proposals (or RetinaNet's dense predictions), heads."""

from typing import NoReturn

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from maskrcnn_benchmark.layers.layout import any_layout, best_layout
from maskrcnn_benchmark.modeling import forks
from maskrcnn_benchmark.modeling.backbone import build_backbone
from maskrcnn_benchmark.modeling.detector.inputs import check_images, check_targets
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import build_roi_heads
from maskrcnn_benchmark.modeling.rpn.rpn import build_rpn
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list


@any_layout
class GeneralizedRCNN(nn.Module):
    """Faster, Mask and Keypoint R-CNN (Ren et al. 2015, He et al. 2017), the region proposal network alone, or RetinaNet."""

    def __init__(self, cfg: CfgNode):
        super().__init__()
        self.backbone = build_backbone(cfg)
        channels = getattr(self.backbone, "out_channels", None) or forks.body_channels(cfg)
        self.rpn = forks.build(build_rpn, cfg, channels)
        self.roi_heads = forks.build(build_roi_heads, cfg, channels)
        self.is_channels_last = best_layout(self) == torch.channels_last  # a torch.memory_format cannot be saved
        self.to(memory_format=self.layout)

    @property
    def layout(self) -> torch.memory_format:
        """Of maps and weights."""
        return torch.channels_last if self.is_channels_last else torch.contiguous_format

    def __prepare_scriptable__(self) -> NoReturn:
        """What torch.jit.script calls first."""
        raise NotImplementedError(
            "A detector cannot be a TorchScript program, because it returns BoxLists: write it as ONNX or by torch.export, "
            "with `mrb export`."
        )

    def forward(
        self, images: ImageList | Tensor | list[Tensor], targets: list[BoxList] | None = None
    ) -> dict[str, Tensor] | list[BoxList]:
        """
        Args:
            images: an ImageList, Tensor[B, 3, H, W] or list of Tensor[3, H, W], in the range that INPUT describes.
            targets: in training, the objects of each image with the fields "labels" (1 and above) and, for a model with
                masks, "masks", for one with keypoints, "keypoints". An image may have no objects.

        Returns:
            In training the losses by name; otherwise a BoxList for each image, with "scores" and "labels" (and "mask",
            "keypoints"), or with "objectness" if the model stops at proposals.
        """
        if torch.jit.is_tracing():
            self.__prepare_scriptable__()
        images = to_image_list(images)
        check_images(images)
        if self.training:
            check_targets(images, targets)
        features = self.backbone(images.tensors.contiguous(memory_format=self.layout))
        proposals, losses = self.rpn(images, features, targets)
        if not self.roi_heads:  # None, or a fork's empty list
            return losses if self.training else proposals
        _, detections, head_losses = self.roi_heads(features, proposals, targets)
        return {**losses, **head_losses} if self.training else detections
