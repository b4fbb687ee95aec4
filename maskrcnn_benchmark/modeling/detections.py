"""From scored boxes of classes to detections: the end of every detector here."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maskrcnn_benchmark.modeling.batching import rank_of_kept, split_by_image
from maskrcnn_benchmark.ops.nms import suppress
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
    valid: Tensor | None = None,
) -> list[BoxList]:
    """Class-wise suppression and the best detections of each image, in one pass over the whole batch.

    Args:
        box: Tensor[M, 4] xyxy, pixels, with score Tensor[M], label int64 Tensor[M] from 1 and image int64 Tensor[M].
        sizes: (width, height) of each image.
        iou_threshold: IoU above which the weaker of two boxes of a class goes.
        per_image: how many stay; 0 or less for all.
        valid: bool Tensor[M], which rows count; all by default. Scores are not negative.

    Returns:
        A BoxList an image by descending score, with the fields "scores" and "labels".
    """
    # Labels of one image never reach those of the next: a group is an image and a class. A row that is not valid has the
    # lowest score, so it suppresses none of the others.
    lowered = score if valid is None else torch.where(valid, score, -1.0)
    order, kept = suppress(box, lowered, image * MAX_LABELS + label, iou_threshold, per_image if per_image > 0 else -1)
    if valid is not None:
        kept = kept & valid[order]
    image = image[order]
    if per_image > 0:
        kept = kept & (rank_of_kept(kept, image, len(sizes)) < per_image)
    most = per_image if per_image > 0 else None
    return boxlists_by_image(box[order], image, sizes, kept, most, scores=score[order], labels=label[order])


def boxlists_by_image(
    box: Tensor,
    image: Tensor,
    sizes: Sequence[tuple[float, float]],
    kept: Tensor | None = None,
    most: int | None = None,
    **fields: Tensor,
) -> list[BoxList]:
    """Tensor[M, 4] boxes and their fields, each Tensor[M], as a BoxList of each image, in the given order; `kept` and `most`
    as for `split_by_image`."""
    boxlists = []
    by_image = split_by_image(image, len(sizes), box, *fields.values(), kept=kept, most=most)
    for size, (boxes, *values) in zip(sizes, by_image, strict=True):
        boxlist = BoxList(boxes, size)
        for name, value in zip(fields, values, strict=True):
            boxlist.add_field(name, value)
        boxlists.append(boxlist)
    return boxlists
