"""Detection on whole data sets."""

import contextlib
import logging
import os
import time
from typing import Any

import torch
from torch import nn

from maskrcnn_benchmark.engine.bbox_aug import im_detect_bbox_aug
from maskrcnn_benchmark.engine.results import gather_predictions
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.files import write_atomically
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.timer import Timer, get_time_str
from maskrcnn_benchmark.utils.wording import counted


def compute_on_dataset(
    model: nn.Module,
    data_loader,
    device: torch.device,
    bbox_aug: Any = False,
    timer: Timer | None = None,
) -> dict[int, BoxList]:
    """Detections for each image of this process's share, by index. Images that could not be read are missing.

    They are in the pixels of the network's input, as the model gives them. With `bbox_aug` (test-time augmentation as the
    global configuration describes it, or a function of model, images and device) the loader gives PIL images.
    """
    if not isinstance(bbox_aug, bool) and not callable(bbox_aug):  # until September 2019 the timer stood in this place
        bbox_aug, timer = False, bbox_aug
    model.eval()
    host = torch.device("cpu")
    results: dict[int, BoxList] = {}
    for batch in progress_bar(data_loader, desc="testing", unit="batch"):
        if batch is None:
            continue
        images, _, indices = batch
        if timer is not None:
            timer.tic()
        with torch.no_grad():
            if bbox_aug:
                detect = bbox_aug if callable(bbox_aug) else im_detect_bbox_aug
                predictions = detect(model, images, device)
            else:
                predictions = model(images.to(device))
            if device.type == "cuda" and timer is not None:
                torch.cuda.synchronize(device)
        if timer is not None:
            timer.toc()
        results.update(zip(indices, (prediction.to(host) for prediction in predictions), strict=True))
    return results


def _accumulate_predictions_from_multiple_gpus(predictions_per_gpu: dict[int, BoxList]) -> list[BoxList] | None:
    """The predictions of all processes in the order of their indices, on the main process; for forks."""
    shares = distributed.gather(predictions_per_gpu)
    if shares is None:
        return None
    merged = {index: prediction for share in shares for index, prediction in share.items()}
    return [merged[index] for index in sorted(merged)]


def detect_on(
    model: nn.Module,
    data_loader,
    dataset_name: str,
    bbox_aug: Any,
    device: torch.device,
    output_folder: str | None,
) -> list[BoxList] | None:
    """Detections in the order of the data set, on the main process; None on the others.

    They are in pixels of the network's input; with `output_folder` they are written there, to predictions.pth.
    """
    logger = logging.getLogger("maskrcnn_benchmark.inference")
    dataset = data_loader.dataset
    logger.info("Testing on %s (%s)", dataset_name or type(dataset).__name__, counted(len(dataset), "image"))
    timer = Timer()
    began = time.perf_counter()
    predictions = compute_on_dataset(model, data_loader, device, bbox_aug, timer)
    distributed.synchronize()
    seconds = time.perf_counter() - began
    logger.info(
        "Testing took %s (%.4f s an image on %s; model alone %s)",
        get_time_str(seconds),
        seconds * distributed.get_world_size() / max(len(dataset), 1),
        counted(distributed.get_world_size(), "process", "processes"),
        get_time_str(timer.total_time),
    )
    gathered = gather_predictions(predictions, dataset)
    if gathered is not None and output_folder:
        _save(gathered, os.path.join(output_folder, "predictions.pth"))
    return gathered


def _save(predictions: list[BoxList], path: str) -> None:
    """Write the predictions; where that fails it is said, and they are evaluated all the same."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomically(path, lambda f: torch.save(predictions, f))
    except OSError as error:
        logging.getLogger("maskrcnn_benchmark.inference").error("%s could not be written: %s", path, error)
        with contextlib.suppress(OSError):
            os.remove(path)  # of a test before
