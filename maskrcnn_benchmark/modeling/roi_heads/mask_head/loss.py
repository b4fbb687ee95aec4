"""The mask head's training targets and loss (Mask R-CNN, He et al. 2017, section 3).

Legend: R proposals of an image, K of a batch, C classes with background as class 0, M side of a predicted mask.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.targets import objects_of_proposals
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.mask_ops import mask_targets
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.utils.overriding import is_overridden, replaceable
from maskrcnn_benchmark.utils.wording import counted


def project_masks_on_boxes(
    segmentation_masks: SegmentationMask, proposals: BoxList, discretization_size: int
) -> Tensor:
    """The mask of each of N objects inside a proposal of its own: N masks, N boxes -> float32 Tensor[N, M, M] of 0 and 1."""
    if len(segmentation_masks) != len(proposals):
        raise ValueError(
            f"Each proposal needs a mask; got {len(proposals)} and {counted(len(segmentation_masks), 'mask')}."
        )
    own = torch.arange(len(proposals), device=proposals.bbox.device)
    return _cut_masks(segmentation_masks, proposals, own, discretization_size)


_PROJECT = project_masks_on_boxes  # a patch of the module may put another in its place


def _cut_masks(masks: SegmentationMask, proposals: BoxList, index: Tensor, size: int) -> Tensor:
    # Polygons are filled on the host, bitmaps cut where they are.
    boxes = proposals.convert("xyxy").bbox
    return mask_targets(masks, boxes, index, size).to(boxes.device, torch.float32, non_blocking=True)


@replaceable("match_targets_to_proposals")
class MaskRCNNLossComputation:
    """Binary cross-entropy of the mask of each proposal's own class.

    Which object a proposal stands for was decided by the box head ("labels", "matched_idxs"); proposals without these fields
    are matched here. Masks are cut from the target by index, because a copy of an object's whole mask for each of its
    proposals would be large: `match_targets_to_proposals`, which makes one, is called only where it was replaced.
    """

    def __init__(self, proposal_matcher: Matcher, discretization_size: int):
        self.proposal_matcher = proposal_matcher
        self.discretization_size = discretization_size

    def match_targets_to_proposals(self, proposal: BoxList, target: BoxList) -> BoxList:
        """The object of each of an image's proposals, with "labels", "masks" and "matched_idxs" (`objects_of_proposals`)."""
        if len(proposal) and not len(target):
            raise ValueError(
                f"There is no object, hence no mask, for {counted(len(proposal), 'proposal')} to stand for."
            )
        return objects_of_proposals(self.proposal_matcher, proposal, target, ["labels", "masks"])

    @torch.no_grad()
    def prepare_targets(self, proposals: list[BoxList], targets: list[BoxList]) -> tuple[list[Tensor], list[Tensor]]:
        """For the R proposals of each image: classes int64 Tensor[R] (0 is background), and the objects' masks inside them,
        float32 Tensor[R, M, M] of 0 and 1, meaningful where the class is positive. A proposal of an object without a mask
        ("has_mask" of the target) counts as background."""
        labels, masks, size = [], [], self.discretization_size
        is_own = is_overridden(self, MaskRCNNLossComputation, "match_targets_to_proposals")
        is_own |= project_masks_on_boxes is not _PROJECT
        for proposal, target in zip(proposals, targets, strict=True):
            if is_own:
                objects = self.match_targets_to_proposals(proposal, target)
                unmatched = objects.get_field("matched_idxs") == Matcher.BELOW_LOW_THRESHOLD
                labels.append(objects.get_field("labels").to(torch.int64).masked_fill(unmatched, 0))
                masks.append(project_masks_on_boxes(objects.get_field("masks"), proposal, size))
                continue
            objects = objects_of_proposals(self.proposal_matcher, proposal, target, ["labels"])
            classes = objects.get_field("labels").to(torch.int64)
            if len(target):
                index = objects.get_field("matched_idxs").clamp(min=0)
                if target.has_field("has_mask"):  # some objects of the data set have none
                    classes = classes.masked_fill(~target.get_field("has_mask")[index], 0)
                masks.append(_cut_masks(target.get_field("masks"), proposal, index, size))
            else:
                masks.append(torch.zeros(len(proposal), size, size, device=proposal.bbox.device))
            labels.append(classes)
        return labels, masks

    def __call__(self, proposals: list[BoxList], mask_logits: Tensor, targets: list[BoxList]) -> Tensor:
        """
        Args:
            proposals: the positive ones of each image; others do not count.
            mask_logits: Tensor[K, C, M, M] of these K proposals.
            targets: the objects of each image with the field "masks".
        """
        if len(mask_logits) == 0:
            return mask_logits.sum() * 0.0
        labels, masks = (cat(of_image) for of_image in self.prepare_targets(proposals, targets))
        positive = labels > 0
        if len(masks) < len(labels):  # a subclass that leaves the others out
            mask_logits, labels, positive = mask_logits[positive], labels[positive], positive[positive]
        own_class = mask_logits.take_along_dim(labels.clamp(min=0)[:, None, None, None], dim=1).squeeze(1)
        loss = F.binary_cross_entropy_with_logits(own_class.float(), masks, reduction="none").mean(dim=(1, 2))
        return torch.where(positive, loss, 0).sum() / positive.sum().clamp(min=1)


def make_roi_mask_loss_evaluator(cfg) -> MaskRCNNLossComputation:
    heads = cfg.MODEL.ROI_HEADS
    matcher = Matcher(heads.FG_IOU_THRESHOLD, heads.BG_IOU_THRESHOLD, allow_low_quality_matches=False)
    return MaskRCNNLossComputation(matcher, cfg.MODEL.ROI_MASK_HEAD.RESOLUTION)
