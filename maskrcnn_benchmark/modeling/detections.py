"""From scored boxes of classes to detections: the end of every detector here."""

from collections.abc import Sequence

from torch import Tensor

from maskrcnn_benchmark.modeling.batching import rank_in_group, split_by_image
from maskrcnn_benchmark.ops.nms import batched_nms
from maskrcnn_benchmark.structures.bounding_box import BoxList

MAX_LABELS = 1 << 32


def select_detections(
    box: Tensor,
    score: Tensor,
    label: Tensor,
    image: Tensor,
    sizes: Sequence[tuple[float, float]],
    iou_threshold: float,
    per_image: int,
) -> list[BoxList]:
    """Class-wise suppression and the best detections of each image, in one pass over the whole batch.

    Args:
        box: Tensor[M, 4] xyxy, pixels, with score Tensor[M], label int64 Tensor[M] from 1 and image int64 Tensor[M].
        sizes: (width, height) of each image.
        iou_threshold: IoU above which the weaker of two boxes of a class goes.
        per_image: how many stay; 0 or less for all.

    Returns:
        A BoxList an image by descending score, with the fields "scores" and "labels".
    """
    # Labels of one image never reach those of the next: a group is an image and a class.
    keep = batched_nms(box, score, image * MAX_LABELS + label, iou_threshold)
    if per_image > 0:
        keep = keep[rank_in_group(image[keep], len(sizes)) < per_image]
    return boxlists_by_image(box[keep], image[keep], sizes, scores=score[keep], labels=label[keep])


def boxlists_by_image(
    box: Tensor, image: Tensor, sizes: Sequence[tuple[float, float]], **fields: Tensor
) -> list[BoxList]:
    """Tensor[M, 4] boxes and their fields, each Tensor[M], as a BoxList of each image, in the given order."""
    boxlists = []
    for size, (boxes, *values) in zip(sizes, split_by_image(image, len(sizes), box, *fields.values()), strict=True):
        boxlist = BoxList(boxes, size)
        for name, value in zip(fields, values, strict=True):
            boxlist.add_field(name, value)
        boxlists.append(boxlist)
    return boxlists
