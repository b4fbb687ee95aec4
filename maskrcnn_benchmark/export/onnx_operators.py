"""This package's operators in those of ONNX (opset 18): what torch.onnx.export calls in their place.

Legend: N boxes, G groups, M kept boxes, K regions.
"""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from onnxscript import opset18

from maskrcnn_benchmark.structures.boxes import PIXEL

op: Any = opset18  # its types stand for tensors that are not there yet
_LOWEST = -3.0e38
_MAX_INT = (1 << 63) - 1


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _stays(boxes: Any, scores: Any, groups: Any, iou_threshold: float) -> Any:
    """1 for each box that stays and 0 for the others, int64 [N]: NonMaxSuppression, with a class for each group and inclusive
    corners, one pixel added at the right and the bottom."""
    count = op.Shape(scores)
    corners = op.Add(boxes, op.Constant(value_floats=[0.0, 0.0, float(PIXEL), float(PIXEL)]))
    table = op.Unsqueeze(scores, _ints(0))
    if groups is not None:
        last = op.ReduceMax(op.Concat(groups, _ints(0), axis=0), keepdims=0)
        ids = op.Range(op.Constant(value_int=0), op.Add(last, op.Constant(value_int=1)), op.Constant(value_int=1))
        member = op.Equal(op.Unsqueeze(ids, _ints(1)), op.Unsqueeze(groups, _ints(0)))
        table = op.Where(member, table, op.Constant(value_float=_LOWEST))  # [G, N]
    chosen = op.NonMaxSuppression(
        op.Unsqueeze(corners, _ints(0)),
        op.Unsqueeze(table, _ints(0)),
        count,
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[_LOWEST / 2]),  # leaves out what is not of the group
    )
    index = op.Gather(chosen, op.Constant(value_int=2), axis=1)
    nothing = op.Expand(_ints(0), count)
    return op.ScatterElements(nothing, index, op.Expand(_ints(1), op.Shape(index)), axis=0)


def suppress(boxes: Any, scores: Any, groups: Any, iou_threshold: float, most: int = -1) -> tuple[Any, Any]:
    """All boxes in descending order of score, ties: lower index first, as TopK has them; and which of these stay."""
    _, order = op.TopK(scores, op.Shape(scores), axis=0, largest=1, sorted=1)
    return order, op.Cast(op.Gather(_stays(boxes, scores, groups, iou_threshold), order), to=9)  # bool


def batched_nms(boxes: Any, scores: Any, groups: Any, iou_threshold: float, max_output: int) -> Any:
    """The boxes that stay, in the order of `suppress`."""
    rows = op.Squeeze(op.NonZero(_stays(boxes, scores, groups, iou_threshold)), _ints(0))
    found = op.Gather(scores, rows)
    _, order = op.TopK(found, op.Shape(found), axis=0, largest=1, sorted=1)
    result = op.Gather(rows, order)
    return result if max_output < 0 else op.Slice(result, _ints(0), _ints(max_output))


def multiscale_roi_align(
    features: Sequence[Any],
    rois: Any,
    levels: Any,
    scales: Sequence[float],
    output_size: Sequence[int],
    sampling_ratio: int,
    aligned: bool,
) -> Any:
    """RoiAlign of each level's regions, put back into their order; unaligned is ONNX's "output_half_pixel"."""

    def pool(level: int, regions: Any) -> Any:
        image = op.Cast(op.Gather(regions, op.Constant(value_int=0), axis=1), to=7)  # int64
        return op.RoiAlign(
            features[level],
            op.Slice(regions, _ints(1), _ints(5), _ints(1)),
            image,
            coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
            output_height=output_size[0],
            output_width=output_size[1],
            sampling_ratio=max(sampling_ratio, 0),
            spatial_scale=scales[level],
        )

    if levels is None:
        return pool(0, rois)
    rows = [
        op.Squeeze(op.NonZero(op.Equal(levels, op.Constant(value_int=level))), _ints(0)) for level in range(len(scales))
    ]
    pooled = op.Concat(*(pool(level, op.Gather(rois, row)) for level, row in enumerate(rows)), axis=0)
    order = op.Concat(*rows, axis=0)
    count = op.Shape(levels)
    places = op.Range(op.Constant(value_int=0), op.Squeeze(count, _ints(0)), op.Constant(value_int=1))
    return op.Gather(pooled, op.ScatterElements(places, order, places, axis=0))


def stable_sort(values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
    """TopK of all entries: of equal ones it takes the lower index first."""
    count = op.Shape(values)
    length = op.Gather(count, _ints(dim), axis=0)
    return op.TopK(values, length, axis=dim, largest=int(descending), sorted=1)


def at_most(value: Any, limit: Any) -> Any:
    """A check of a size, some of whose limits are beyond int64."""
    return op.LessOrEqual(value, min(limit, _MAX_INT) if isinstance(limit, int) else limit)


TABLE: dict[Any, Any] = {
    operator.le: at_most,
    torch.ops.aten.sort.stable: stable_sort,
    torch.ops.maskrcnn_benchmark.batched_nms.default: batched_nms,
    torch.ops.maskrcnn_benchmark.suppress.default: suppress,
    torch.ops.maskrcnn_benchmark.multiscale_roi_align.default: multiscale_roi_align,
}
