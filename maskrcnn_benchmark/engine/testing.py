"""Tests: detection on a data set, and its evaluation."""

import difflib
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.config.unread import warn_of_unread
from maskrcnn_benchmark.data.catalog import dataset_catalog, dataset_class
from maskrcnn_benchmark.data.datasets import evaluation
from maskrcnn_benchmark.data.datasets.evaluation.build import evaluate, make_evaluator
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import use_coco_evaluator
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import (
    EvaluationResult,
    check_expected,
    evaluated,
    is_named,
    percent_note,
)
from maskrcnn_benchmark.data.datasets.evaluation.functions import FunctionEvaluator, result_of
from maskrcnn_benchmark.data.datasets.facts import has_annotations
from maskrcnn_benchmark.data.labels import match_labels
from maskrcnn_benchmark.data.registries import EVALUATORS
from maskrcnn_benchmark.data.size_checks import detections_key, detections_limit
from maskrcnn_benchmark.engine import detection, inference
from maskrcnn_benchmark.engine.errors import EvaluationError
from maskrcnn_benchmark.engine.precision import autocast
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.wording import counted, listed

logger = logging.getLogger("maskrcnn_benchmark.inference")


def check_evaluators(cfg: CfgNode) -> None:
    """Raise ConfigError where the class of a data set of DATASETS.TEST names an evaluator that there is not: after a training it
    would be too late. No annotations are read."""
    for name in cfg.DATASETS.TEST if _is_own() else ():
        kind = _dataset_class(cfg, name)
        named = getattr(kind, "evaluator", None)
        if named and isinstance(named, str) and named not in EVALUATORS:
            known = ", ".join(sorted(EVALUATORS))
            raise ConfigError(
                f"The data set {name} cannot be tested: {kind.__name__} has the evaluator {named!r}; there are {known}."
            )


def check_best_metric(cfg: CfgNode) -> None:
    """Raise ConfigError for a TEST.BEST_METRIC that no evaluator of DATASETS.TEST gives, which the first test of a training would
    be the first to say. Where an evaluator's metrics are not known beforehand nothing is said. No annotations are read."""
    own = options(cfg).TEST
    if not own.BEST_METRIC or not _is_own():
        return
    found: list[str] = []
    for name in cfg.DATASETS.TEST:
        evaluator = getattr(_dataset_class(cfg, name), "evaluator", None)
        kind = EVALUATORS.get(evaluator) if isinstance(evaluator, str) else None
        names = getattr(kind, "metric_names", lambda *_: None)
        with use_coco_evaluator(own.COCO_EVALUATOR, own.COCO_MAX_DETECTIONS, own.KEYPOINT_OKS_SIGMAS, own.COCO_AREAS):
            metrics = names(_tasks(cfg), _has_proposals(cfg))
        if metrics is None:
            return
        found += [f"{name}/{metric}" for metric in metrics]
    if found and not any(is_named(metric, own.BEST_METRIC) for metric in found):
        close = difflib.get_close_matches(own.BEST_METRIC, _tails(found), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(
            f"TEST.BEST_METRIC {own.BEST_METRIC!r} is none of the metrics of DATASETS.TEST.{hint} There are: {listed(found, 40)}."
        )


def _dataset_class(cfg: CfgNode, name: str) -> type:
    """The class of a data set; the catalog, which may convert annotations, is not asked where the configuration says it."""
    entry = options(cfg).DATASETS.DEFINITIONS.get(name)
    if isinstance(entry, dict) and entry.get("FACTORY", "COCODataset") == "COCODataset":
        return dataset_class("COCODataset")
    return dataset_class(dataset_catalog(cfg).get(name)["factory"])


def _tails(metrics: Sequence[str]) -> list[str]:
    """The names that metrics may be given by: all of "mine/bbox/AP", "bbox/AP" and "AP"."""
    return list(
        {"/".join(parts[start:]): None for m in metrics for parts in [m.split("/")] for start in range(len(parts))}
    )


def _tasks(cfg: CfgNode) -> tuple[str, ...]:
    switches = {"bbox": True, "segm": cfg.MODEL.MASK_ON, "keypoints": cfg.MODEL.KEYPOINT_ON}
    return tuple(task for task, is_on in switches.items() if is_on)


def _has_proposals(cfg: CfgNode) -> bool:
    return cfg.MODEL.RPN_ONLY and not cfg.MODEL.RETINANET_ON


def _is_own() -> bool:
    """Whether tests are this package's, and no function in them a fork's."""
    is_own = getattr(inference.inference, "is_own", False) and getattr(inference, "evaluate", None) is evaluate
    return is_own and evaluation.evaluate is evaluate


def evaluate_model(
    cfg: CfgNode,
    model: nn.Module,
    data_loader: Any,
    dataset_name: str,
    device: torch.device,
    output_folder: str | None = None,
    bbox_aug: Any = False,
    seen: list[BoxList] | None = None,
) -> EvaluationResult | None:
    """Detect on a data set and evaluate as it names it (see `make_evaluator`).

    With `bbox_aug`, test-time augmentation or a function of model, PIL images and device, the loader gives PIL images.
    With `output_folder`, predictions.pth (a BoxList an image, in pixels of the network's input), metrics.json and what the
    evaluation writes go there. `seen`, if given, is filled with the predictions, on the main process.

    Returns:
        The results, on the main process; None on the others.

    Raises EvaluationError where there are detections but no results.
    """
    tasks, proposals = _tasks(cfg), _has_proposals(cfg)
    expected = cfg.TEST.EXPECTED_RESULTS, cfg.TEST.EXPECTED_RESULTS_SIGMA_TOL
    if not proposals:
        match_labels(data_loader.dataset, getattr(model, "class_names", {}), dataset_name)
    own = options(cfg).TEST
    warn_of_unread(cfg, is_train=False)
    choices = own.COCO_EVALUATOR, own.COCO_MAX_DETECTIONS, own.KEYPOINT_OKS_SIGMAS, own.COCO_AREAS
    with autocast(cfg, device), use_coco_evaluator(*choices):
        if not _is_own():  # a fork's own do the whole test
            if callable(bbox_aug):
                raise ConfigError(
                    "INPUT.TILES needs this package's engine/inference.py, not a fork's; set its SIZE to 0."
                )
            returned = inference.inference(
                model,
                data_loader,
                dataset_name=dataset_name,
                iou_types=tasks,
                box_only=proposals,
                bbox_aug=bbox_aug,
                device=device,
                expected_results=expected[0],
                expected_results_sigma_tol=expected[1],
                output_folder=output_folder,
            )
            return None if returned is None else result_of(returned)
        evaluator = make_evaluator(data_loader.dataset, output_folder, tasks, proposals)
        predictions = detection.detect_on(model, data_loader, dataset_name, bbox_aug, device, output_folder)
        if predictions is None:
            return None
        if seen is not None:
            seen.extend(predictions)
        if not bbox_aug and not proposals:
            _say_capped(cfg, predictions, dataset_name)
        try:
            result = evaluated(evaluator, predictions)
            if output_folder and (result.scalars or has_annotations(data_loader.dataset)):
                result.write(output_folder)
        except Exception as error:  # of an evaluator that may be anyone's
            raise EvaluationError(f"The evaluation on {dataset_name} failed: {error}") from error
    if not result.scalars and has_annotations(data_loader.dataset):
        why = f"{type(evaluator).__name__}.evaluate returned no finite number"
        if isinstance(evaluator, FunctionEvaluator):
            why = "it has no objects of the model's classes"
        logger.warning("Nothing could be measured on %s: %s.", dataset_name, why)
    if result.metrics and not getattr(evaluator, "logs", False):
        note = percent_note(result.metrics, result.fractions)
        logger.info("%s%s:\n%s", dataset_name, note, result.table)
    check_expected(result.metrics, *expected)
    return result


def _say_capped(cfg: Any, predictions: list[BoxList], dataset_name: str) -> None:
    """Say how many images have as many detections as the configuration allows: perhaps there were more to find."""
    limit = detections_limit(cfg)
    capped = sum(len(prediction) >= limit for prediction in predictions) if limit else 0
    if capped:
        logger.warning(
            "%s: %s as many detections as %s (%d) lets through; with a larger number, those of lower scores would count too.",
            dataset_name,
            counted(capped, "image has", "images have"),
            detections_key(cfg),
            limit,
        )
