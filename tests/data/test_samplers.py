"""Every image gets its turn, in an order that can be taken up anywhere."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskrcnn_benchmark.data.samplers import DistributedSampler, GroupedBatchSampler, IterationBasedBatchSampler
from maskrcnn_benchmark.data.samplers.seeded import SeededSampler

sizes = st.integers(1, 40)
ranks = st.integers(1, 5)
seeds = st.integers(0, 1000)


def share(n: int, world: int, rank: int, shuffle: bool = True, seed: int = 0, epoch: int = 0) -> list[int]:
    sampler = SeededSampler(range(n), num_replicas=world, rank=rank, shuffle=shuffle, seed=seed)
    sampler.set_epoch(epoch)
    indices = list(sampler)
    assert len(sampler) == len(indices)
    return indices


@given(sizes, ranks, seeds, st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_training_shares_are_equally_long_and_cover_the_set(n, world, seed, epoch):
    shares = [share(n, world, r, seed=seed, epoch=epoch) for r in range(world)]
    assert {len(s) for s in shares} == {-(-n // world)}
    counts = Counter(i for s in shares for i in s)
    assert set(counts) == set(range(n))
    # Repeated are as many as fill the last row, each as rarely as possible.
    total = -(-n // world) * world
    assert max(counts.values()) == -(-total // n)


@given(st.integers(0, 40), ranks)
@settings(deadline=None, max_examples=60)
def test_testing_shares_repeat_nothing(n, world):
    shares = [share(n, world, r, shuffle=False) for r in range(world)]
    assert [i for s in shares for i in s] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_order_depends_on_seed_and_epoch_alone():
    order = share(50, 1, 0, seed=3, epoch=4)
    assert share(50, 1, 0, seed=3, epoch=4) == order
    assert share(50, 1, 0, seed=3, epoch=5) != order and share(50, 1, 0, seed=5, epoch=4) != order
    assert order != list(range(50))
    # However many processes share it, together they draw the same order.
    halves = [share(50, 2, r, seed=3, epoch=4) for r in range(2)]
    assert [i for pair in zip(*halves, strict=True) for i in pair] == order


def test_upstreams_sampler_takes_its_seed_as_an_attribute():
    sampler = DistributedSampler(range(50), 2, 1, True)
    sampler.seed = 3
    sampler.set_epoch(4)
    assert list(sampler) == share(50, 2, 1, seed=3, epoch=4)


@pytest.mark.parametrize("n", [10, 11])
@pytest.mark.parametrize("shuffle", [True, False])
def test_samplers_of_forks_compute_with_num_samples_and_total_size(n, shuffle):
    class Backwards(DistributedSampler):
        def __iter__(self):
            order = list(range(len(self.dataset)))[::-1]
            order += order[: self.total_size - len(order)]
            return iter(order[self.num_samples * self.rank : self.num_samples * (self.rank + 1)])

    samplers = [Backwards(range(n), 4, rank, shuffle) for rank in range(4)]
    assert {(s.num_samples, s.total_size) for s in samplers} == {(3, 12)}
    assert [i for s in samplers for i in s] == [*range(n)[::-1], *range(n)[: n - 13 : -1]]
    samplers[0].num_samples = 5
    assert len(samplers[0]) == 5 or not shuffle


def batches(n: int, groups: list[int], size: int, seed: int = 0) -> GroupedBatchSampler:
    sampler = SeededSampler(range(n), num_replicas=1, rank=0, seed=seed)
    return GroupedBatchSampler(sampler, groups, size)


@given(st.data(), sizes, st.integers(1, 6), seeds)
@settings(deadline=None, max_examples=60)
def test_grouped_batches_never_mix_and_lose_nothing(data, n, size, seed):
    groups = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    sampler = batches(n, groups, size, seed)
    made = list(sampler)
    assert len(sampler) == len(made)
    assert all(len({groups[i] for i in batch}) == 1 and 1 <= len(batch) <= size for batch in made)
    assert sorted(i for batch in made for i in batch) == list(range(n))
    # Within a group, the sampler's order; one short batch a group at most, its last.
    for group in set(groups):
        order = [i for i in sampler.sampler if groups[i] == group]
        assert [i for batch in made for i in batch if groups[i] == group] == order
    last = {groups[batch[0]]: i for i, batch in enumerate(made)}
    assert all(len(batch) == size or last[groups[batch[0]]] == i for i, batch in enumerate(made))
    # Batches come in the order of their first members.
    position = {index: i for i, index in enumerate(sampler.sampler)}
    assert [position[batch[0]] for batch in made] == sorted(position[batch[0]] for batch in made)

    whole = GroupedBatchSampler(sampler.sampler, groups, size, drop_uneven=True)
    assert list(whole) == [batch for batch in made if len(batch) == size]


@given(st.data(), sizes, st.integers(1, 6), st.integers(0, 30), st.integers(0, 35))
@settings(deadline=None, max_examples=60)
def test_resuming_yields_exactly_the_tail(data, n, size, iterations, start):
    groups = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    whole = list(IterationBasedBatchSampler(batches(n, groups, size), iterations))
    assert len(whole) == iterations
    resumed = IterationBasedBatchSampler(batches(n, groups, size), iterations, start)
    assert list(resumed) == whole[start:] and len(resumed) == iterations


def test_every_epoch_has_an_order_of_its_own():
    drawn = list(IterationBasedBatchSampler(batches(12, [0] * 12, 4), 6))
    first, second = ([i for batch in part for i in batch] for part in (drawn[:3], drawn[3:]))
    assert sorted(first) == sorted(second) == list(range(12)) and first != second


def test_an_empty_set_is_an_error_and_no_endless_loop():
    with pytest.raises(ValueError, match="no image to train on"):
        list(IterationBasedBatchSampler(batches(0, [], 2), 3))
