"""Rows of several images, levels or classes handled together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maskrcnn_benchmark.structures.boxes import constant


def group_sizes(groups: Tensor, num_groups: int) -> Tensor:
    """How many entries each group has: int64 Tensor[N] in [0, num_groups) -> int64 Tensor[num_groups], on the device."""
    # bincount would make the host wait for the largest entry.
    return torch.zeros(num_groups, dtype=torch.int64, device=groups.device).index_add_(
        0, groups, torch.ones_like(groups)
    )


def numbered(counts: Sequence[int], device: torch.device) -> Tensor:
    """counts[0] zeros, counts[1] ones and so on: int64 Tensor[sum(counts)]; the host does not wait for the device."""
    return torch.cat([torch.full((count,), i, device=device) for i, count in enumerate(counts)])


def at_most(rows: Tensor, limit: int) -> Tensor:
    """The same Tensor[M, ...], of which a program being exported now knows that M is not above the limit."""
    if isinstance(rows.shape[0], torch.SymInt):
        torch._check(rows.shape[0] <= limit)
    return rows


def sizes_of_images(sizes: Sequence[tuple[float, float]], like: Tensor) -> Tensor:
    """(width, height) of each image as Tensor[len(sizes), 2] of the kind of `like`, while a program is exported too."""
    if any(isinstance(side, torch.SymInt) for size in sizes for side in size):
        return torch.stack([torch.stack([like.new_full((), side) for side in size]) for size in sizes])
    return constant([side for size in sizes for side in size], like).view(len(sizes), 2)


def rank_in_group(groups: Tensor, num_groups: int) -> Tensor:
    """How many earlier entries belong to the same group: int64 Tensor[N] in [0, num_groups) -> int64 Tensor[N]."""
    if num_groups == 1:
        return torch.arange(groups.shape[0], device=groups.device)
    if torch.compiler.is_exporting():
        # One image has few groups: counting the members of each takes less time than other programs' sorting.
        member = groups == torch.arange(num_groups, device=groups.device)[:, None]
        return member.cumsum(1).gather(0, groups[None]).squeeze(0) - 1
    order = torch.argsort(groups, stable=True)
    sizes = group_sizes(groups, num_groups)
    starts = sizes.cumsum(0) - sizes
    ranks = torch.empty_like(groups)
    ranks[order] = torch.arange(groups.shape[0], device=groups.device) - starts[groups[order]]
    return ranks


def rank_of_kept(kept: Tensor, groups: Tensor, num_groups: int) -> Tensor:
    """`rank_in_group` that counts only the entries of a mask, bool Tensor[N]; of the others it says nothing."""
    if num_groups == 1:
        return kept.cumsum(0) - 1
    return rank_in_group(torch.where(kept, groups, num_groups), num_groups + 1)


def rows_where(masks: list[Tensor]) -> list[Tensor]:
    """The positions of the true entries of several bool Tensor[N], in order: int64 Tensor[K] for each.

    The host waits for the device once, for all of them.
    """
    if not masks:
        return []
    counts = torch.stack([mask.sum() for mask in masks]).tolist()
    return [m.byte().argsort(descending=True, stable=True)[:n] for m, n in zip(masks, counts, strict=True)]


def split_by_image(
    image: Tensor, num_images: int, *fields: Tensor, kept: Tensor | None = None, most: int | None = None
) -> list[tuple[Tensor, ...]]:
    """Group the rows of `fields` by int64 Tensor[M] image, keeping their order within each image.

    The host waits for the device once, or not at all for all rows of one image.

    Args:
        kept: bool Tensor[M], which rows to take; all by default.
        most: no image has more of these, which a program being exported cannot see for itself.
    """
    if num_images == 1:
        if kept is None:
            return [fields]
        rows = kept.nonzero().squeeze(1)
        rows = rows if most is None else at_most(rows, most)
        return [tuple(field[rows] for field in fields)]
    groups = image if kept is None else torch.where(kept, image, num_images)
    order = torch.argsort(groups, stable=True)
    counts = group_sizes(groups, num_images + 1).tolist()[:num_images]
    rows = order[: sum(counts)]
    return list(zip(*(field[rows].split(counts) for field in fields), strict=True))
