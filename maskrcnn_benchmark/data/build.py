"""Data loaders from a configuration."""

import inspect
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from maskrcnn_benchmark.config import ConfigError
from maskrcnn_benchmark.data import datasets as D
from maskrcnn_benchmark.data import samplers
from maskrcnn_benchmark.data.collate_batch import BatchCollator, BBoxAugCollator
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.utils import comm
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.seed import derive_seed, seeded


class ConfiguredCatalog:
    """A catalog of data sets in which the entries of DATASETS.DEFINITIONS come first.

    An entry in COCO format has IMG_DIR and ANN_FILE; one with FACTORY names a class of DATASETS and gives its arguments
    in capitals, for example {FACTORY: PascalVOCDataset, DATA_DIR: ..., SPLIT: train}.
    """

    def __init__(self, definitions: dict, catalog: Any):
        self.definitions, self.catalog = definitions, catalog

    def get(self, name: str) -> dict:
        if name not in self.definitions:
            return self.catalog.get(name)
        entry = self.definitions[name]
        key = f"DATASETS.DEFINITIONS.{name}"
        if not isinstance(entry, dict):
            raise ConfigError(f"{key} needs the keys IMG_DIR and ANN_FILE, or FACTORY; got {entry!r}.")
        factory = entry.get("FACTORY", "COCODataset")
        if factory == "COCODataset":
            if set(entry) - {"FACTORY"} != {"IMG_DIR", "ANN_FILE"}:
                raise ConfigError(f"{key} needs exactly the keys IMG_DIR and ANN_FILE; got {entry!r}.")
            return {"factory": factory, "args": {"root": str(entry["IMG_DIR"]), "ann_file": str(entry["ANN_FILE"])}}
        args = {word.lower(): value for word, value in entry.items() if word != "FACTORY"}
        try:
            inspect.signature(D.DATASETS[factory]).bind(**args)
        except TypeError as error:
            raise ConfigError(f"{key} does not fit {factory}: {error}; got {entry!r}.") from None
        return {"factory": factory, "args": args}


# What a data set is told about its use, by factory: (in training?, without images on which there is nothing to train?).
_USES: dict[str, Callable[[bool, bool], dict]] = {
    "COCODataset": lambda is_train, filter_empty: {"remove_images_without_annotations": is_train and filter_empty},
    "PascalVOCDataset": lambda is_train, filter_empty: {"use_difficult": not is_train},
}


def dataset_catalog(cfg) -> ConfiguredCatalog:
    catalog = import_file("maskrcnn_benchmark.config.paths_catalog", cfg.PATHS_CATALOG, True).DatasetCatalog
    return ConfiguredCatalog(cfg.DATASETS.DEFINITIONS, catalog)


def build_dataset(
    dataset_list: Sequence[str],
    transforms: Callable | None,
    dataset_catalog: Any,
    is_train: bool = True,
    filter_empty: bool = True,
) -> list[Dataset]:
    """The named data sets: in training one, concatenated; in testing each by itself."""
    if isinstance(dataset_list, str) or not dataset_list:
        key = "DATASETS.TRAIN" if is_train else "DATASETS.TEST"
        raise ConfigError(
            f'{key} names no data set; it must be a tuple like ("coco_2017_train",), got {dataset_list!r}.'
        )
    built = []
    for name in dataset_list:
        entry = dataset_catalog.get(name)
        factory = entry["factory"]
        use = _USES[factory](is_train, filter_empty) if factory in _USES else {}
        args = {**use, **entry["args"], "transforms": transforms}
        built.append(D.DATASETS[factory](**args))
        if len(built[-1]) == 0:
            raise ValueError(
                f"The data set {name} holds no image{' with an object' if is_train else ''}: {entry['args']}."
            )
        if is_train and not getattr(built[-1], "has_annotations", True):
            raise ValueError(f"The data set {name} has no annotations to train on: {entry['args']}.")
    if is_train and len(built) > 1:
        _check_same_categories(built, dataset_list)
        return [D.ConcatDataset(built)]
    return built


def _check_same_categories(parts: list, names: Sequence[str]) -> None:
    """Labels are numbered by data set, so sets trained on together must number the same categories."""
    known = [
        (name, part.class_names()) for name, part in zip(names, parts, strict=True) if hasattr(part, "class_names")
    ]
    for name, classes in known[1:]:
        if classes != known[0][1]:
            raise ConfigError(
                f"{known[0][0]} and {name} cannot be trained on together: their categories differ "
                f"({', '.join(known[0][1].values())}; {', '.join(classes.values())})."
            )


def check_num_classes(
    dataset: Dataset, num_classes: int, name: str, key: str = "MODEL.ROI_BOX_HEAD.NUM_CLASSES"
) -> None:
    """Compare the value of `key` with the categories of a data set."""
    for part in getattr(dataset, "datasets", [dataset]):
        expected = getattr(part, "num_classes", num_classes)
        if expected > num_classes:
            raise ConfigError(
                f"{name} has {expected - 1} categories, but {key} is {num_classes}; set it to "
                f"{expected} (the categories and the background)."
            )
        if expected < num_classes:
            logging.getLogger(__name__).warning(
                "%s has %d categories and the model %d: %s could be %d.",
                name,
                expected - 1,
                num_classes - 1,
                key,
                expected,
            )


def check_masks(dataset: Dataset, name: str) -> None:
    """Raise for a data set that cannot train masks."""
    if not all(getattr(part, "has_masks", True) for part in getattr(dataset, "datasets", [dataset])):
        raise ConfigError(f"{name} has objects without masks, but MODEL.MASK_ON is True; set it to False.")


def check_num_keypoints(dataset: Dataset, num_keypoints: int, name: str) -> None:
    """Compare MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES with what a data set's objects have."""
    for part in getattr(dataset, "datasets", [dataset]):
        found = getattr(part, "num_keypoints", num_keypoints)
        if found != num_keypoints and getattr(part, "has_annotations", True):
            raise ConfigError(
                f"The objects of {name} have {found or 'no'} keypoints, but MODEL.KEYPOINT_ON is True and "
                f"MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES {num_keypoints}; set the one to False or the other to what they have."
            )


class TooManyBrokenImagesError(OSError):
    """More image files cannot be read than DATALOADER.MAX_BROKEN_IMAGES allows."""

    def __init__(self, text: str):
        # From a worker process it arrives inside the text of that process's traceback, whose last line it is.
        super().__init__(text.rpartition(f"{type(self).__name__}: ")[2].strip())


class GuardedDataset(Dataset):
    """A data set whose unreadable images are named and replaced, and whose items may carry a seed.

    Args:
        dataset: raises BrokenImageError for an image that cannot be read.
        max_broken: this many unreadable files are tolerated, in all worker processes together.
        replace: give the next image instead (training), or None (testing).

    An item is an index, or (index, seed): then whatever is drawn at random for it depends on that seed alone.
    """

    def __init__(self, dataset: Any, max_broken: int, replace: bool):
        self.dataset, self.max_broken, self.replace = dataset, max_broken, replace
        self.broken = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int | tuple[int, int]) -> Any:
        if isinstance(item, tuple):
            index, seed = item
            with seeded(seed):
                return self._read(index)
        return self._read(item)

    def _read(self, index: int) -> Any:
        while True:
            try:
                return self.dataset[index]
            except BrokenImageError as error:
                self._report(index, error)
                if not self.replace:
                    return None
                index = (index + 1) % len(self)

    def _report(self, index: int, error: BrokenImageError) -> None:
        if not self.broken[index]:
            self.broken[index] = True
            logging.getLogger(__name__).warning("%s. It is skipped.", error)
        count = int(self.broken.sum())
        if count > self.max_broken or count == len(self):
            raise TooManyBrokenImagesError(
                f"{count} images could not be read, more than DATALOADER.MAX_BROKEN_IMAGES = {self.max_broken}. "
                f"The last one: {error}"
            ) from None


class SeededBatches(Sampler[list[tuple[int, int]]]):
    """Gives each member of each batch a seed of its own, made of the run's seed, the iteration and the index."""

    def __init__(self, batch_sampler: Any, seed: int):
        self.batch_sampler, self.seed = batch_sampler, seed

    @property
    def start_iter(self) -> int:
        """Batches that the next iteration over this one leaves out."""
        return self.batch_sampler.start_iter

    @start_iter.setter
    def start_iter(self, start_iter: int) -> None:
        self.batch_sampler.start_iter = start_iter

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for iteration, batch in enumerate(self.batch_sampler, start=self.start_iter):
            yield [(index, derive_seed(self.seed, iteration, index)) for index in batch]

    def __len__(self) -> int:
        return len(self.batch_sampler)


def _leave_signals_to_the_main_process(worker: int) -> None:
    """A terminal and torchrun signal whole groups of processes; the main one stops in its own time, and its loader with it.

    SIGTERM must still reach this process by itself: that is how the main one ends it.
    """
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def make_data_sampler(dataset: Any, shuffle: bool, distributed: bool, seed: int = 0) -> Sampler:
    replicas = {} if distributed else {"num_replicas": 1, "rank": 0}
    return samplers.DistributedSampler(dataset, shuffle=shuffle, seed=seed, **replicas)


def _aspect_groups(dataset: Any) -> list[int]:
    """0 for images wider than high, 1 for the others."""
    infos = (dataset.get_img_info(i) for i in range(len(dataset)))
    return [int(info["height"] >= info["width"]) for info in infos]


def make_batch_data_sampler(
    dataset: Any,
    sampler: Sampler,
    aspect_grouping: bool,
    images_per_batch: int,
    num_iters: int | None = None,
    start_iter: int = 0,
) -> Sampler:
    if aspect_grouping:
        batches: Any = samplers.GroupedBatchSampler(sampler, _aspect_groups(dataset), images_per_batch)
    else:
        batches = samplers.GroupedBatchSampler(sampler, [0] * len(dataset), images_per_batch)
    if num_iters is not None:
        batches = samplers.IterationBasedBatchSampler(batches, num_iters, start_iter)
    return batches


def _images_per_process(images_per_batch: int, key: str, accumulate: int = 1) -> int:
    """Images that a process holds at a time."""
    if accumulate < 1:
        raise ConfigError(f"SOLVER.ACCUMULATE is {accumulate}; it must be 1 or more.")
    parts = comm.get_world_size() * accumulate
    if images_per_batch < 1 or images_per_batch % parts:
        times = f" times SOLVER.ACCUMULATE, {accumulate}" if accumulate > 1 else ""
        raise ConfigError(
            f"{key} is {images_per_batch}; it must be a multiple of the number of processes, {comm.get_world_size()}{times}."
        )
    return images_per_batch // parts


def make_data_loader(
    cfg, is_train: bool = True, is_distributed: bool = False, start_iter: int = 0, is_for_period: bool = False
) -> DataLoader | list[DataLoader]:
    """One loader that yields the iterations from `start_iter` on (training; each is SOLVER.ACCUMULATE batches), or one for
    each data set of DATASETS.TEST.

    `is_for_period` is upstream's flag for tests during training; the loaders are the same. A batch is (ImageList, targets,
    indices), or for test-time augmentation (PIL images, targets, indices).
    """
    names = cfg.DATASETS.TRAIN if is_train else cfg.DATASETS.TEST
    key = "SOLVER.IMS_PER_BATCH" if is_train else "TEST.IMS_PER_BATCH"
    accumulate = cfg.SOLVER.ACCUMULATE if is_train else 1
    images_per_process = _images_per_process(cfg[key.split(".")[0]].IMS_PER_BATCH, key, accumulate)
    raw = not is_train and cfg.TEST.BBOX_AUG.ENABLED  # test-time augmentation wants the images as they are
    transforms = None if raw else build_transforms(cfg, is_train)
    collator = BBoxAugCollator() if raw else BatchCollator(cfg.DATALOADER.SIZE_DIVISIBILITY)
    built = build_dataset(names, transforms, dataset_catalog(cfg), is_train, cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS)
    loaders = []
    for dataset, name in zip(built, names if len(built) == len(names) else [" + ".join(names)], strict=True):
        if cfg.MODEL.RETINANET_ON:
            check_num_classes(dataset, cfg.MODEL.RETINANET.NUM_CLASSES, name, "MODEL.RETINANET.NUM_CLASSES")
        elif not cfg.MODEL.RPN_ONLY:
            check_num_classes(dataset, cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES, name)
        if is_train and cfg.MODEL.MASK_ON:
            check_masks(dataset, name)
        if cfg.MODEL.KEYPOINT_ON:
            check_num_keypoints(dataset, cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES, name)
        sampler = make_data_sampler(dataset, shuffle=is_train, distributed=is_distributed, seed=max(cfg.SEED, 0))
        batches = make_batch_data_sampler(
            dataset,
            sampler,
            cfg.DATALOADER.ASPECT_RATIO_GROUPING and is_train,
            images_per_process,
            cfg.SOLVER.MAX_ITER * accumulate if is_train else None,
            start_iter * accumulate,
        )
        loaders.append(
            DataLoader(
                GuardedDataset(dataset, cfg.DATALOADER.MAX_BROKEN_IMAGES, replace=is_train),
                batch_sampler=SeededBatches(batches, max(cfg.SEED, 0)) if is_train else batches,
                num_workers=cfg.DATALOADER.NUM_WORKERS,
                collate_fn=collator,
                worker_init_fn=_leave_signals_to_the_main_process,
                pin_memory=cfg.MODEL.DEVICE.startswith("cuda") and torch.cuda.is_available(),
            )
        )
    return loaders[0] if is_train else loaders
