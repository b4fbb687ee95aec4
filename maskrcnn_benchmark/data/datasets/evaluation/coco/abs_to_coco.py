"""Any data set's objects as COCO annotations."""

import copy
import multiprocessing
import os
import pickle
from typing import Any

import pycocotools.mask as mask_utils
import torch

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.evaluation.rles import masks_to_rles, rles_of_objects
from maskrcnn_benchmark.data.datasets.facts import class_names, groundtruth, has_annotations
from maskrcnn_benchmark.utils.progress_bar import progress_bar

__all__ = ["convert_abstract_to_coco", "masks_to_rles", "process_single_image"]


def convert_abstract_to_coco(dataset: AbstractDataset, num_workers: int | None = None, chunksize: int = 100) -> dict:
    """COCO's JSON as a dictionary: category ids are the labels, image ids the positions in the data set.

    A set without annotations has no "annotations". Objects marked as difficult become crowds, so that they count neither
    when they are found nor when they are missed.

    Args:
        dataset: its `get_groundtruth` gives the objects, or its items do.
        num_workers: processes; None for as many as there are cores, 0 for this one alone. A data set that cannot be
            pickled is converted in this process too.
        chunksize: images that a process takes at a time; sets of no more are converted in this process.
    """
    plain = copy.copy(dataset)
    plain.transforms = None  # not needed, and often not to be pickled
    jobs = [(plain, index) for index in range(len(dataset))]
    workers = (os.cpu_count() or 1) if num_workers is None else num_workers
    if workers > 1 and len(jobs) > chunksize and _can_be_pickled(plain):
        # One thread each: a forked process cannot use the thread pool of its parent.
        with multiprocessing.Pool(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            results = pool.imap(process_single_image, jobs, chunksize)
            converted = list(progress_bar(results, total=len(jobs), desc="converting", unit="image"))
    else:
        converted = [process_single_image(job) for job in progress_bar(jobs, desc="converting", unit="image")]
    content: dict[str, Any] = {
        "info": {"description": f"converted from a {type(dataset).__name__}"},
        "images": [image for image, _ in converted],
        "categories": [{"id": label, "name": name} for label, name in class_names(dataset).items()],
    }
    if has_annotations(dataset):
        annotations = [annotation for _, of_image in converted for annotation in of_image]
        content["annotations"] = [{"id": i, **annotation} for i, annotation in enumerate(annotations, start=1)]
    return content


def _can_be_pickled(dataset: AbstractDataset) -> bool:
    """Classes defined inside functions, for example, cannot go to another process."""
    try:
        pickle.dumps(dataset)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def process_single_image(args: tuple[AbstractDataset, int]) -> tuple[dict, list[dict]]:
    """(data set, index) -> COCO's entry of the image, and those of its objects without their ids."""
    dataset, index = args
    info = dataset.get_img_info(index)
    size = (info["width"], info["height"])
    image = {"id": index, "width": size[0], "height": size[1], "file_name": info.get("file_name", str(index))}
    if not has_annotations(dataset):
        return image, []
    objects = groundtruth(dataset, index)
    if tuple(objects.size) != size:
        raise ValueError(
            f"{type(dataset).__name__}: image {index} has the size {size} (get_img_info), but its objects lie in one of "
            f"{tuple(objects.size)}; get_groundtruth gives them untransformed."
        )
    boxes = objects.convert("xywh").bbox.tolist()
    crowds = objects.get_field("difficult").tolist() if objects.has_field("difficult") else [False] * len(boxes)
    rles = rles_of_objects(objects)
    areas = [float(w * h) for *_, w, h in boxes] if rles is None else [float(mask_utils.area(rle)) for rle in rles]
    annotations = []
    for i, label in enumerate(objects.get_field("labels").tolist()):
        annotation = {"image_id": index, "category_id": label, "bbox": boxes[i], "area": areas[i]}
        annotation["iscrowd"] = int(crowds[i])
        if rles is not None:
            annotation["segmentation"] = rles[i]
        annotations.append(annotation)
    return image, annotations
