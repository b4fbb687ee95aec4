"""Random minibatches: how many boxes of each kind, and that each has the same chance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([-1, 0, 1, 7]), max_size=40),
    st.integers(1, 30),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.booleans(),
)
def test_counts(labels, batch, fraction, as_float):
    """As many positives as there are and as the fraction allows; negatives fill the rest; ignored boxes never."""
    labels = torch.tensor(labels, dtype=torch.float32 if as_float else torch.int64)
    positives, negatives = int((labels >= 1).sum()), int((labels == 0).sum())
    sampler = BalancedPositiveNegativeSampler(batch, fraction)
    index, valid = sampler.sample(labels)
    drawn = index[valid]
    assert len(set(drawn.tolist())) == len(drawn)
    expected = min(positives, int(batch * fraction))
    assert (labels[drawn] >= 1).sum() == expected
    assert (labels[drawn] == 0).sum() == min(negatives, batch - expected)
    assert (labels[drawn] != -1).all()
    # Positives come first.
    assert (labels[drawn][:expected] >= 1).all()


def test_masks_of_a_batch():
    labels = [torch.tensor([1, 0, -1, 2, 0, 0]), torch.tensor([-1, -1]), torch.zeros(0, dtype=torch.int64)]
    positive, negative = BalancedPositiveNegativeSampler(4, 0.25)(labels)
    assert [len(p) for p in positive] == [6, 2, 0]
    assert [p.sum().item() for p in positive] == [1, 0, 0] and [n.sum().item() for n in negative] == [3, 0, 0]
    assert (labels[0][positive[0]] >= 1).all() and (labels[0][negative[0]] == 0).all()


def test_size_depends_on_the_settings_alone():
    """Which boxes are positive must not change the shape: that would make the device wait."""
    sampler = BalancedPositiveNegativeSampler(10, 0.5)
    sizes = {len(sampler.sample(torch.full((30,), label))[0]) for label in (-1, 0, 1)}
    assert len(sizes) == 1


@pytest.mark.parametrize("label", [0, 1])
def test_every_box_has_the_same_chance(label):
    torch.manual_seed(0)
    sampler, labels, rounds = BalancedPositiveNegativeSampler(5, 1.0), torch.full((20,), label), 2000
    counts = torch.zeros(20)
    for _ in range(rounds):
        index, valid = sampler.sample(labels)
        counts[index[valid]] += 1
    deviation = (rounds * 0.25 * 0.75) ** 0.5
    assert counts.sum() == 5 * rounds
    assert (counts - rounds * 0.25).abs().max() < 5 * deviation
