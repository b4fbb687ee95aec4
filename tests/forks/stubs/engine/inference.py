"""A fork's own test loop."""

import os

import torch
from tqdm import tqdm

from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.engine.bbox_aug import im_detect_bbox_aug
from maskrcnn_benchmark.utils.comm import all_gather, is_main_process, synchronize
from maskrcnn_benchmark.utils.timer import Timer, get_time_str


def compute_on_dataset(model, data_loader, device, bbox_aug, timer=None):
    model.eval()
    results = {}
    for images, _, image_ids in tqdm(data_loader):
        if timer:
            timer.tic()
        with torch.no_grad():
            found = im_detect_bbox_aug(model, images, device) if bbox_aug else model(images.to(device))
        if timer:
            timer.toc()
        for image_id, boxes in zip(image_ids, found, strict=True):
            results[image_id] = boxes.to(torch.device("cpu"))
    return results


def _accumulate_predictions_from_multiple_gpus(predictions_per_gpu):
    shares = all_gather(predictions_per_gpu)
    if not is_main_process():
        return None
    merged = {}
    for share in shares:
        merged.update(share)
    return [merged[index] for index in sorted(merged)]


def inference(
    model,
    data_loader,
    dataset_name,
    iou_types=("bbox",),
    box_only=False,
    bbox_aug=False,
    device="cuda",
    expected_results=(),
    expected_results_sigma_tol=4,
    output_folder=None,
):
    timer = Timer()
    results = compute_on_dataset(model, data_loader, torch.device(device), bbox_aug, timer)
    synchronize()
    print(dataset_name, len(data_loader.dataset), "images", get_time_str(timer.total_time))
    predictions = _accumulate_predictions_from_multiple_gpus(results)
    if not is_main_process():
        return None
    if output_folder:
        torch.save(predictions, os.path.join(output_folder, "predictions.pth"))
    return evaluate(
        dataset=data_loader.dataset,
        predictions=predictions,
        output_folder=output_folder,
        box_only=box_only,
        iou_types=iou_types,
        expected_results=expected_results,
        expected_results_sigma_tol=expected_results_sigma_tol,
    )
