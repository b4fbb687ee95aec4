"""The keypoint head's training targets and loss (Mask R-CNN, He et al. 2017, section 5).

Legend: M objects and R proposals of an image, N proposals of a batch, K keypoints, S side of a heatmap.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.targets import objects_of_proposals
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.structures.keypoint import Keypoints, keypoints_to_heat_map
from maskrcnn_benchmark.structures.keypoint_ops import cat_keypoints


def cat_boxlist_with_keypoints(boxlists: list[BoxList]) -> BoxList:
    """`cat_boxlist` for BoxLists that all have the field "keypoints"."""
    keypoints = cat_keypoints([b.get_field("keypoints") for b in boxlists])
    joined = cat_boxlist([b.copy_with_fields([f for f in b.fields() if f != "keypoints"]) for b in boxlists])
    joined.add_field("keypoints", keypoints)
    return joined


def project_keypoints_to_heatmap(
    keypoints: Keypoints, proposals: BoxList, discretization_size: int
) -> tuple[Tensor, Tensor]:
    """`keypoints_to_heat_map` of one object for each proposal."""
    return keypoints_to_heat_map(keypoints.keypoints, proposals.convert("xyxy").bbox, discretization_size)


def has_visible_keypoint(target: BoxList) -> Tensor:
    """Which of the M objects have a labelled keypoint inside their box: bool Tensor[M]."""
    points = target.get_field("keypoints").keypoints
    return (_within_box(points, target.convert("xyxy").bbox) & (points[..., 2] > 0)).any(dim=1)


def _within_box(points: Tensor, boxes: Tensor) -> Tensor:
    """Which of Tensor[M, K, 2 or more] points lie in their object's box, Tensor[M, 4] xyxy: bool Tensor[M, K]."""
    corners = boxes[:, None]
    return ((points[..., :2] >= corners[..., :2]) & (points[..., :2] <= corners[..., 2:])).all(dim=-1)


class KeypointRCNNLossComputation:
    """Cross-entropy over the cells of each keypoint's heatmap.

    Which object a proposal stands for was decided by the box head ("labels", "matched_idxs"); proposals without these fields
    are matched here.
    """

    def __init__(
        self, proposal_matcher: Matcher, fg_bg_sampler: BalancedPositiveNegativeSampler, discretization_size: int
    ):
        self.proposal_matcher = proposal_matcher
        self.fg_bg_sampler = fg_bg_sampler
        self.discretization_size = discretization_size

    def match_targets_to_proposals(self, proposal: BoxList, target: BoxList) -> BoxList:
        """The object of each of an image's R proposals, with "labels", "keypoints" and "matched_idxs"
        (`objects_of_proposals`)."""
        objects = objects_of_proposals(self.proposal_matcher, proposal, target, ["labels", "keypoints"])
        if not len(target):
            objects.add_field("keypoints", Keypoints(proposal.bbox.new_zeros(len(proposal), 0, 3), target.size))
        return objects

    @torch.no_grad()
    def prepare_targets(self, proposals: list[BoxList], targets: list[BoxList]) -> tuple[list[Tensor], list[Keypoints]]:
        """For the R proposals of each image: classes int64 Tensor[R] (0 is background, -1 an object without a visible
        keypoint), and the keypoints of their R objects, meaningful where the class is positive."""
        labels, keypoints = [], []
        for proposal, target in zip(proposals, targets, strict=True):
            objects = self.match_targets_to_proposals(proposal, target)
            label = objects.get_field("labels").to(torch.int64)
            labels.append(label.masked_fill((label > 0) & ~has_visible_keypoint(objects), -1))
            keypoints.append(objects.get_field("keypoints"))
        return labels, keypoints

    @torch.no_grad()
    def subsample(self, proposals: list[BoxList], targets: list[BoxList]) -> list[BoxList]:
        """Draw the proposals to train on from those that stand for an object with a visible keypoint.

        Returns:
            These proposals with the fields "labels", "keypoints" (of their objects) and "rows" (int64, which of the given
            proposals of the whole batch each one is).
        """
        labels, keypoints = self.prepare_targets(proposals, targets)
        positive, _ = self.fg_bg_sampler(labels)
        chosen, first = [], 0
        for proposal, label, points, is_drawn in zip(proposals, labels, keypoints, positive, strict=True):
            index = is_drawn.nonzero().squeeze(1)
            boxes = proposal[index]
            boxes.add_field("labels", label[index])
            boxes.add_field("keypoints", points[index])
            boxes.add_field("rows", index + first)
            chosen.append(boxes)
            first += len(proposal)
        return chosen

    def __call__(self, proposals: list[BoxList], keypoint_logits: Tensor) -> Tensor:
        """
        Args:
            proposals: what `subsample` returned.
            keypoint_logits: Tensor[N, K, S, S] of these N proposals.

        Returns:
            The mean over the valid keypoints; zero if there are none.
        """
        if len(keypoint_logits) == 0:
            return keypoint_logits.sum() * 0.0
        with torch.no_grad():
            by_image = [
                project_keypoints_to_heatmap(p.get_field("keypoints"), p, self.discretization_size)
                for p in proposals
                if len(p)
            ]
        cells, valid = map(cat, zip(*by_image, strict=True))
        wanted = torch.where(valid > 0, cells, -100).flatten()
        loss = F.cross_entropy(
            keypoint_logits.float().flatten(2).flatten(0, 1), wanted, ignore_index=-100, reduction="sum"
        )
        return loss / valid.sum().clamp(min=1)


def make_roi_keypoint_loss_evaluator(cfg) -> KeypointRCNNLossComputation:
    heads = cfg.MODEL.ROI_HEADS
    matcher = Matcher(heads.FG_IOU_THRESHOLD, heads.BG_IOU_THRESHOLD, allow_low_quality_matches=False)
    # The box head's limits: they leave nothing out of what it has drawn.
    sampler = BalancedPositiveNegativeSampler(heads.BATCH_SIZE_PER_IMAGE, heads.POSITIVE_FRACTION)
    return KeypointRCNNLossComputation(matcher, sampler, cfg.MODEL.ROI_KEYPOINT_HEAD.RESOLUTION)
