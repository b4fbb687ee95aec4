"""The mask head's training targets and loss (Mask R-CNN, He et al. 2017, section 3)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList


class MaskRCNNLossComputation:
    """Binary cross-entropy of the mask of each proposal's own class.

    Which object a proposal stands for was decided by the box head ("matched_idxs"); it is not matched again.
    """

    def __init__(self, discretization_size: int):
        self.discretization_size = discretization_size

    @torch.no_grad()
    def prepare_targets(self, proposals: list[BoxList], targets: list[BoxList]) -> Tensor:
        """Float Tensor[K, R, R]: the objects' masks inside the K proposals."""
        masks = []
        for proposal, target in zip(proposals, targets, strict=True):
            index, size = proposal.get_field("matched_idxs"), self.discretization_size
            # Polygons are filled on the host, bitmaps cut where they are.
            cut = target.get_field("masks").crop_and_resize(proposal.bbox, index, size)
            masks.append(cut.to(proposal.bbox.device, torch.float32))
        return cat(masks)

    def __call__(self, proposals: list[BoxList], mask_logits: Tensor, targets: list[BoxList]) -> Tensor:
        """
        Args:
            proposals: the positive ones of each image.
            mask_logits: Tensor[K, C, R, R] of these K proposals.
            targets: the objects of each image with the field "masks".
        """
        if len(mask_logits) == 0:
            return mask_logits.sum() * 0.0
        labels = cat([p.get_field("labels") for p in proposals])
        own_class = mask_logits.take_along_dim(labels[:, None, None, None], dim=1).squeeze(1)
        return F.binary_cross_entropy_with_logits(own_class.float(), self.prepare_targets(proposals, targets))


def make_roi_mask_loss_evaluator(cfg) -> MaskRCNNLossComputation:
    return MaskRCNNLossComputation(cfg.MODEL.ROI_MASK_HEAD.RESOLUTION)
