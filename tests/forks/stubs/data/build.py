"""A fork's own loaders."""

import bisect

import torch.utils.data

from maskrcnn_benchmark.data import datasets as D
from maskrcnn_benchmark.data import samplers
from maskrcnn_benchmark.data.collate_batch import BatchCollator, BBoxAugCollator
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.utils.comm import get_world_size
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.miscellaneous import save_labels


def build_dataset(dataset_list, transforms, dataset_catalog, is_train=True):
    built = []
    for name in dataset_list:
        data = dataset_catalog.get(name)
        args = data["args"]
        args["transforms"] = transforms
        if data["factory"] == "COCODataset":
            args["remove_images_without_annotations"] = is_train
        if data["factory"] == "PascalVOCDataset":
            args["use_difficult"] = not is_train
        built.append(getattr(D, data["factory"])(**args))
    if is_train and len(built) > 1:
        return [D.ConcatDataset(built)]
    return built


def make_data_sampler(dataset, shuffle, distributed):
    if distributed:
        return samplers.DistributedSampler(dataset, shuffle=shuffle)
    if shuffle:
        return torch.utils.data.sampler.RandomSampler(dataset)
    return torch.utils.data.sampler.SequentialSampler(dataset)


def _quantize(x, bins):
    return [bisect.bisect_right(sorted(bins), value) for value in x]


def _compute_aspect_ratios(dataset):
    infos = [dataset.get_img_info(i) for i in range(len(dataset))]
    return [float(info["height"]) / float(info["width"]) for info in infos]


def make_batch_data_sampler(dataset, sampler, aspect_grouping, images_per_batch, num_iters=None, start_iter=0):
    if aspect_grouping:
        groups = _quantize(_compute_aspect_ratios(dataset), aspect_grouping)
        batches = samplers.GroupedBatchSampler(sampler, groups, images_per_batch, drop_uneven=False)
    else:
        batches = torch.utils.data.sampler.BatchSampler(sampler, images_per_batch, drop_last=False)
    if num_iters is not None:
        batches = samplers.IterationBasedBatchSampler(batches, num_iters, start_iter)
    return batches


def make_data_loader(cfg, is_train=True, is_distributed=False, start_iter=0, is_for_period=False):
    images = (cfg.SOLVER if is_train else cfg.TEST).IMS_PER_BATCH // get_world_size()
    catalog = import_file("maskrcnn_benchmark.config.paths_catalog", cfg.PATHS_CATALOG, True).DatasetCatalog
    names = cfg.DATASETS.TRAIN if is_train else cfg.DATASETS.TEST
    bbox_aug = cfg.TEST.BBOX_AUG.ENABLED and not is_train
    transforms = None if bbox_aug else build_transforms(cfg, is_train)
    built = build_dataset(names, transforms, catalog, is_train or is_for_period)
    if is_train:
        save_labels(built, cfg.OUTPUT_DIR)
    loaders = []
    for dataset in built:
        sampler = make_data_sampler(dataset, is_train or is_distributed, is_distributed)
        batches = make_batch_data_sampler(
            dataset,
            sampler,
            [1] if cfg.DATALOADER.ASPECT_RATIO_GROUPING else [],
            images,
            cfg.SOLVER.MAX_ITER if is_train else None,
            start_iter if is_train else 0,
        )
        loaders.append(
            torch.utils.data.DataLoader(
                dataset,
                num_workers=cfg.DATALOADER.NUM_WORKERS,
                batch_sampler=batches,
                collate_fn=BBoxAugCollator() if bbox_aug else BatchCollator(cfg.DATALOADER.SIZE_DIVISIBILITY),
            )
        )
    return loaders[0] if is_train or is_for_period else loaders
