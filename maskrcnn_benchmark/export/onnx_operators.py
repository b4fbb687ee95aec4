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
_DIGIT = 1 << 10  # a place in an order is sorted by as two digits: see `_lower_index_first`


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
    """All boxes in descending order of score, ties: lower index first; and which of these stay."""
    _, order = stable_sort(scores, descending=True)
    return order, op.Cast(op.Gather(_stays(boxes, scores, groups, iou_threshold), order), to=9)  # bool


def batched_nms(boxes: Any, scores: Any, groups: Any, iou_threshold: float, max_output: int) -> Any:
    """The boxes that stay, in the order of `suppress`."""
    rows = op.Squeeze(op.NonZero(_stays(boxes, scores, groups, iou_threshold)), _ints(0))
    _, order = _sort_rows(op.Gather(scores, rows), 1, descending=True)
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
    places = _range(op.Shape(levels))
    return op.Gather(pooled, op.ScatterElements(places, order, places, axis=0))


def _range(end: Any) -> Any:
    """int64 Tensor[end], from 0, of int64 Tensor[1] end."""
    return op.Range(op.Constant(value_int=0), op.Squeeze(end, _ints(0)), op.Constant(value_int=1))


def _ascending(keys: Any) -> Any:
    """The order of keys of which no two are equal, int64 [M]: every runtime's TopK has the same."""
    return op.TopK(keys, op.Shape(keys), axis=0, largest=0, sorted=1)[1]


def _lower_index_first(index: Any, joined: Any) -> Any:
    """Put runs of equal entries in order: what a TopK does with them is the runtime's own affair (OpenVINO's is not stable).

    Only the entries of such runs are sorted again, of which scores have few. They are sorted by the digits of two numbers, first
    by the last digit of the run's number and the index, then by the digit before: so no key is above 2**31 of a million
    entries, and runtimes that compute int64 in int32 (OpenVINO) are exact up to there.

    Args:
        index: which entry stands at each place, int64 [N].
        joined: 1 for each place whose entry is equal to that of the place before, else 0, int64 [N].
    """
    run = op.CumSum(op.Sub(op.Constant(value_int=1), joined), op.Constant(value_int=0))
    following = op.Slice(op.Concat(joined, _ints(0), axis=0), _ints(1), _ints(_MAX_INT))
    following = op.Slice(following, _ints(0), op.Shape(joined))
    places = op.Squeeze(op.NonZero(op.Add(joined, following)), _ints(0))
    tied, run = op.Gather(index, places), op.Gather(run, places)
    first = op.Div(run, op.Constant(value_int=_DIGIT))
    last = op.Sub(run, op.Mul(first, op.Constant(value_int=_DIGIT)))
    order = _ascending(op.Add(op.Mul(last, op.Shape(index)), tied))
    count = op.Shape(tied)
    again = _ascending(op.Add(op.Mul(op.Gather(first, order), count), _range(count)))
    return op.ScatterElements(index, places, op.Gather(op.Gather(tied, order), again), axis=0)


def _sort_rows(values: Any, rank: int, descending: bool) -> tuple[Any, Any]:
    """Sorted along the last of `rank` axes, and the order; ties: lower index first."""
    shape = op.Shape(values)
    length = op.Gather(shape, _ints(-1))
    ordered, order = op.TopK(values, length, axis=-1, largest=int(descending), sorted=1)
    before = op.Slice(ordered, _ints(0), _ints(-1), _ints(-1))
    same = op.Cast(op.Equal(op.Slice(ordered, _ints(1), _ints(_MAX_INT), _ints(-1)), before), to=7)  # int64
    joined = op.Pad(same, _ints(*([0] * (rank - 1)), 1, *([0] * rank)))  # the first of a row starts a run
    joined = op.Reshape(op.Slice(joined, _ints(0), length, _ints(-1)), _ints(-1))  # no entry, no first one
    if rank == 1:
        return ordered, _lower_index_first(order, joined)
    # Of several rows the indices run on from row to row: those of a run are in one row.
    length = op.Max(length, _ints(1))  # of nothing, no division by 0
    start = op.Mul(op.Div(_range(op.Shape(joined)), length), length)
    index = _lower_index_first(op.Add(op.Reshape(order, _ints(-1)), start), joined)
    return ordered, op.Reshape(op.Sub(index, start), shape, allowzero=1)


def stable_sort(values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
    """Sorted along an axis, and the order; ties: lower index first, on every runtime."""
    rank = len(values.shape)
    if dim % rank == rank - 1:
        return _sort_rows(values, rank, descending)
    axes = list(range(rank))
    axes[dim], axes[-1] = axes[-1], axes[dim]
    ordered, order = _sort_rows(op.Transpose(values, perm=axes), rank, descending)
    return op.Transpose(ordered, perm=axes), op.Transpose(order, perm=axes)


def index_add(values: Any, dim: int, index: Any, source: Any, alpha: float = 1) -> Any:
    """ScatterElements, not the ScatterND that is usual for this: ONNX Runtime adds up in several threads there, and where one
    entry gets many numbers some are lost."""
    rank = len(source.shape)
    shape = [1] * rank
    shape[dim] = -1
    everywhere = op.Expand(op.Reshape(index, _ints(*shape)), op.Shape(source))
    if alpha != 1:
        source = op.Mul(source, op.CastLike(op.Constant(value_float=float(alpha)), source))
    return op.ScatterElements(values, everywhere, source, axis=dim, reduction="add")


def at_most(value: Any, limit: Any) -> Any:
    """A check of a size, some of whose limits are beyond int64."""
    return op.LessOrEqual(value, min(limit, _MAX_INT) if isinstance(limit, int) else limit)


TABLE: dict[Any, Any] = {
    operator.le: at_most,
    torch.ops.aten.sort.stable: stable_sort,
    torch.ops.aten.index_add.default: index_add,
    torch.ops.maskrcnn_benchmark.batched_nms.default: batched_nms,
    torch.ops.maskrcnn_benchmark.suppress.default: suppress,
    torch.ops.maskrcnn_benchmark.multiscale_roi_align.default: multiscale_roi_align,
}
