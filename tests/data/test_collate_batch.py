import cv2
import pytest
import torch
from torch.utils.data import DataLoader

from maskrcnn_benchmark.data.collate_batch import BatchCollator, BBoxAugCollator
from maskrcnn_benchmark.data.workers import start_worker


def test_images_are_padded_and_the_rest_kept_in_order():
    samples = [(torch.ones(3, 5, 9), "first", 4), (torch.full((3, 7, 6), 2.0), "second", 2)]
    images, targets, indices = BatchCollator(8)(samples)
    assert images.tensors.shape == (2, 3, 8, 16)
    assert [tuple(size) for size in images.image_sizes] == [(5, 9), (7, 6)]
    assert (targets, indices) == (("first", "second"), (4, 2))
    assert images.tensors[0].sum() == 3 * 5 * 9 and images.tensors[1].sum() == 2 * 3 * 7 * 6


def test_images_that_could_not_be_read_are_left_out():
    samples = [None, (torch.ones(3, 5, 9), "second", 2), None]
    images, targets, indices = BatchCollator()(samples)
    assert images.tensors.shape == (1, 3, 5, 9) and (targets, indices) == (("second",), (2,))
    assert BatchCollator()([None, None]) is None


def test_images_stay_as_they_are_for_augmentation():
    first, second = object(), object()
    images, targets, indices = BBoxAugCollator()([(first, "a", 4), None, (second, "b", 2)])
    assert images == (first, second) and (targets, indices) == (("a", "b"), (4, 2))
    assert BBoxAugCollator()([None]) is None


class Pictures(torch.utils.data.Dataset):
    """Images of different sizes; an item also says how many threads its process uses."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, i: int) -> tuple:
        image = torch.rand(3, 20 + 7 * i, 50 - 5 * i, generator=torch.Generator().manual_seed(i))
        return image, (torch.get_num_threads(), cv2.getNumThreads()), i


@pytest.mark.parametrize("divisible", [0, 32])
def test_batches_made_by_workers_are_the_same(divisible):
    kinds = [DataLoader(Pictures(), 2, num_workers=n, collate_fn=BatchCollator(divisible)) for n in (0, 2)]
    for (here, _, i), (there, _, j) in zip(*kinds, strict=True):
        assert i == j and here.image_sizes == there.image_sizes
        assert torch.equal(here.tensors, there.tensors) and there.tensors.is_contiguous() and there.tensors.is_shared()


def test_each_worker_uses_one_thread():
    loader = DataLoader(Pictures(), 1, num_workers=1, collate_fn=BatchCollator(), worker_init_fn=start_worker)
    assert {targets[0] for _, targets, _ in loader} == {(1, 1)}
