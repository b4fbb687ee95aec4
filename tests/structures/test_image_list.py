"""Batches of images of different sizes."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list


def images(*sizes) -> list[torch.Tensor]:
    return [torch.randn(3, *size) for size in sizes]


@pytest.mark.parametrize(("divisible", "shape"), [(0, (7, 9)), (1, (7, 9)), (4, (8, 12)), (32, (32, 32))])
def test_padding(divisible, shape):
    originals = images((5, 9), (7, 4))
    batch = to_image_list(originals, divisible)
    assert batch.tensors.shape == (2, 3, *shape)
    assert [tuple(s) for s in batch.image_sizes] == [(5, 9), (7, 4)]
    for image, slot in zip(originals, batch.tensors, strict=True):
        height, width = image.shape[1:]
        assert torch.equal(slot[:, :height, :width], image)
        assert slot.count_nonzero() == image.count_nonzero()


def test_sizes_that_divide_stay():
    assert to_image_list(images((32, 64)), 32).tensors.shape == (1, 3, 32, 64)


def test_tensors_and_image_lists():
    image = torch.randn(3, 5, 6)
    assert to_image_list(image).tensors.shape == (1, 3, 5, 6)
    batch = to_image_list(torch.randn(2, 3, 5, 6), 8)
    assert batch.tensors.shape == (2, 3, 8, 8) and [tuple(s) for s in batch.image_sizes] == [(5, 6)] * 2
    assert to_image_list(batch, 32) is batch


def test_keeps_type_and_moves():
    batch = to_image_list([torch.ones(1, 2, 2, dtype=torch.float64)])
    assert batch.tensors.dtype == torch.float64
    half = batch.to(torch.float16)
    assert isinstance(half, ImageList) and half.tensors.dtype == torch.float16 and half.image_sizes == batch.image_sizes


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        ([], ValueError, "list of images is empty"),
        (torch.zeros(0, 3, 4, 4), ValueError, r"batch of images is empty: its shape is \[0, 3, 4, 4\]"),
        (torch.zeros(3, 4), ValueError, r"got the shape \[3, 4\]"),
        ([torch.zeros(3, 4)], TypeError, "got list"),
        ("image.jpg", TypeError, "got str"),
    ],
)
def test_errors(bad, error, said):
    with pytest.raises(error, match=said):
        to_image_list(bad)


def test_a_tensor_that_needs_no_padding_is_not_copied():
    batch = torch.randn(2, 3, 32, 64)
    for divisible in (0, 32):
        assert to_image_list(batch, divisible).tensors is batch
        assert to_image_list(batch[0], divisible).tensors.data_ptr() == batch.data_ptr()
    assert to_image_list(batch[:, :, :20], 32).tensors.shape == (2, 3, 32, 64)
    assert to_image_list(batch).image_sizes == [torch.Size((32, 64))] * 2


def test_missing_channels_are_zero():
    batch = to_image_list([torch.ones(3, 4, 4), torch.ones(1, 4, 4)]).tensors
    assert batch.shape == (2, 3, 4, 4) and batch[1].sum() == 16
