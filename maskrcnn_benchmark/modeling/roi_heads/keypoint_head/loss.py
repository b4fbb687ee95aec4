"""The keypoint head's training targets and loss (Mask R-CNN, He et al. 2017, section 5).

Legend: M objects of an image, N proposals of a batch, K keypoints, R side of a heatmap.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.structures.keypoint import Keypoints, cat_keypoints, keypoints_to_heat_map


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
    points, boxes = target.get_field("keypoints").keypoints, target.convert("xyxy").bbox[:, None]
    inside = ((points[..., :2] >= boxes[..., :2]) & (points[..., :2] <= boxes[..., 2:])).all(dim=-1)
    return (inside & (points[..., 2] > 0)).any(dim=1)


class KeypointRCNNLossComputation:
    """Cross-entropy over the cells of each keypoint's heatmap.

    Which object a proposal stands for, and that no more than a share of the batch is positive, was decided by the box head
    ("labels", "matched_idxs"); neither is done again.
    """

    def __init__(self, discretization_size: int):
        self.discretization_size = discretization_size

    @torch.no_grad()
    def subsample(self, proposals: list[BoxList], targets: list[BoxList]) -> tuple[list[BoxList], list[Tensor]]:
        """The proposals to train on, those that stand for an object with a visible keypoint.

        Returns:
            These proposals with the field "keypoints" of their objects, and which of the given ones they are (bool).
        """
        chosen, kept = [], []
        for proposal, target in zip(proposals, targets, strict=True):
            keep = proposal.get_field("labels") > 0
            if len(target) == 0:
                chosen.append(proposal[keep])
                kept.append(keep)
                continue
            matched = proposal.get_field("matched_idxs")
            keep = keep & has_visible_keypoint(target)[matched]
            boxes = proposal[keep]
            boxes.add_field("keypoints", target.get_field("keypoints")[matched[keep]])
            chosen.append(boxes)
            kept.append(keep)
        return chosen, kept

    @torch.no_grad()
    def prepare_targets(self, proposals: list[BoxList]) -> tuple[Tensor, Tensor]:
        """Heatmap cells and their validity (`keypoints_to_heat_map`) of proposals with "keypoints": int64 Tensor[N, K]."""
        by_image = [
            project_keypoints_to_heatmap(p.get_field("keypoints"), p, self.discretization_size)
            for p in proposals
            if len(p)
        ]
        cells, valid = zip(*by_image, strict=True)
        return cat(cells), cat(valid)

    def __call__(self, proposals: list[BoxList], keypoint_logits: Tensor) -> Tensor:
        """
        Args:
            proposals: what `subsample` returned.
            keypoint_logits: Tensor[N, K, R, R] of these N proposals.

        Returns:
            The mean over the valid keypoints; zero if there are none.
        """
        if len(keypoint_logits) == 0:
            return keypoint_logits.sum() * 0.0
        cells, valid = self.prepare_targets(proposals)
        wanted = torch.where(valid > 0, cells, -100).flatten()
        loss = F.cross_entropy(
            keypoint_logits.float().flatten(2).flatten(0, 1), wanted, ignore_index=-100, reduction="sum"
        )
        return loss / valid.sum().clamp(min=1)


def make_roi_keypoint_loss_evaluator(cfg) -> KeypointRCNNLossComputation:
    return KeypointRCNNLossComputation(cfg.MODEL.ROI_KEYPOINT_HEAD.RESOLUTION)
