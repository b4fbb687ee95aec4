"""From heatmaps to keypoints in the image.

Legend: N regions, K keypoints, R side of a heatmap.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.full_precision import full_precision
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint_ops import make_keypoints
from maskrcnn_benchmark.utils.wording import counted

# Values of enlarged heatmaps held at a time (64 MB in float32), however many and large the regions are.
MAX_ENLARGED = 1 << 24

# The free parameter of Keys' cubic kernel (1981), at OpenCV's value.
CUBIC_A = -0.75


@any_layout
class KeypointPostProcessor(nn.Module):
    """Adds to the detections their keypoints: field "keypoints" with the scores Tensor[n, K] in its own field "logits"."""

    def __init__(self, keypointer: "Keypointer | None" = None):
        super().__init__()
        self.keypointer = keypointer or Keypointer()

    def forward(self, x: Tensor, boxes: list[BoxList]) -> list[BoxList]:
        """x: logits Tensor[N, K, R, R] of the N detections of all images."""
        points, scores = self.keypointer(x, boxes)
        counts = [len(b) for b in boxes]
        results = []
        for boxlist, point, score in zip(boxes, points.split(counts), scores.split(counts), strict=True):
            keypoints = make_keypoints(point, boxlist.size, point.shape[1])
            keypoints.add_field("logits", score)
            result = boxlist.copy_with_fields(boxlist.fields())
            result.add_field("keypoints", keypoints)
            results.append(result)
        return results


def _cubic(distance: Tensor) -> Tensor:
    """Keys' kernel at non-negative distances."""
    near = ((CUBIC_A + 2) * distance - (CUBIC_A + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * CUBIC_A - 4 * CUBIC_A
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0))


def cubic_weights(lengths: Tensor, size: int, longest: int) -> Tensor:
    """How much each of `size` cells counts at each pixel when cells are enlarged to lengths[i] pixels, bicubically.

    Beyond the ends the first and last cell go on. int Tensor[N] -> Tensor[N, longest, size]; rows from lengths[i] on repeat
    the last one.
    """
    pixel = torch.arange(longest, device=lengths.device, dtype=torch.float64)
    pixel = torch.minimum(pixel, (lengths - 1)[:, None].double())
    position = ((pixel + 0.5) * (size / lengths[:, None].double()) - 0.5).float()
    first = position.floor()
    taps = torch.arange(-1, 3, device=lengths.device)
    weight = _cubic((position[..., None] - first[..., None] - taps).abs())
    cell = (first.long()[..., None] + taps).clamp(0, size - 1)
    return weight.new_zeros(len(lengths), longest, size).scatter_add_(2, cell, weight)


def _groups(sizes: Sequence[Sequence[int]], depth: int) -> Iterator[tuple[int, int, int, int]]:
    """First and last + 1 of the regions, in the order of their (width, height), that fit into MAX_ENLARGED together, and the
    largest sides."""
    first = width = height = 0
    for i, (own_width, own_height) in enumerate(sizes):
        wider, higher = max(width, own_width), max(height, own_height)
        if i > first and (i - first + 1) * wider * higher * depth > MAX_ENLARGED:
            yield first, i, width, height
            first, wider, higher = i, own_width, own_height
        width, height = wider, higher
    if len(sizes) > first:
        yield first, len(sizes), width, height


@torch.no_grad()
def heatmaps_to_keypoints(maps: Any, rois: Any) -> tuple[Any, Any]:
    """The best place of each keypoint in its heatmap, enlarged bicubically to the region's size in whole pixels.

    Regions are enlarged several at a time: bicubic interpolation is one matrix product along each axis.

    Args:
        maps: logits Tensor[N, K, R, R].
        rois: Tensor[N, 4] xyxy, pixels.

    Returns:
        Tensor[N, K, 3] of x, y in pixels and 1, and the logits there, Tensor[N, K]. Of NumPy arrays, as maskrcnn-benchmark
        gives them, NumPy arrays.
    """
    if isinstance(maps, np.ndarray):
        points, scores = heatmaps_to_keypoints(torch.from_numpy(maps), torch.as_tensor(rois))
        return points.numpy(), scores.numpy()
    with full_precision(maps):
        return _decoded(maps, rois.to(torch.promote_types(rois.dtype, torch.float32)))


def _decoded(maps: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
    """`heatmaps_to_keypoints` of tensors; the boxes are float32 at least, the heatmaps may be less."""
    extent = (rois[:, 2:] - rois[:, :2]).clamp(min=1)
    whole = extent.ceil().to(torch.int64)
    n, depth, rows, columns = maps.shape
    place = torch.zeros(n, depth, 2, dtype=torch.int64, device=maps.device)
    scores = torch.zeros(n, depth, device=maps.device)
    order = whole.amax(dim=1).argsort(descending=True, stable=True)  # regions of similar size together
    for first, last, width, height in _groups(whole[order].tolist(), depth):  # the one wait for the device
        part = order[first:last]
        to_rows = cubic_weights(whole[part, 1], rows, height)[:, None]
        to_columns = cubic_weights(whole[part, 0], columns, width)[:, None]
        enlarged = to_rows @ maps[part].float() @ to_columns.mT
        scores[part], best = enlarged.flatten(2).max(dim=2)
        # What lies beyond a smaller region of the group repeats its last row or column.
        found = torch.stack((best % width, best // width), dim=2)
        place[part] = torch.minimum(found, whole[part, None] - 1)
    points = (place + 0.5) * (extent / whole)[:, None] + rois[:, None, :2]
    return torch.cat((points, torch.ones_like(points[..., :1])), dim=2), scores


class Keypointer:
    """Finds keypoints in heatmaps. `padding` is upstream's; heatmaps are not padded."""

    def __init__(self, padding: int = 0):
        self.padding = padding

    def __call__(self, masks: Tensor, boxes: list[BoxList] | BoxList) -> tuple[Tensor, Tensor]:
        """Heatmaps Tensor[N, K, R, R] of the N boxes of all images -> `heatmaps_to_keypoints`."""
        boxlists = [boxes] if isinstance(boxes, BoxList) else boxes
        rois = cat([b.convert("xyxy").bbox for b in boxlists])
        if len(rois) != len(masks):
            raise ValueError(f"Each box needs its heatmaps; got {len(masks)} for {counted(len(rois), 'box', 'boxes')}.")
        return heatmaps_to_keypoints(masks, rois)


def make_roi_keypoint_post_processor(cfg) -> KeypointPostProcessor:
    return KeypointPostProcessor(Keypointer())
