"""A folder that says where detections go wrong: figures, curves, and the worst of what was missed and made up."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskrcnn_benchmark.analysis import errors
from maskrcnn_benchmark.analysis.errors import Errors, confusion_matrix, find_errors, size_of
from maskrcnn_benchmark.config.areas import NO_LIMIT, Areas
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import AUTO, use_coco_evaluator
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import evaluate_predictions_on_coco
from maskrcnn_benchmark.utils.files import write_json, write_text
from maskrcnn_benchmark.utils.wording import counted

FILES = ("report.md", "errors.json", "errors.png", "curves.png", "confusion.png", "missed.jpg", "false_positives.jpg")


@dataclasses.dataclass
class Report:
    """What is known of the detections on a data set.

    Attributes:
        costs, counts: by the name of an error and of a size ("" for all): what AP at IoU 0.5 would gain, and how many there are.
        curves: precision at IoU 0.5 for recall 0 to 1 in steps of 0.01, by the name of a size ("" for all) or of a category.
        found: by the name of a size ("" for all) the objects, those found, and the precision of what is at least `threshold`.
    """

    errors: Errors
    names: list[str]
    areas: Areas
    threshold: float
    metrics: dict[str, float]
    costs: dict[str, dict[str, float]]
    counts: dict[str, dict[str, int]]
    found: dict[str, dict[str, float]]
    curves: dict[str, list[float]]
    class_curves: dict[str, list[float]]
    confusion: np.ndarray

    def missed_objects(self) -> np.ndarray:
        """Numbers of the objects not found at `threshold`: first those with least trace of a detection, of these the largest."""
        objects = self.errors.objects
        missed = np.flatnonzero((objects.score < self.threshold) | (objects.score == 0))
        return missed[np.lexsort((-objects.area[missed], objects.score[missed]))]

    def false_positives(self) -> np.ndarray:
        """Numbers of the detections from `threshold` on that are wrong, the surest first."""
        found = self.errors.detections
        wrong = np.flatnonzero((found.kind > errors.CORRECT) & (found.score >= self.threshold))
        return wrong[np.argsort(-found.score[wrong], kind="stable")]


def examine(truth: Any, results: Sequence[dict], task: str, areas: Areas, threshold: float | None = None) -> Report:
    """Compare detections with annotations.

    Args:
        truth: pycocotools' tree of the annotations, as `load_coco` gives it.
        results: COCO results with "bbox" or, for the task "segm", "segmentation".
        threshold: the score from which a detection counts in the confusion matrix and among the worst; default: where F1
            is largest.

    Raises ValueError for results of images or categories that the annotations lack.
    """
    _check(truth, results)
    found = find_errors(truth, results, task)
    threshold = found.best_threshold() if threshold is None else threshold
    ids = found.categories
    names = [str(truth.cats[id]["name"]) for id in ids]
    with use_coco_evaluator(AUTO, areas=areas):
        measured = evaluate_predictions_on_coco(truth, [dict(r) for r in results], None, task)
    precision = measured.eval["precision"][0, :, :, :, -1]  # recalls x categories x areas
    sizes = {"": None, **{name: (low, high) for name, low, high in areas}}
    order = [list(measured.params.catIds).index(id) for id in ids]
    return Report(
        found,
        names,
        areas,
        threshold,
        measured.metrics,
        {label: {size: found.cost(kind, area) for size, area in sizes.items()} for kind, label in errors.NAMES.items()},
        {
            label: {size: len(found.of_kind(kind, area)) for size, area in sizes.items()}
            for kind, label in errors.NAMES.items()
        },
        {size: _found(found, threshold, area) for size, area in sizes.items()},
        {size: _mean_curve(precision[:, :, number]) for number, size in enumerate(sizes)},
        {name: _mean_curve(precision[:, [k], 0]) for name, k in zip(names, order, strict=True)},
        confusion_matrix(truth, results, threshold, task),
    )


def _check(truth: Any, results: Sequence[dict]) -> None:
    for key, known in (("image_id", truth.imgs), ("category_id", truth.cats)):
        unknown = next((entry[key] for entry in results if entry[key] not in known), None)
        if unknown is not None:
            raise ValueError(
                f"The results have the {key} {unknown!r}, which the annotations lack: they are of another data set."
            )


def _mean_curve(precision: np.ndarray) -> list[float]:
    """The mean over the categories that could be measured, [recalls, categories]; empty without any."""
    measured = precision[:, (precision > -1).all(axis=0)]
    return measured.mean(axis=1).tolist() if measured.size else []


def _found(found: Errors, threshold: float, area: tuple[float, float] | None) -> dict[str, float]:
    low, high = area or (0, np.inf)
    objects = (found.objects.area >= low) & (found.objects.area < high)
    hits = objects & (found.objects.score >= threshold) & (found.objects.score > 0)
    detections = found.detections
    sizes = found.concerned_area()
    counted_ones = (
        (detections.kind >= errors.CORRECT) & (detections.score >= threshold) & (sizes >= low) & (sizes < high)
    )
    correct = counted_ones & (detections.kind == errors.CORRECT)
    return {
        "objects": int(objects.sum()),
        "found": int(hits.sum()),
        "recall": float(hits.sum()) / float(objects.sum()) if objects.any() else -1.0,
        "precision": float(correct.sum()) / float(counted_ones.sum()) if counted_ones.any() else -1.0,
    }


def as_dict(report: Report) -> dict:
    """For JSON. Numbers are fractions of one, costs in AP at IoU 0.5."""
    return {
        "ap50": report.errors.ap(),
        "metrics": report.metrics,
        "areas": [list(area) for area in report.areas],
        "threshold": report.threshold,
        "found": _named(report.found),
        "cost": {label: _named(of) for label, of in report.costs.items()},
        "count": {label: _named(of) for label, of in report.counts.items()},
        "precision_by_recall": _named(report.curves),
        "precision_by_recall_of_class": report.class_curves,
        "confusion": {"rows_true_columns_detected": [*report.names, "none"], "matrix": report.confusion.tolist()},
    }


def _named(by_size: dict[str, Any]) -> dict[str, Any]:
    return {size or "all": value for size, value in by_size.items()}


def as_markdown(report: Report) -> str:
    """The report as a page that shows the pictures beside it."""
    sizes = ["", *(name for name, _, _ in report.areas)]
    head = f"| | {' | '.join(size or 'all' for size in sizes)} |\n|---{'|---' * len(sizes)}|"
    lines = [
        "# Errors of detections",
        "",
        f"AP {_percent(report.metrics['AP'])}, AP50 {_percent(report.metrics['AP50'])}. "
        f"From a score of {report.threshold:.3f} on:",
        "",
        head,
    ]
    for key in ("objects", "found"):
        lines.append(f"| {key} | {' | '.join(f'{report.found[size][key]:,}' for size in sizes)} |")
    for key in ("recall", "precision"):
        lines.append(f"| {key} | {' | '.join(_percent(report.found[size][key]) for size in sizes)} |")
    lines += [
        "",
        f"Sizes in square pixels: {'; '.join(_range(*area) for area in report.areas)}.",
        "",
        "## What each kind of error costs",
        "",
        "What AP50 would gain, in points, if the errors of a kind were mended, and in brackets how many there are, "
        "whatever their score (the types of TIDE).",
        "",
        head,
    ]
    for label, of in report.costs.items():
        cells = (f"{100 * of[size]:.1f} ({report.counts[label][size]:,})" for size in sizes)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines += ["", "![costs](errors.png)", "", "## Precision and recall", "", "![curves](curves.png)", ""]
    lines += ["## What is taken for what", "", "![confusion](confusion.png)", ""]
    lines += [
        "Below, annotated objects are blue, detections orange, and the one that a picture is about pink, with its width "
        "and height in pixels.",
        "",
    ]
    worst = (
        ("missed.jpg", "Objects that are missed", len(report.missed_objects())),
        ("false_positives.jpg", "False positives", len(report.false_positives())),
    )
    for file, title, count in worst:
        lines += [f"## {title}", "", f"There are {count:,}."]
        lines += ["", f"![{title}]({file})", ""] if count else [""]
    return "\n".join(lines)


def _range(name: str, low: float, high: float) -> str:
    return f"{name} {low:,.0f} and more" if high >= NO_LIMIT else f"{name} {low:,.0f} to {high:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if share >= 0 else "-"


def write_report(report: Report, read_image: Any, truth: Any, folder: str, most: int = 24) -> None:
    """Write FILES.

    Args:
        read_image: image id -> uint8 [H, W, 3], BGR.
        most: crops of each size in a sheet.
    """
    from maskrcnn_benchmark.visualization.crops import Crop, crop_sheet
    from maskrcnn_benchmark.visualization.error_plots import plot_confusion, plot_costs, plot_curves

    write_json(os.path.join(folder, "errors.json"), as_dict(report))
    write_text(os.path.join(folder, "report.md"), as_markdown(report))
    plot_costs(report.costs, report.counts, os.path.join(folder, "errors.png"))
    plot_curves(report.curves, report.class_curves, os.path.join(folder, "curves.png"))
    plot_confusion(report.confusion, report.names, report.threshold, os.path.join(folder, "confusion.png"))
    found, objects = report.errors.detections, report.errors.objects
    by_image: dict[Any, list[int]] = {}
    for number in np.flatnonzero(found.score >= report.threshold).tolist():
        by_image.setdefault(found.entries[number]["image_id"], []).append(number)

    def crop(entry: dict, category: int, area: float, score: float, said: str, is_missed: bool) -> Crop:
        others = [
            found.entries[i]["bbox"] for i in by_image.get(entry["image_id"], []) if found.entries[i] is not entry
        ]
        true = [
            a["bbox"] for a in truth.imgToAnns.get(entry["image_id"], []) if a is not entry and not a.get("iscrowd")
        ]
        title = f"{report.names[category]} {score:.2f}" if score else report.names[category]
        return Crop(entry["image_id"], entry["bbox"], title, said, size_of(area, report.areas), true, others, is_missed)

    missed = [
        crop(objects.entries[i], objects.category[i], objects.area[i], 0.0, _trace(objects.score[i]), True)
        for i in report.missed_objects().tolist()
    ]
    areas = report.errors.concerned_area()
    wrong = [
        crop(found.entries[i], found.category[i], areas[i], found.score[i], errors.NAMES[found.kind[i]], False)
        for i in report.false_positives().tolist()
    ]
    order = [name for name, _, _ in report.areas]
    crop_sheet(missed, order, read_image, os.path.join(folder, "missed.jpg"), most)
    crop_sheet(wrong, order, read_image, os.path.join(folder, "false_positives.jpg"), most)


def _trace(score: float) -> str:
    return f"found at {score:.2f}" if score else "not found"


def summary(report: Report) -> str:
    """A line for each kind of error, the costliest first."""
    ranked = sorted(report.costs, key=lambda label: -report.costs[label][""])
    lines = [
        f"  {label:<16}{100 * report.costs[label]['']:5.1f} points of AP50, {counted(report.counts[label][''], 'error')}"
        for label in ranked
    ]
    return "\n".join(lines)
