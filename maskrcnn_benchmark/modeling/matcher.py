"""Which object, if any, each box stands for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import MAX_BLOCK, box_iou


class Matcher:
    """Assigns to each of N boxes the index of one of M objects, or a negative number.

    Args:
        high_threshold: a box whose best IoU is at least this stands for that object.
        low_threshold: a box whose best IoU is below this is background; between the two it is neither.
        allow_low_quality_matches: also give each object the boxes that overlap it most, however little
            (Faster R-CNN, section 3.1.2, i).
    """

    BELOW_LOW_THRESHOLD = -1
    BETWEEN_THRESHOLDS = -2

    def __init__(self, high_threshold: float, low_threshold: float, allow_low_quality_matches: bool = False):
        if low_threshold > high_threshold:
            raise ValueError(f"low_threshold {low_threshold} is above high_threshold {high_threshold}.")
        self.high_threshold = high_threshold
        self.low_threshold = low_threshold
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix: Tensor) -> Tensor:
        """Tensor[M, N] of IoU -> int64 Tensor[N]."""
        if match_quality_matrix.numel() == 0:  # no objects, or no boxes
            return self._all_background(match_quality_matrix, match_quality_matrix.shape[1])
        value, index = match_quality_matrix.max(dim=0)
        unmatched = torch.where(value < self.low_threshold, self.BELOW_LOW_THRESHOLD, self.BETWEEN_THRESHOLDS)
        matches = torch.where(value >= self.high_threshold, index, unmatched)
        if self.allow_low_quality_matches:
            self.set_low_quality_matches_(matches, index, match_quality_matrix)
        return matches

    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor) -> None:
        """Give the boxes that overlap some object most the object that they overlap most, in place.

        Args:
            matches: int64 Tensor[N], what is changed.
            all_matches: int64 Tensor[N], the object of each box's highest IoU.
            match_quality_matrix: Tensor[M, N] of IoU.
        """
        best = match_quality_matrix.amax(dim=1, keepdim=True)
        # An object that no box touches has no best box: no IoU equals 2.
        is_best = (match_quality_matrix == torch.where(best > 0, best, 2.0)).any(dim=0)
        matches.copy_(torch.where(is_best, all_matches, matches))

    def match_boxes(self, objects: Tensor, boxes: Tensor) -> Tensor:
        """Match Tensor[N, 4] boxes to Tensor[M, 4] objects -> int64 Tensor[N].

        The IoU matrix is made in blocks, so memory stays bounded for any M and N; a matrix that fits one block is
        computed once, a larger one twice where low-quality matches need each object's best overlap first.
        """
        if len(objects) == 0:
            return self._all_background(boxes, len(boxes))
        blocks = boxes.split(max(MAX_BLOCK // len(objects), 1))
        if len(blocks) <= 1:
            return self(box_iou(objects, boxes))
        if not self.allow_low_quality_matches:
            return torch.cat([self(box_iou(objects, block)) for block in blocks])
        best = torch.stack([box_iou(objects, block).amax(dim=1) for block in blocks]).amax(dim=0)
        # A column of its own tells each block the best overlaps of all blocks.
        return torch.cat([self(torch.cat((box_iou(objects, b), best[:, None]), dim=1))[:-1] for b in blocks])

    def _all_background(self, like: Tensor, count: int) -> Tensor:
        return like.new_full((count,), self.BELOW_LOW_THRESHOLD, dtype=torch.int64)


def matched_targets(target: BoxList, matched: Tensor, boxes: BoxList, fields: Sequence[str]) -> BoxList:
    """The objects that boxes stand for.

    Args:
        target: the M objects of an image.
        matched: what a Matcher says of the boxes, int64 Tensor[N].
        boxes: the N boxes.
        fields: of the target, to be there in the result.

    Returns:
        N objects with these fields and "matched_idxs", which is `matched`. Where it is negative the object means nothing. In
        an image without objects every box stands for itself, with the label 0.
    """
    if len(target):
        objects = target.copy_with_fields(list(fields))[matched.clamp(min=0)]
    else:
        objects = BoxList(boxes.bbox, boxes.size, boxes.mode)
        if "labels" in fields:
            objects.add_field("labels", torch.zeros_like(matched))
    objects.add_field("matched_idxs", matched)
    return objects


def objects_of_proposals(matcher: Matcher, proposal: BoxList, target: BoxList, fields: Sequence[str]) -> BoxList:
    """`matched_targets` for the heads behind the box head, which has matched the proposals already ("matched_idxs").

    Only proposals without that field are matched. "labels" in the result is the box head's decision, the proposals' own
    field, otherwise the object's class; 0 is background.
    """
    if proposal.has_field("matched_idxs"):
        matched = proposal.get_field("matched_idxs")
    else:
        matched = matcher.match_boxes(target.bbox, proposal.bbox)
    objects = matched_targets(target, matched, proposal, fields)
    if proposal.has_field("labels"):
        objects.add_field("labels", proposal.get_field("labels"))
    else:
        objects.add_field("labels", objects.get_field("labels").masked_fill(matched < 0, 0))
    return objects
