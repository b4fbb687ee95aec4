"""Non-maximum suppression against a naive reference, torchvision, and what PyTorch asks of an operator."""

from __future__ import annotations

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maskrcnn_benchmark.ops.library import ops
from maskrcnn_benchmark.ops.nms import batched_nms, nms, suppress

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
on_devices = pytest.mark.parametrize("device", DEVICES)


def naive_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, max_output: int = -1) -> list[int]:
    """The definition: visit boxes from the best on, drop those that a kept one of their group overlaps too much."""
    x1, y1, x2, y2 = boxes.unbind(1)
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    width = (torch.minimum(x2[:, None], x2) - torch.maximum(x1[:, None], x1) + 1).clamp(min=0)
    height = (torch.minimum(y2[:, None], y2) - torch.maximum(y1[:, None], y1) + 1).clamp(min=0)
    overlap = width * height / (area[:, None] + area - width * height) > torch.tensor(threshold, dtype=boxes.dtype)
    conflict = (overlap & (groups[:, None] == groups)).tolist()
    kept: list[int] = []
    for candidate in sorted(range(len(boxes)), key=lambda i: (-scores[i].item(), i)):
        if not any(conflict[other][candidate] for other in kept):
            kept.append(candidate)
    return kept if max_output < 0 else kept[:max_output]


def random_boxes(count: int, seed: int = 0, extent: float = 100.0) -> tuple[Tensor, Tensor]:
    """Boxes [count, 4] and scores [count], many of which are equal."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * extent
    size = torch.rand(count, 2, generator=generator) * 40
    scores = torch.randint(0, max(count // 3, 1), (count,), generator=generator) / max(count, 1)
    return torch.cat([corner, corner + size], dim=1), scores


# 64 and 512 are the sizes of the kernels' tiles and blocks.
@on_devices
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 511, 513, 1200])
def test_follows_the_definition(device: str, count: int, threshold: float) -> None:
    boxes, scores = random_boxes(count)
    kept = nms(boxes.to(device), scores.to(device), threshold)
    assert kept.dtype == torch.int64
    assert kept.tolist() == naive_nms(boxes, scores, torch.zeros(count), threshold)


@on_devices
@pytest.mark.parametrize("max_output", [-1, 0, 1, 10, 10_000])
@pytest.mark.parametrize("num_groups", [1, 2, 30, 900])
def test_groups_do_not_compete(device: str, num_groups: int, max_output: int) -> None:
    boxes, scores = random_boxes(900)
    groups = torch.randint(0, num_groups, (900,), generator=torch.Generator().manual_seed(1)) - num_groups // 2
    kept = batched_nms(boxes.to(device), scores.to(device), groups.to(device), 0.3, max_output)
    assert kept.tolist() == naive_nms(boxes, scores, groups, 0.3, max_output)


@on_devices
def test_one_large_group_among_small_ones(device: str) -> None:
    boxes, scores = random_boxes(1500)
    groups = torch.where(torch.arange(1500) % 5 == 0, torch.arange(1500) % 7, 100)
    kept = batched_nms(boxes.to(device), scores.to(device), groups.to(device), 0.4)
    assert kept.tolist() == naive_nms(boxes, scores, groups, 0.4)


# torchvision's boxes end where the next pixel begins, ours on the last pixel.
@on_devices
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_agrees_with_torchvision(device: str, threshold: float) -> None:
    boxes, _ = random_boxes(3000, extent=600)
    boxes, scores = boxes.to(device), torch.rand(3000, generator=torch.Generator().manual_seed(2)).to(device)
    exclusive = boxes + torch.tensor([0.0, 0.0, 1.0, 1.0], device=device)
    assert nms(boxes, scores, threshold).tolist() == torchvision.ops.nms(exclusive, scores, threshold).tolist()
    groups = torch.arange(3000, device=device) % 80
    expected = torchvision.ops.batched_nms(exclusive, scores, groups, threshold)
    assert batched_nms(boxes, scores, groups, threshold).tolist() == expected.tolist()


corner = st.integers(0, 12)
boxes_and_scores = st.lists(st.tuples(corner, corner, corner, corner, st.integers(0, 3)), max_size=40)


@settings(max_examples=100, deadline=None)
@given(boxes_and_scores, st.sampled_from([0.0, 0.2, 0.25, 0.5, 1.0]))
def test_integer_boxes_at_the_threshold(values: list[tuple[int, ...]], threshold: float) -> None:
    """Small integer boxes meet the threshold exactly, touch, nest and repeat."""
    numbers = torch.tensor(values, dtype=torch.float32).reshape(-1, 5)
    boxes = torch.cat([numbers[:, :2], numbers[:, :2] + numbers[:, 2:4]], dim=1)
    scores, groups = numbers[:, 4], torch.arange(len(values)) % 2
    assert nms(boxes, scores, threshold).tolist() == naive_nms(boxes, scores, torch.zeros(len(values)), threshold)
    assert batched_nms(boxes, scores, groups, threshold).tolist() == naive_nms(boxes, scores, groups, threshold)


@on_devices
def test_corners_are_inclusive_and_the_threshold_strict(device: str) -> None:
    # Pixels 0..9 and 5..14 of one row: 5 in common, 15 in all.
    boxes = torch.tensor([[0.0, 0.0, 9.0, 0.0], [5.0, 0.0, 14.0, 0.0]], device=device)
    scores = torch.tensor([0.5, 0.6], device=device)
    assert nms(boxes, scores, 5 / 15).tolist() == [1, 0]
    assert nms(boxes, scores, 5 / 15 - 1e-6).tolist() == [1]
    # Boxes that share one column of pixels.
    boxes = torch.tensor([[0.0, 0.0, 5.0, 0.0], [5.0, 0.0, 10.0, 0.0]], device=device)
    assert nms(boxes, scores, 1 / 11 - 1e-6).tolist() == [1]


@on_devices
def test_equal_scores_keep_their_order(device: str) -> None:
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]], device=device).repeat(200, 1)
    boxes[100:] += 50
    assert nms(boxes, torch.ones(200, device=device), 0.5).tolist() == [0, 100]


@on_devices
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes(device: str, dtype: torch.dtype) -> None:
    """Reduced types are widened first, float64 stays: two boxes here differ beyond float32."""
    boxes, scores = random_boxes(300)
    boxes, scores = boxes.to(dtype), scores.to(dtype)
    wide = boxes if dtype == torch.float64 else boxes.float()
    expected = naive_nms(wide, scores.double(), torch.zeros(300), 0.3)
    assert nms(boxes.to(device), scores.to(device), 0.3).tolist() == expected
    assert nms(boxes.to(device), scores.float().to(device), 0.3).tolist() == expected
    if dtype == torch.float64:
        pair = torch.tensor([[0.0, 0.0, 9.0, 0.0], [5.0, 0.0, 14.0 - 1e-12, 0.0]], dtype=dtype, device=device)
        order = torch.tensor([1.0, 0.5], device=device)
        assert nms(pair, order, 1 / 3).tolist() == [0]


@on_devices
def test_empty_and_non_contiguous(device: str) -> None:
    none = torch.zeros(0, device=device)
    assert nms(none.view(0, 4), none, 0.5).shape == (0,)
    assert batched_nms(none.view(0, 4), none, none.long(), 0.5, 10).dtype == torch.int64
    boxes, scores = random_boxes(600)
    groups = torch.arange(600) % 4
    expected = naive_nms(boxes[::2], scores[::2], groups[::2], 0.3)
    transposed = boxes.to(device).t().contiguous().t()[::2]
    assert not transposed.is_contiguous()
    assert batched_nms(transposed, scores.to(device)[::2], groups.to(device)[::2], 0.3).tolist() == expected


@on_devices
def test_boxes_that_are_not_finite_suppress_nothing(device: str) -> None:
    boxes = torch.tensor([[float("nan")] * 4, [0.0, 0.0, 9.0, 9.0], [0.0, 0.0, float("inf"), 9.0]], device=device)
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), 0.1).tolist() == [0, 1, 2]


@on_devices
def test_opcheck(device: str) -> None:
    boxes, scores = (tensor.to(device) for tensor in random_boxes(50))
    groups = torch.arange(50, device=device) % 3
    torch.library.opcheck(ops.batched_nms, (boxes, scores, groups, 0.3, -1))
    torch.library.opcheck(ops.batched_nms, (boxes, scores, None, 0.3, 7))


@on_devices
def test_compiles(device: str) -> None:
    def best(boxes: Tensor, scores: Tensor) -> Tensor:
        return boxes[nms(boxes * 2, scores, 0.3)] + 1

    torch._dynamo.reset()
    compiled = torch.compile(best, fullgraph=True, backend="aot_eager")
    for count in (40, 55):
        boxes, scores = (tensor.to(device) for tensor in random_boxes(count))
        torch.testing.assert_close(compiled(boxes, scores), best(boxes, scores))


def test_arguments_may_require_gradients() -> None:
    boxes, scores = random_boxes(20)
    assert not nms(boxes.requires_grad_(), scores.requires_grad_(), 0.5).requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": torch.zeros(3, 5)}, r"boxes must have shape \[N, 4\].*got \[3, 5\]"),
        ({"boxes": torch.zeros(3, 4, dtype=torch.int32)}, "boxes must be float32, .*got Int"),
        ({"scores": torch.zeros(2)}, r"scores must have shape \[3\].*got \[2\]"),
        ({"scores": torch.zeros(3, dtype=torch.int64)}, "scores must be float32, .*got Long"),
        ({"groups": torch.zeros(3)}, r"groups must be int64 of shape \[3\].*got Float of shape \[3\]"),
        ({"groups": torch.zeros(4, dtype=torch.int64)}, r"groups must be int64 .*got Long of shape \[4\]"),
        ({"iou_threshold": -0.5}, "iou_threshold must not be negative, got -0.5"),
    ],
)
def test_bad_arguments_are_named(change: dict, message: str) -> None:
    arguments = {
        "boxes": torch.zeros(3, 4),
        "scores": torch.zeros(3),
        "groups": torch.zeros(3, dtype=torch.int64),
        "iou_threshold": 0.5,
    }
    with pytest.raises(RuntimeError, match=f"(?m)^nms: {message}"):  # whichever function over it was called
        batched_nms(**{**arguments, **change})


@on_devices
@pytest.mark.parametrize("count", [0, 1, 500])
def test_the_mask_names_the_boxes_that_stay(count, device):
    generator = torch.Generator().manual_seed(count)
    boxes, scores = (
        torch.rand(count, 4, generator=generator) * 100,
        torch.randint(0, 50, (count,), generator=generator) / 50,
    )
    boxes[:, 2:] += boxes[:, :2]
    groups = torch.randint(0, 4, (count,), generator=generator)
    order, kept = suppress(boxes.to(device), scores.to(device), groups.to(device), 0.3)
    assert order.tolist() == scores.argsort(descending=True, stable=True).tolist()
    assert order[kept].tolist() == naive_nms(boxes, scores, groups, 0.3)
    _, limited = suppress(boxes.to(device), scores.to(device), groups.to(device), 0.3, most=7)
    for group in range(4):
        of_group = (groups[order.cpu()] == group).to(device)
        best = (kept & of_group).nonzero()[:7]
        assert torch.equal((limited & of_group).nonzero()[:7], best)
    torch.library.opcheck(ops.suppress, (boxes.to(device), scores.to(device), groups.to(device), 0.3))
