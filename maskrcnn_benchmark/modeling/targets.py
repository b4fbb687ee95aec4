"""The objects that boxes stand for in training."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.modeling.matching import Matcher
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import MAX_BLOCK, MAX_BLOCK_CPU, box_iou, box_overlap
from maskrcnn_benchmark.utils.overriding import is_overridden

# What matchers say of boxes that stand for no object: maskrcnn-benchmark's constants.
BELOW_LOW_THRESHOLD = -1
BETWEEN_THRESHOLDS = -2

IGNORED_SHARE = 0.5  # of a box's area
OUT_OF_REACH = -1e6  # the corners of a box of one pixel that no anchor touches


def match_boxes(matcher: Any, objects: Tensor, boxes: Tensor) -> Tensor:
    """Match Tensor[N, 4] boxes to Tensor[M, 4] objects -> int64 Tensor[N], what `matcher` makes of their IoU.

    For a Matcher the IoU matrix is made in blocks, so memory stays bounded for any M and N; a matrix that fits one block is
    computed once, a larger one twice where low-quality matches need each object's best overlap first. A matcher of
    another class, or with a `__call__` of its own, is given the whole matrix.
    """
    if len(objects) == 0 or len(boxes) == 0:
        return torch.full((len(boxes),), BELOW_LOW_THRESHOLD, dtype=torch.int64, device=boxes.device)
    if not _is_blockwise(matcher):
        return matcher(box_iou(objects, boxes))
    entries = min(MAX_BLOCK, MAX_BLOCK_CPU) if boxes.device.type == "cpu" else MAX_BLOCK
    blocks = boxes.split(max(entries // len(objects), 1))
    if len(blocks) <= 1:
        return matcher(box_iou(objects, boxes))
    # Results go where there is room for all: small ones kept between large blocks would scatter those over the heap.
    matches = torch.empty(len(boxes), dtype=torch.int64, device=boxes.device)
    parts = matches.split(len(blocks[0]))
    if not matcher.allow_low_quality_matches:
        for part, block in zip(parts, blocks, strict=True):
            part.copy_(matcher(box_iou(objects, block)))
        return matches
    best = torch.zeros(len(objects), dtype=boxes.dtype, device=boxes.device)
    for block in blocks:
        torch.maximum(best, box_iou(objects, block).amax(dim=1), out=best)
    for part, block in zip(parts, blocks, strict=True):
        # A column of its own tells each block the best overlaps of all blocks.
        part.copy_(matcher(torch.cat((box_iou(objects, block), best[:, None]), dim=1))[:-1])
    return matches


def match_objects(matcher: Any, target: BoxList, boxes: Tensor) -> Tensor:
    """`match_boxes` with the objects of an image, some of which may be not to learn from: the field "ignored", bool [M].

    Those are nobody's object; a box that lies by half or more within one of them, and stands for no other, is
    BETWEEN_THRESHOLDS, neither an object nor background.
    """
    if len(target) == 0 or not target.has_field("ignored"):
        return match_boxes(matcher, target.bbox, boxes)
    ignored = target.get_field("ignored")[:, None]
    # Out of every box's reach, so that the others keep their numbers and the host does not wait for the device.
    matched = match_boxes(matcher, target.bbox.masked_fill(ignored, OUT_OF_REACH), boxes)
    within = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for region in target.bbox.masked_fill(~ignored, OUT_OF_REACH):
        within |= box_overlap(region[None], boxes)[0] >= IGNORED_SHARE
    return matched.masked_fill(within & (matched < 0), BETWEEN_THRESHOLDS)


def _is_blockwise(matcher: Any) -> bool:
    """Whether a part of the boxes can be matched without the others: true of `Matcher`'s own steps."""
    steps = ("__call__", "set_low_quality_matches_")
    return isinstance(matcher, Matcher) and not is_overridden(matcher, Matcher, *steps)


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


def objects_of_proposals(matcher: Any, proposal: BoxList, target: BoxList, fields: Sequence[str]) -> BoxList:
    """`matched_targets` for the heads behind the box head, which has matched the proposals already ("matched_idxs").

    "labels" in the result is then the box head's decision, the proposals' own field. Proposals without "matched_idxs", from a
    box head of someone's own, are matched here and get the class of their object, whatever their labels; 0 is background.
    """
    if proposal.has_field("matched_idxs"):
        objects = matched_targets(target, proposal.get_field("matched_idxs"), proposal, fields)
        if proposal.has_field("labels"):
            objects.add_field("labels", proposal.get_field("labels"))
            return objects
    else:
        matched = match_objects(matcher, target, proposal.bbox)
        objects = matched_targets(target, matched, proposal, fields)
    matched = objects.get_field("matched_idxs")
    objects.add_field("labels", objects.get_field("labels").masked_fill(matched < 0, 0))
    return objects
