"""Data loaders from a configuration."""

import bisect
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data import datasets as D
from maskrcnn_benchmark.data import samplers
from maskrcnn_benchmark.data.catalog import dataset_catalog as catalog_of
from maskrcnn_benchmark.data.catalog import dataset_class
from maskrcnn_benchmark.data.collate_batch import BatchCollator
from maskrcnn_benchmark.data.copy_paste import CopyPasteDataset
from maskrcnn_benchmark.data.datasets.converted import source_of
from maskrcnn_benchmark.data.datasets.facts import has_annotations, image_sizes, labels_by_image
from maskrcnn_benchmark.data.guarded import GuardedLoader
from maskrcnn_benchmark.data.items import FILTER, check_sample, say_empty
from maskrcnn_benchmark.data.raw_batches import BBoxAugCollator
from maskrcnn_benchmark.data.requirements import (
    check_data_set,
    check_masks,
    check_same_categories,
    fit_labels,
    make_item_check,
)
from maskrcnn_benchmark.data.samplers.repeat_factor import RepeatFactorSampler, repeat_factors
from maskrcnn_benchmark.data.tiles import make_tiling
from maskrcnn_benchmark.data.transforms import Compose, build_transforms
from maskrcnn_benchmark.utils.comm import get_world_size
from maskrcnn_benchmark.utils.imports import import_file as import_file  # for `from ...data.build import *`
from maskrcnn_benchmark.utils.run_record import save_labels
from maskrcnn_benchmark.utils.wording import listed

# What a data set is told about its use, by factory: (in training?, without images on which there is nothing to train?).
_USES: dict[str, Callable[[bool, bool], dict]] = {
    "COCODataset": lambda is_train, filter_empty: {"remove_images_without_annotations": is_train and filter_empty},
    "PascalVOCDataset": lambda is_train, filter_empty: {"use_difficult": not is_train},
}


def build_dataset(
    dataset_list: Sequence[str],
    transforms: Callable | None,
    dataset_catalog: Any,
    is_train: bool = True,
    filter_empty: bool = True,
    annotation_cache: str = "",
    for_keypoints: bool = True,
) -> list[Dataset]:
    """The named data sets: in training one, concatenated; in testing each by itself.

    Args:
        dataset_catalog: its `get(name)` gives {"factory": name of a class, "args": its arguments}.
        filter_empty: whether images without objects are left out of training.
        annotation_cache: the folder of DATALOADER.ANNOTATION_CACHE.
        for_keypoints: whether images that show too few keypoints are left out too: a model of boxes trains on them.
    """
    if isinstance(dataset_list, str) or not dataset_list:
        key = "DATASETS.TRAIN" if is_train else "DATASETS.TEST"
        raise ConfigError(
            f'{key} names no data set; it must be a tuple like ("coco_2017_train",), got {dataset_list!r}.'
        )
    built: list[Any] = []
    for name in dataset_list:
        entry = dataset_catalog.get(name)
        make = dataset_class(entry["factory"])
        use = _USES[entry["factory"]](is_train, filter_empty) if entry["factory"] in _USES else {}
        signature = inspect.signature(make)
        if annotation_cache and "cache" in signature.parameters:
            use["cache"] = annotation_cache
        if "for_keypoints" in signature.parameters:
            use["for_keypoints"] = for_keypoints
        if FILTER in signature.parameters:
            use[FILTER] = is_train and filter_empty
        arguments = {**use, **entry["args"], "transforms": transforms}
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise ConfigError(
                f"The data set {name}: {entry['factory']}{signature} does not take its arguments, "
                f"{listed(list(arguments), 20)}: {error}."
            ) from None
        built.append(make(**arguments))
        if len(built[-1]) == 0:
            needed = " with an object" if is_train else ""
            if is_train and use.get("for_keypoints") and getattr(built[-1], "num_keypoints", 0):
                needed += " and enough visible keypoints (MODEL.KEYPOINT_ON False trains on the boxes alone)"
            raise ValueError(f"The data set {name} holds no image{needed}: {_shown(entry['args'])}.")
        if is_train and not has_annotations(built[-1]):
            raise ValueError(f"The data set {name} has no annotations to train on: {_shown(entry['args'])}.")
    if is_train and len(built) > 1:
        check_same_categories(built, dataset_list)
        return [D.ConcatDataset(built)]
    return built


def _shown(args: dict) -> dict:
    """A data set's arguments as the user has them."""
    return {key: source_of(value) if key == "ann_file" else value for key, value in args.items()}


def make_data_sampler(dataset: Any, shuffle: bool, distributed: bool) -> Sampler:
    """This process's share of the indices of a data set, or all of them."""
    replicas = {} if distributed else {"num_replicas": 1, "rank": 0}
    return samplers.DistributedSampler(dataset, shuffle=shuffle, **replicas)


def _quantize(x: Iterable[float], bins: Sequence[float]) -> list[int]:
    """The number of the bin that each value lies in; a value on an edge belongs to the bin above."""
    edges = sorted(bins)
    return [bisect.bisect_right(edges, value) for value in x]


def _compute_aspect_ratios(dataset: Any) -> list[float]:
    """Height / width of each image."""
    height, width = image_sizes(dataset).T
    return (height / width).tolist()


def make_batch_data_sampler(
    dataset: Any,
    sampler: Sampler,
    aspect_grouping: bool | Sequence[float],
    images_per_batch: int,
    num_iters: int | None = None,
    start_iter: int = 0,
) -> Sampler:
    """Batches of what a sampler yields.

    Args:
        aspect_grouping: edges between the aspect ratios (height / width) that never share a batch; True for (1,).
        num_iters: so many batches, of as many epochs as it takes; None for one epoch.
        start_iter: batches of `num_iters` that are left out.
    """
    batches: Any
    if aspect_grouping:
        edges = (1,) if aspect_grouping is True else aspect_grouping
        batches = samplers.GroupedBatchSampler(
            sampler, _quantize(_compute_aspect_ratios(dataset), edges), images_per_batch
        )
    else:
        batches = BatchSampler(sampler, images_per_batch, drop_last=False)
    if num_iters is not None:
        batches = samplers.IterationBasedBatchSampler(batches, num_iters, start_iter)
    return batches


def _images_per_process(images_per_batch: int, key: str, accumulate: int = 1) -> int:
    """Images that a process holds at a time."""
    if accumulate < 1:
        raise ConfigError(f"SOLVER.ACCUMULATE is {accumulate}; it must be 1 or more.")
    parts = get_world_size() * accumulate
    if images_per_batch < 1 or images_per_batch % parts:
        times = f" times SOLVER.ACCUMULATE, {accumulate}" if accumulate > 1 else ""
        raise ConfigError(
            f"{key} is {images_per_batch}; it must be a multiple of the number of processes, {get_world_size()}{times}."
        )
    return images_per_batch // parts


def _batches(cfg) -> int:
    """That a training takes at most."""
    own = options(cfg).SOLVER
    return sys.maxsize if own.MAX_TIME > 0 else cfg.SOLVER.MAX_ITER * own.ACCUMULATE


def _prefetch_factor(cfg) -> int | None:
    factor = options(cfg).DATALOADER.PREFETCH_FACTOR
    if factor < 1:
        raise ConfigError(f"DATALOADER.PREFETCH_FACTOR is {factor}; it must be 1 or more.")
    return factor if cfg.DATALOADER.NUM_WORKERS > 0 else None


def _sampler(cfg, dataset: Any, is_train: bool, is_distributed: bool) -> Sampler:
    """`make_data_sampler`, with what this package's samplers can do beyond: repeat rare classes, and follow SEED."""
    own = options(cfg)
    seed, threshold = max(own.SEED, 0), own.DATALOADER.REPEAT_FACTOR_THRESHOLD
    if is_train and threshold > 0:
        replicas = {} if is_distributed else {"num_replicas": 1, "rank": 0}
        return RepeatFactorSampler(repeat_factors(*labels_by_image(dataset), threshold), seed=seed, **replicas)
    sampler: Any = make_data_sampler(dataset, is_train, is_distributed)
    if hasattr(sampler, "seed"):
        sampler.seed = seed
    return sampler


def make_data_loader(
    cfg, is_train: bool = True, is_distributed: bool = False, start_iter: int = 0, is_for_period: bool = False
) -> DataLoader | list[DataLoader]:
    """One loader that yields the iterations from `start_iter` on (training; each is SOLVER.ACCUMULATE batches), or one for
    each data set of DATASETS.TEST.

    A batch is (ImageList, targets, indices), or for test-time augmentation (PIL images, targets, indices). For training,
    labels.json in OUTPUT_DIR gets the names of the categories.

    Args:
        is_for_period: for tests during training, one loader of all of DATASETS.TEST together.
    """
    own = options(cfg)
    names = cfg.DATASETS.TRAIN if is_train else cfg.DATASETS.TEST
    key = "SOLVER.IMS_PER_BATCH" if is_train else "TEST.IMS_PER_BATCH"
    accumulate = own.SOLVER.ACCUMULATE if is_train else 1
    images_per_process = _images_per_process(cfg[key.split(".")[0]].IMS_PER_BATCH, key, accumulate)
    # Test-time augmentation and tiles want the images as they are.
    raw = not is_train and (cfg.TEST.BBOX_AUG.ENABLED or make_tiling(cfg) is not None)
    transforms = None if raw else build_transforms(cfg, is_train)
    finish = None
    if is_train and own.INPUT.COPY_PASTE_PROB:  # objects are pasted as pixels: before the images become tensors
        steps = build_transforms(cfg, is_train).transforms
        transforms, finish = Compose(steps[:-2]), Compose(steps[-2:])
    collator = BBoxAugCollator() if raw else BatchCollator(cfg.DATALOADER.SIZE_DIVISIBILITY)
    filter_empty = own.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    cache = own.DATALOADER.ANNOTATION_CACHE
    is_one = is_train or is_for_period
    built = build_dataset(
        names, transforms, catalog_of(cfg), is_one, filter_empty and is_train, cache, cfg.MODEL.KEYPOINT_ON
    )
    for dataset in built:
        fit_labels(cfg, dataset)
    if is_train and cfg.OUTPUT_DIR:
        save_labels([part for whole in built for part in getattr(whole, "datasets", [whole])], cfg.OUTPUT_DIR)
    loaders: list[DataLoader] = []
    for dataset, own_names in zip(built, [[n] for n in names] if len(built) == len(names) else [names], strict=True):
        name, check = " + ".join(own_names), make_item_check(cfg, dataset, is_train, raw)
        check_data_set(cfg, dataset, name, is_train)
        check_sample(dataset, own_names, check)
        if is_train and filter_empty:
            say_empty(dataset, name)
        if finish is not None:
            check_masks(dataset, name, "INPUT.COPY_PASTE_PROB is above 0; set it to 0")
        batches = make_batch_data_sampler(
            dataset,
            _sampler(cfg, dataset, is_train, is_distributed),
            cfg.DATALOADER.ASPECT_RATIO_GROUPING and is_train,
            images_per_process,
            _batches(cfg) if is_train else None,
            start_iter * accumulate,
        )
        loaders.append(
            GuardedLoader(
                dataset,
                source=None if finish is None else CopyPasteDataset(dataset, finish, own.INPUT.COPY_PASTE_PROB),
                max_broken=own.DATALOADER.MAX_BROKEN_IMAGES,
                replace=is_train,
                names=own_names,
                check=check,
                batch_sampler=batches,
                seed=max(own.SEED, 0) if is_train else None,
                num_workers=cfg.DATALOADER.NUM_WORKERS,
                prefetch_factor=_prefetch_factor(cfg),
                collate_fn=collator,
                pin_memory=cfg.MODEL.DEVICE.startswith("cuda") and torch.cuda.is_available(),
            )
        )
    return loaders[0] if is_one else loaders
