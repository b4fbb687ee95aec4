import torch

from maskrcnn_benchmark.data.collate_batch import BatchCollator, BBoxAugCollator


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
