"""Grouping without waiting for the device."""

import torch

from maskrcnn_benchmark.modeling.batching import group_sizes, rank_in_group, rows_where


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
