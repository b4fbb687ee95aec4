"""Data loaders: what an iteration yields depends on the seed and the iteration, not on the workers."""

import io
import logging
import os
import random
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.data import build, make_data_loader
from maskrcnn_benchmark.data.catalog import ConfiguredCatalog
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.guarded import GuardedDataset, SeededBatches, TooManyBrokenImagesError
from maskrcnn_benchmark.data.samplers import GroupedBatchSampler, IterationBasedBatchSampler
from tests.support.helpers import CONFIG, options, write_annotations, write_coco

AUGMENT = {
    "INPUT__BRIGHTNESS": 0.5,
    "INPUT__MIN_SIZE_TRAIN": "(40, 48, 56, 64)",
    "INPUT__VERTICAL_FLIP_PROB_TRAIN": 0.5,
}


@pytest.fixture
def config(tmp_path):
    """The configuration of a tiny model on a set of six images; keys as in tests.support.helpers.options."""
    write_coco(tmp_path, images=6)

    def make(**keys: object):
        config = cfg.clone()
        config.merge_from_file(str(CONFIG))
        config.merge_from_list(options(tmp_path, **keys))
        return config

    return make


def other_set(root) -> dict[str, object]:
    """A second set, of three images, and the keys that name it "other"."""
    write_coco(root, "other", images=3)
    definition = "DATASETS__DEFINITIONS__other__"
    return {f"{definition}IMG_DIR": root / "other", f"{definition}ANN_FILE": root / "other.json"}


def contents(loader) -> list[tuple]:
    """Everything that a loader yields, as comparable objects."""
    return [
        (images.tensors.numpy().tobytes(), [t.bbox.tolist() for t in targets], [t.size for t in targets], indices)
        for images, targets, indices in loader
    ]


def test_workers_do_not_change_what_is_drawn(config):
    by_workers = [
        contents(make_data_loader(config(DATALOADER__NUM_WORKERS=workers, SOLVER__MAX_ITER=7, **AUGMENT)))
        for workers in (0, 1, 2)
    ]
    assert len(by_workers[0]) == 7
    assert by_workers[0] == by_workers[1] == by_workers[2]


def test_others_make_a_loader_of_its_parts(config):
    """As accelerate and Lightning do, or whoever wants workers of another kind."""
    loader = make_data_loader(config())
    again = DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, collate_fn=loader.collate_fn)
    assert [ids for *_, ids in again] == [ids for *_, ids in loader]


def test_an_iteration_draws_the_same_whatever_came_before(config):
    whole = contents(make_data_loader(config(SOLVER__MAX_ITER=7, **AUGMENT)))
    random.seed(99)
    torch.manual_seed(99)
    assert contents(make_data_loader(config(SOLVER__MAX_ITER=7, **AUGMENT), start_iter=4)) == whole[4:]
    assert contents(make_data_loader(config(SOLVER__MAX_ITER=7, SEED=2, **AUGMENT))) != whole


def test_an_image_is_augmented_anew_in_every_epoch(config):
    batches = contents(make_data_loader(config(SOLVER__MAX_ITER=12, SOLVER__IMS_PER_BATCH=1, **AUGMENT)))
    assert {batch[3] for batch in batches} == {(i,) for i in range(6)}
    assert len({batch[0] for batch in batches}) > 6


def states() -> tuple:
    _, keys, position, *_ = np.random.get_state()
    return random.getstate(), keys.tolist(), position, torch.get_rng_state().tolist()


def test_the_random_state_of_the_process_is_left_alone(config):
    iterator = iter(make_data_loader(config(**AUGMENT)))
    before = states()
    assert len(list(iterator)) == 4
    assert states() == before


class Draws(Dataset):
    """Items of random numbers from every generator; the indices of `broken` cannot be read."""

    def __init__(self, size: int = 5, broken: tuple[int, ...] = ()):
        self.size, self.broken = size, broken

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple:
        if index in self.broken:
            raise BrokenImageError(f"The image {index}.jpg cannot be read: broken")
        return index, random.random(), float(np.random.rand()), torch.rand(1).item()


def test_an_item_depends_on_its_seed_alone():
    guarded = GuardedDataset(Draws(), max_broken=0, replace=True)
    first = guarded[3, 17]
    before = states()
    assert guarded[3, 17] == first and first[0] == 3
    assert states() == before
    assert all(a != b for a, b in zip(guarded[3, 18], first, strict=True) if a != 3)
    assert guarded[3] != guarded[3]  # without a seed of its own


def test_seeds_differ_between_iterations_and_images():
    def seeds(seed: int, start: int = 0) -> list:
        batches = IterationBasedBatchSampler(GroupedBatchSampler(range(3), [0] * 3, 2), 4, start)
        seeded = SeededBatches(batches, seed)
        assert len(seeded) == 4  # where it ends, wherever it starts: upstream's max_iter
        return list(seeded)

    assert [[index for index, _ in batch] for batch in seeds(1)] == [[0, 1], [2], [0, 1], [2]]
    assert len({seed for batch in seeds(1) for _, seed in batch}) == 6
    assert seeds(1, start=2) == seeds(1)[2:]
    assert not {s for b in seeds(1) for _, s in b} & {s for b in seeds(2) for _, s in b}


def test_unreadable_images_are_replaced_in_training(log):
    guarded = GuardedDataset(Draws(broken=(1, 2)), max_broken=2, replace=True)
    assert [guarded[i][0] for i in range(5)] == [0, 3, 3, 3, 4]
    guarded[1]  # named once only
    assert [r.getMessage() for r in log.records] == [
        f"The image {i}.jpg cannot be read: broken. It is skipped." for i in (1, 2)
    ]
    last = GuardedDataset(Draws(broken=(4,)), max_broken=1, replace=True)
    assert last[4][0] == 0


def unknown() -> None:
    Image.open(io.BytesIO(b"no image"))


def truncated() -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
    Image.open(io.BytesIO(file.getvalue()[:900])).load()


def damaged() -> None:
    raise SyntaxError("broken PNG file (chunk b'')")


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda: open("none.jpg", "rb"), "[Errno 2] No such file or directory: 'none.jpg'"),
        (unknown, "cannot identify image file"),
        (truncated, "image file is truncated"),
        (damaged, "broken PNG file"),
    ],
)
def test_what_a_data_set_of_ones_own_cannot_read_is_named_and_replaced(log, read, said):
    class Own(Draws):
        def __getitem__(self, index: int) -> tuple:
            if index == 1:
                read()
            return super().__getitem__(index)

    assert GuardedDataset(Own(), 1, True, ["mine"])[1][0] == 2
    (message,) = [record.getMessage() for record in log.records]
    assert message.startswith(f"Image 1 of mine cannot be read: {said}") and message.endswith(". It is skipped.")
    assert GuardedDataset(Own(), 1, False)[1] is None
    with pytest.raises(
        TooManyBrokenImagesError, match="1 image could not be read, .* The last one: Image 1 of mine cannot"
    ):
        GuardedDataset(Own(), 0, True, ["mine"])[1]


def test_unreadable_images_are_missing_in_testing():
    guarded = GuardedDataset(Draws(broken=(1,)), max_broken=1, replace=False)
    assert guarded[1] is None and guarded[0][0] == 0


@pytest.mark.parametrize(
    ("broken", "allowed", "reason"),
    [
        ((1, 2, 3), 2, "more than DATALOADER.MAX_BROKEN_IMAGES = 2. The last one"),
        ((0, 1, 2, 3, 4), 10, "and there is no other. The last one"),
    ],
)
def test_too_many_unreadable_images_stop(broken, allowed, reason):
    guarded = GuardedDataset(Draws(broken=broken), max_broken=allowed, replace=True)
    with pytest.raises(TooManyBrokenImagesError, match=f"{len(broken)} images could not be read, {reason}"):
        for i in range(5):
            guarded[i]


def test_tests_see_every_image_once_and_unchanged(config, tmp_path):
    keys = other_set(tmp_path)
    loaders = make_data_loader(config(DATASETS__TEST='("set", "other")', **keys), is_train=False)
    assert [[i for batch in loader for i in batch[2]] for loader in loaders] == [list(range(6)), list(range(3))]
    assert contents(loaders[0]) == contents(loaders[0])


def test_several_sets_are_trained_on_together(config, tmp_path):
    keys = other_set(tmp_path)
    loader = make_data_loader(config(DATASETS__TRAIN='("set", "other")', SOLVER__MAX_ITER=20, **keys))
    assert {i for batch in loader for i in batch[2]} == set(range(9))


def test_wide_and_tall_images_do_not_share_a_batch(config):
    for images, _, _ in make_data_loader(config(SOLVER__MAX_ITER=12)):
        assert len({width > height for height, width in images.image_sizes}) == 1
    mixed = make_data_loader(config(SOLVER__MAX_ITER=12, DATALOADER__ASPECT_RATIO_GROUPING=False))
    assert any(len({width > height for height, width in images.image_sizes}) == 2 for images, _, _ in mixed)


def test_batches_are_padded_to_the_divisor(config):
    images, _, _ = next(iter(make_data_loader(config(INPUT__MIN_SIZE_TRAIN="(40,)", DATALOADER__SIZE_DIVISIBILITY=32))))
    assert all(side % 32 == 0 for side in images.tensors.shape[2:])
    assert all(40 in size for size in images.image_sizes)


def test_own_data_comes_before_the_catalog():
    class Catalog:
        @staticmethod
        def get(name: str) -> str:
            return f"catalog's {name}"

    catalog = ConfiguredCatalog({"mine": {"IMG_DIR": "a", "ANN_FILE": "b"}, "half": {"IMG_DIR": "a"}}, Catalog)
    assert catalog.get("mine") == {"factory": "COCODataset", "args": {"root": "a", "ann_file": "b"}}
    assert catalog.get("coco") == "catalog's coco"
    with pytest.raises(ConfigError, match="DATASETS.DEFINITIONS.half has no ANN_FILE: an entry has ANN_FILE"):
        catalog.get("half")


def test_more_classes_than_the_data_has_is_a_warning(config, log):
    make_data_loader(config(MODEL__ROI_BOX_HEAD__NUM_CLASSES=4))
    warnings = [r.getMessage() for r in log.records if r.levelno == logging.WARNING]
    assert warnings == ["set has 2 categories and the model 3: MODEL.ROI_BOX_HEAD.NUM_CLASSES could be 3."]
    log.clear()
    make_data_loader(config())
    assert not [r for r in log.records if r.levelno >= logging.WARNING]


def test_fewer_classes_than_the_data_has_is_an_error(config):
    with pytest.raises(ConfigError, match="has 2 categories, but MODEL.ROI_BOX_HEAD.NUM_CLASSES is 2; set it to 3"):
        make_data_loader(config(MODEL__ROI_BOX_HEAD__NUM_CLASSES=2))
    make_data_loader(config(MODEL__ROI_BOX_HEAD__NUM_CLASSES=2, MODEL__RPN_ONLY=True))  # proposals have no classes


@pytest.mark.parametrize(("is_train", "key"), [(True, "SOLVER.IMS_PER_BATCH"), (False, "TEST.IMS_PER_BATCH")])
def test_a_batch_divides_among_the_processes(config, monkeypatch, is_train, key):
    monkeypatch.setattr(build, "get_world_size", lambda: 2)
    with pytest.raises(ConfigError, match=f"{key} is 3; it must be a multiple of the number of processes, 2"):
        make_data_loader(config(**{key.replace(".", "__"): 3}), is_train=is_train)
    with pytest.raises(ConfigError, match="is 0; it must be a multiple"):
        make_data_loader(config(**{key.replace(".", "__"): 0}), is_train=is_train)
    assert build._images_per_process(4, key) == 2


def test_images_without_objects_take_part_when_asked(config, tmp_path, log):
    content = write_coco(tmp_path, images=4, empty=(1, 2))
    write_annotations(tmp_path, "set", content)
    for keep, expected in ((False, [10, 11, 12, 13]), (True, [10, 13])):
        loader = make_data_loader(config(DATALOADER__FILTER_EMPTY_ANNOTATIONS=keep))
        assert loader.dataset.ids == expected
    assert [r.getMessage() for r in log.records if "2 images of 4 without objects" in r.getMessage()]
    (test,) = make_data_loader(config(), is_train=False)
    assert test.dataset.ids == [10, 11, 12, 13]  # tests never leave any out


def test_sets_of_different_categories_cannot_be_joined(config, tmp_path):
    keys = other_set(tmp_path)
    content = write_coco(tmp_path, "other")
    content["categories"][0]["name"] = "green"
    write_annotations(tmp_path, "other", content)
    with pytest.raises(ConfigError, match=r"set and other cannot .* \(red, blue; green, blue\)"):
        make_data_loader(config(DATASETS__TRAIN='("set", "other")', **keys))


@pytest.mark.parametrize("factor", [1, 3])
def test_workers_make_as_many_batches_ahead_as_asked(tmp_path, factor):
    write_coco(tmp_path, images=20)
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    keys = {"DATALOADER__NUM_WORKERS": 2, "DATALOADER__PREFETCH_FACTOR": factor, "SOLVER__MAX_ITER": 20}
    config.merge_from_list(options(tmp_path, **keys))
    loader = make_data_loader(config)
    batches = iter(loader)
    next(batches)
    assert batches._tasks_outstanding <= 2 * factor
    config.DATALOADER.PREFETCH_FACTOR = 0
    with pytest.raises(ConfigError, match="PREFETCH_FACTOR is 0; it must be 1 or more"):
        make_data_loader(config)
    config.merge_from_list(["DATALOADER.PREFETCH_FACTOR", 2, "DATALOADER.NUM_WORKERS", 0])
    assert make_data_loader(config).prefetch_factor is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_processes_that_load_leave_signals_to_the_main_one(config, number):
    loader = make_data_loader(config(DATALOADER__NUM_WORKERS=1, SOLVER__MAX_ITER=8))
    batches = iter(loader)
    next(batches)
    (worker,) = batches._workers
    assert os.getpgid(worker.pid) != os.getpgid(0)  # what is sent to the main one's group does not reach it
    os.kill(worker.pid, number)
    assert len(list(batches)) == 7
