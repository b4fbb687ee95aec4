"""Grouping without waiting for the device."""

import pytest
import torch

from maskrcnn_benchmark.modeling.batching import group_sizes, rank_in_group, rank_of_kept, rows_where, split_by_image


def test_rows_where_is_nonzero_of_each():
    generator = torch.Generator().manual_seed(0)
    masks = [torch.rand(n, generator=generator) < share for n, share in ((50, 0.3), (0, 0.5), (7, 0.0), (9, 1.0))]
    for rows, mask in zip(rows_where(masks), masks, strict=True):
        assert torch.equal(rows, mask.nonzero().squeeze(1))
    assert rows_where([]) == []


def test_sizes_and_ranks():
    groups = torch.tensor([2, 0, 2, 2, 3, 0])
    assert group_sizes(groups, 5).tolist() == groups.bincount(minlength=5).tolist()
    assert rank_in_group(groups, 5).tolist() == [0, 0, 1, 2, 0, 1]
    assert group_sizes(groups[:0], 2).tolist() == [0, 0]


@pytest.mark.parametrize("num_images", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_rows_that_are_kept(count, share, num_images):
    """Ranks among them, and their split, against loops; some images have none."""
    generator = torch.Generator().manual_seed(count)
    image = torch.randint(0, num_images, (count,), generator=generator)
    kept = torch.rand(count, generator=generator) < share
    rows: list[list[int]] = [[] for _ in range(num_images)]
    for row in kept.nonzero().squeeze(1).tolist():
        assert rank_of_kept(kept, image, num_images)[row] == len(rows[image[row]])
        rows[image[row]].append(row)
    fields = torch.arange(count), torch.rand(count, 4, generator=generator)
    found = split_by_image(image, num_images, *fields, kept=kept, most=count)
    assert [of_image[0].tolist() for of_image in found] == rows
    assert all(torch.equal(of_image[1], fields[1][of_image[0]]) for of_image in found)
    everything = split_by_image(image, num_images, *fields)
    assert [of_image[0].tolist() for of_image in everything] == [
        (image == i).nonzero().squeeze(1).tolist() for i in range(num_images)
    ]
