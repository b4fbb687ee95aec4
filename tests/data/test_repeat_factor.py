"""Repeat factors by the paper's formulas, and samplers that draw by them."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.datasets import COCODataset, ConcatDataset
from maskrcnn_benchmark.data.datasets.concat_dataset import labels_by_image
from maskrcnn_benchmark.data.samplers import GroupedBatchSampler, IterationBasedBatchSampler, RepeatFactorSampler
from maskrcnn_benchmark.data.samplers.repeat_factor import repeat_factors
from tests.support.helpers import CONFIG, options, write_annotations, write_coco


def naive_factors(categories: list[list[int]], threshold: float) -> list[float]:
    """Gupta et al. 2019, word for word."""
    f = {c: sum(c in of_image for of_image in categories) / len(categories) for c in itertools.chain(*categories)}
    r = {c: max(1.0, (threshold / f[c]) ** 0.5) for c in f}
    return [max([r[c] for c in of_image], default=1.0) for of_image in categories]


@pytest.mark.parametrize("threshold", [0.001, 0.2, 0.9])
def test_factors_are_the_papers(threshold):
    rng = np.random.default_rng(0)
    categories = [(rng.geometric(0.3, rng.integers(0, 6))).tolist() for _ in range(60)]
    first = np.cumsum([0] + [len(c) for c in categories])
    labels = np.array(list(itertools.chain(*categories)))
    np.testing.assert_allclose(repeat_factors(labels, first, threshold).numpy(), naive_factors(categories, threshold))
    assert repeat_factors(np.zeros(0, int), np.zeros(4, int), threshold).tolist() == [1, 1, 1]


def epoch(factors, world=1, rank=0, seed=0, number=0) -> list[int]:
    sampler = RepeatFactorSampler(factors, world, rank, seed)
    sampler.set_epoch(number)
    indices = list(sampler)
    assert len(sampler) == len(indices)
    return indices


def test_images_come_as_often_as_their_factors_say():
    factors = torch.tensor([1.0, 1.25, 2.0, 3.7])
    epochs = [Counter(epoch(factors, number=e)) for e in range(400)]
    for image, factor in enumerate(factors.tolist()):
        counts = {e[image] for e in epochs}
        assert counts == {int(factor), -int(-factor // 1)}  # rounded down or up
        assert np.mean([e[image] for e in epochs]) == pytest.approx(factor, abs=0.1)


def test_however_many_processes_share_it_the_order_is_the_same():
    factors = 1 + torch.rand(41, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    whole = epoch(factors, seed=3, number=2)
    assert epoch(factors, seed=3, number=2) == whole != epoch(factors, seed=4, number=2)
    assert whole != epoch(factors, seed=3, number=1)
    for world in (2, 3, 8):
        shares = [epoch(factors, world, r, seed=3, number=2) for r in range(world)]
        assert len({len(s) for s in shares}) == 1
        together = [i for row in zip(*shares, strict=True) for i in row]
        assert together[: len(whole)] == whole and together[len(whole) :] == whole[: len(together) - len(whole)]


@pytest.mark.parametrize("start", [0, 1, 7, 20])
def test_resuming_in_the_middle_of_an_epoch(start):
    factors = 1 + torch.rand(9, generator=torch.Generator().manual_seed(1))

    def batches():
        return GroupedBatchSampler(RepeatFactorSampler(factors, 2, 1), [0, 1, 0] * 3, 2)

    whole = list(IterationBasedBatchSampler(batches(), 25))
    assert list(IterationBasedBatchSampler(batches(), 25, start)) == whole[start:]


def test_objects_of_sets_one_after_another(tmp_path):
    sets = []
    for name, empty in (("first", (1,)), ("second", ())):
        content = write_coco(tmp_path, name, images=3, empty=empty)
        content["annotations"][0]["iscrowd"] = 1
        write_annotations(tmp_path, name, content)
        sets.append(COCODataset(str(tmp_path / f"{name}.json"), str(tmp_path / name), False))
    joined = ConcatDataset(sets)
    labels, first = labels_by_image(joined)
    assert len(first) == len(joined) + 1
    for i in range(len(joined)):
        assert sorted(labels[first[i] : first[i + 1]].tolist()) == sorted(joined[i][1].get_field("labels").tolist())
    sets[0].ids = [12, 10]  # someone's own choice
    labels, first = labels_by_image(sets[0])
    of_images = [labels[first[i] : first[i + 1]].tolist() for i in range(2)]
    assert of_images == [sets[0][i][1].get_field("labels").tolist() for i in range(2)]

    named = type("Named", (), {"__len__": lambda s: 3, "get_groundtruth": lambda s, i: sets[1][i][1]})()
    for ours, theirs in zip(labels_by_image(named), labels_by_image(sets[1]), strict=True):
        assert ours.tolist() == theirs.tolist()
    with pytest.raises(ValueError, match="REPEAT_FACTOR_THRESHOLD needs the objects of each image, but list"):
        labels_by_image([1, 2])


def test_a_configuration_turns_it_on(tmp_path):
    content = write_coco(tmp_path, images=8)
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 7 or a["image_id"] == 12]
    write_annotations(tmp_path, "set", content)

    def drawn(**keys) -> Counter:
        config = cfg.clone()
        config.merge_from_file(str(CONFIG))
        config.merge_from_list(options(tmp_path, SOLVER__MAX_ITER=200, **keys))
        return Counter(i for batch in make_data_loader(config).batch_sampler for i in batch)

    plain, repeated = drawn(), drawn(DATALOADER__REPEAT_FACTOR_THRESHOLD=0.5)
    assert max(plain.values()) - min(plain.values()) <= 2
    others = np.mean([repeated[i] for i in range(8) if i != 2])
    assert repeated[2] / others == pytest.approx(2, rel=0.05)  # the square root of 0.5 / (1 / 8)
