"""Operations on whole BoxLists."""

from typing import Any

import torch

from maskrcnn_benchmark.layers import nms as _box_nms
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import box_iou, xyxy_to_xywh


def boxlist_nms(boxlist: BoxList, nms_thresh: float, max_proposals: int = -1, score_field: str = "scores") -> BoxList:
    """Non-maximum suppression over all boxes of an image, whatever their class.

    Of what stays, the best `max_proposals` come out (no limit if it is not positive), in the order in which they came in. A
    threshold that is not positive returns the BoxList as it is.
    """
    if nms_thresh <= 0:
        return boxlist
    mode = boxlist.mode
    boxlist = boxlist.convert("xyxy")
    scores = boxlist.get_field(score_field)
    keep = _box_nms(boxlist.bbox, scores, nms_thresh)
    if 0 < max_proposals < len(keep):
        best = scores[keep].argsort(descending=True, stable=True)[:max_proposals]
        keep = keep[best.sort().values]
    return boxlist[keep].convert(mode)


def remove_small_boxes(boxlist: BoxList, min_size: float) -> BoxList:
    """Leave out boxes narrower or lower than `min_size` pixels."""
    extent = xyxy_to_xywh(boxlist.convert("xyxy").bbox)[:, 2:]
    return boxlist[(extent >= min_size).all(dim=1).nonzero().squeeze(1)]


def boxlist_iou(boxlist1: BoxList, boxlist2: BoxList) -> torch.Tensor:
    """Intersection over union of every pair: Tensor[len(boxlist1), len(boxlist2)]."""
    if boxlist1.size != boxlist2.size:
        raise RuntimeError(f"Boxes of images of different size cannot be compared: {boxlist1} and {boxlist2}.")
    return box_iou(boxlist1.convert("xyxy").bbox, boxlist2.convert("xyxy").bbox)


def _cat(tensors: list[Any] | tuple[Any, ...], dim: int = 0) -> Any:
    """Join tensors; a single object of any type is returned as it is."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tuple(tensors), dim)


def cat_boxlist(bboxes: list[BoxList] | tuple[BoxList, ...]) -> BoxList:
    """Join BoxLists of one image that agree in mode and fields. Of a single one, fields may be anything; of several, tensors or
    masks."""
    if not bboxes or not all(isinstance(b, BoxList) for b in bboxes):
        raise ValueError(f"cat_boxlist needs a non-empty list of BoxLists; got {bboxes!r}.")
    first = bboxes[0]
    for other in bboxes[1:]:
        if (other.size, other.mode, set(other.fields())) != (first.size, first.mode, set(first.fields())):
            raise ValueError(
                f"Cannot join {first} with fields {sorted(first.fields())} and {other} with fields {sorted(other.fields())}."
            )
    joined = BoxList(_cat([b.bbox for b in bboxes]), first.size, first.mode)
    for field in first.fields():
        joined.add_field(field, _cat([b.get_field(field) for b in bboxes]))
    return joined
