"""How well a detector finds the objects of Relations, by what it takes to find them: context, and which."""

from __future__ import annotations

import contextlib
import copy
import io
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from enl_paper.outcome import overlaps
from enl_paper.relations import DECIDED_PAIRS
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import evaluate_predictions_on_coco

# group -> the roles in it (relations/spec.py)
GROUPS: dict[str, tuple[str, ...]] = {
    "all": ("alone", "repeated", "decided", "decider"),
    "repeated": ("repeated",),
    "degraded": ("repeated",),
    "decided": ("decided",),
    "context-free": ("alone", "decider"),
}
METRICS = tuple(f"{group} {metric}" for group in GROUPS for metric in ("AP", "APs")) + ("pair accuracy",)
ABOUT = {
    "all": "all categories",
    "repeated": "categories that come in groups",
    "degraded": "of these only the small, pale members that nothing but their group tells from clutter",
    "decided": "categories whose class a large object elsewhere in the image decides",
    "context-free": "categories that their own look tells",
    "pair accuracy": "share of the decided objects found (IoU 0.5) whose best-scored detection has the right class of the two",
}


def role_figures(ann_file: str, detections: list[dict]) -> dict[str, float]:
    """METRICS of detections in COCO's format, percent: mean AP (IoU 0.50 to 0.95) over the categories of each group.

    NaN where a group has no object. "degraded" neither rewards nor punishes detections of the clear members.
    """
    truth = load_coco(ann_file)
    evaluations = {False: evaluate_predictions_on_coco(truth, detections, None)}
    evaluations[True] = evaluate_predictions_on_coco(_degraded_alone(truth), detections, None)
    figures: dict[str, float] = {}
    for group, roles in GROUPS.items():
        evaluation = evaluations[group == "degraded"]
        chosen = [k for k, i in enumerate(evaluation.params.catIds) if truth.cats[i]["role"] in roles]
        for metric, area in (("AP", "all"), ("APs", "small")):
            # [IoU threshold, recall, category, area, detections an image]
            precision = evaluation.eval["precision"][:, :, chosen, evaluation.params.areaRngLbl.index(area), -1]
            known = precision[precision > -1]
            figures[f"{group} {metric}"] = 100 * float(known.mean()) if known.size else float("nan")
    figures["pair accuracy"] = pair_accuracy(truth, detections)
    return figures


def _degraded_alone(truth: COCO) -> COCO:
    """The same set with the clear members of groups as crowds, which COCO ignores."""
    content = copy.deepcopy(truth.dataset)
    for annotation in content["annotations"]:
        if not annotation["degraded"]:
            annotation["iscrowd"] = 1
    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def pair_accuracy(truth: COCO, detections: list[dict]) -> float:
    """Percent of the decided objects that are found at all whose best-scored detection, of either class of their pair, has the
    right one. Without context no detector does better than chance, 50."""
    names = {c["name"]: c["id"] for c in truth.dataset["categories"]}
    partner: dict[int, frozenset[int]] = {}
    for categories in DECIDED_PAIRS.values():
        pair = frozenset(names[decided] for decided, _ in categories)
        partner.update(dict.fromkeys(pair, pair))
    by_image: dict[int, list[dict]] = defaultdict(list)
    for detection in detections:
        if detection["category_id"] in partner:
            by_image[detection["image_id"]].append(detection)
    right = found = 0
    for annotation in truth.anns.values():
        pair_of = partner.get(annotation["category_id"])
        if pair_of is None:
            continue
        of_pair = [d for d in by_image[annotation["image_id"]] if d["category_id"] in pair_of]
        near = [d for d, iou in zip(of_pair, overlaps(of_pair, [annotation])[:, 0], strict=True) if iou >= 0.5]
        if near:
            found += 1
            right += max(near, key=lambda d: d["score"])["category_id"] == annotation["category_id"]
    return 100 * right / found if found else float("nan")


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (NaN for a single value)."""
    array: Any = np.asarray(values, np.float64)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else float("nan")
