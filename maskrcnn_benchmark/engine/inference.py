"""Detection on whole data sets."""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.engine.bbox_aug import BoxAugmentation, make_box_augmentation
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import Masker
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils import comm
from maskrcnn_benchmark.utils.miscellaneous import write_atomically
from maskrcnn_benchmark.utils.timer import Timer, get_time_str


def to_original_image(prediction: BoxList, width: int, height: int, masker: Masker | None = None) -> BoxList:
    """Detections on the host, in the pixels of the image as it is on the disk; masks as the field "rle" (COCO's RLE).

    Masks are encoded here, where they were made: full-size bitmaps of a data set would not fit into memory.
    """
    prediction = prediction.resize((width, height))
    if prediction.has_field("mask"):
        rles = (masker or Masker()).encode(prediction.get_field("mask"), prediction)
        others = [name for name in prediction.fields() if name != "mask"]
        prediction = prediction.copy_with_fields(others).to("cpu")
        prediction.add_field("rle", rles)
        return prediction
    return prediction.to("cpu")


def compute_on_dataset(
    model: nn.Module,
    data_loader,
    device: torch.device,
    bbox_aug: bool | BoxAugmentation,
    timer: Timer | None = None,
) -> dict[int, BoxList]:
    """Detections for each image of this process's share, by index. Images that could not be read are missing.

    With `bbox_aug` the loader gives PIL images; True stands for what the global configuration describes.
    """
    augmentation = make_box_augmentation(cfg) if bbox_aug is True else bbox_aug
    model.eval()
    dataset = getattr(data_loader.dataset, "dataset", data_loader.dataset)
    results: dict[int, BoxList] = {}
    watched = comm.is_main_process() and sys.stderr.isatty()
    for batch in tqdm(data_loader, desc="testing", unit="batch", disable=not watched):
        if batch is None:
            continue
        images, _, indices = batch
        if timer is not None:
            timer.tic()
        with torch.inference_mode():
            predictions = augmentation.detect(model, images, device) if augmentation else model(images.to(device))
            if device.type == "cuda" and timer is not None:
                torch.cuda.synchronize(device)
        if timer is not None:
            timer.toc()
        for index, prediction in zip(indices, predictions, strict=True):
            info = dataset.get_img_info(index)
            results[index] = to_original_image(prediction, info["width"], info["height"])
    return results


def _gather_predictions(predictions: dict[int, BoxList], dataset) -> list[BoxList] | None:
    """The predictions of all processes in the order of the data set, on the main process."""
    shares = comm.gather(predictions)
    if shares is None:
        return None
    merged = {index: prediction for share in shares for index, prediction in share.items()}
    missing = [i for i in range(len(dataset)) if i not in merged]
    if missing:
        logging.getLogger(__name__).warning(
            "%d images have no predictions and count as empty, for example %s.",
            len(missing),
            dataset.get_img_info(missing[0]).get("file_name", missing[0]),
        )
    for index in missing:
        info = dataset.get_img_info(index)
        merged[index] = _no_detections(info["width"], info["height"])
    return [merged[i] for i in range(len(dataset))]


def _no_detections(width: int, height: int) -> BoxList:
    empty = BoxList(torch.zeros(0, 4), (width, height))
    empty.add_field("scores", torch.zeros(0))
    empty.add_field("objectness", torch.zeros(0))
    empty.add_field("labels", torch.zeros(0, dtype=torch.int64))
    empty.add_field("rle", [])
    return empty


def inference(
    model: nn.Module,
    data_loader,
    dataset_name: str,
    iou_types: Sequence[str] = ("bbox",),
    box_only: bool = False,
    bbox_aug: bool | BoxAugmentation = False,
    device: str | torch.device = "cuda",
    expected_results: Sequence = (),
    expected_results_sigma_tol: float = 4,
    output_folder: str | None = None,
    show: Callable[[Any, list[BoxList]], None] | None = None,
    coco_evaluator: str = "pycocotools",
) -> Any:
    """Detect on a data set and evaluate.

    With `output_folder`, predictions.pth and what the evaluation writes go there. `show` is called on the main process with
    the data set and the predictions of its images.

    Returns:
        What the data set's evaluation returns, on the main process; None on the others.
    """
    device = torch.device(device)
    logger = logging.getLogger("maskrcnn_benchmark.inference")
    dataset = getattr(data_loader.dataset, "dataset", data_loader.dataset)
    logger.info("Testing on %s (%d images)", dataset_name, len(dataset))
    timer = Timer()
    began = time.perf_counter()
    predictions = compute_on_dataset(model, data_loader, device, bbox_aug, timer)
    comm.synchronize()
    seconds = time.perf_counter() - began
    logger.info(
        "Testing took %s (%.4f s an image on %d processes; model alone %s)",
        get_time_str(seconds),
        seconds * comm.get_world_size() / max(len(dataset), 1),
        comm.get_world_size(),
        get_time_str(timer.total_time),
    )
    gathered = _gather_predictions(predictions, dataset)
    if gathered is None:
        return None
    if output_folder:
        os.makedirs(output_folder, exist_ok=True)
        write_atomically(os.path.join(output_folder, "predictions.pth"), lambda f: torch.save(gathered, f))
    if show is not None:
        show(dataset, gathered)
    options = {"evaluator": coco_evaluator} if getattr(dataset, "evaluator", "") == "coco" else {}
    return evaluate(
        dataset=dataset,
        predictions=gathered,
        output_folder=output_folder,
        box_only=box_only,
        iou_types=tuple(iou_types),
        expected_results=expected_results,
        expected_results_sigma_tol=expected_results_sigma_tol,
        **options,
    )
