import random

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.utils.seed import derive_seed, draw_seed, seed_everything, seeded


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(1).item()


def test_derived_seeds_are_spread_and_fixed():
    assert derive_seed(1, 2, 3) == 2904650318439132554  # on every machine; runs resumed later rely on it
    seeds = {derive_seed(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000 and all(0 <= s < 2**63 for s in seeds)
    assert derive_seed(1, 23) != derive_seed(12, 3)


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 7, 2**63 - 1])
def test_a_seed_reaches_every_generator(seed):
    seed_everything(seed)
    first = draw()
    seed_everything(seed)
    assert draw() == first
    seed_everything(3)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_a_block_has_its_own_numbers_and_leaves_no_trace():
    seed_everything(1)
    expected = draw()
    seed_everything(1)
    with seeded(5):
        inside = draw()
    assert draw() == expected != inside
    with pytest.raises(KeyError), seeded(5):
        assert draw() == inside
        raise KeyError
    seed_everything(1)
    with pytest.raises(KeyError), seeded(9):
        raise KeyError
    assert draw() == expected  # also after an error


def test_drawn_seeds_do_not_depend_on_the_generators():
    drawn = set()
    for _ in range(5):
        seed_everything(0)
        drawn.add(draw_seed())
    assert len(drawn) > 1 and all(0 <= s < 2**31 for s in drawn)
