"""The numbers that COCO reports, from what COCOeval accumulated."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from maskrcnn_benchmark.config.areas import PRESETS
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import COCO_DETECTIONS, chosen
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import percent

COCO_LIMITS = (1, 10, COCO_DETECTIONS)  # of detections in an image
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR@1", "AR@10", "AR@100", "ARs", "ARm", "ARl")
# COCO labels no keypoints of small people.
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
PROPOSAL_METRICS = tuple(f"AR{size}@{n}" for n in (100, 1000) for size in ("", "s", "m", "l"))
PARAMETERS = ("iouType", "imgIds", "catIds", "iouThrs", "recThrs", "maxDets", "areaRng", "areaRngLbl")


def metric_names(tasks: Sequence[str], proposals: bool) -> list[str]:
    """What COCO measures of these tasks with what is chosen now, "bbox/AP" and so on."""
    if proposals:
        return [f"box_proposal/{name}" for name in PROPOSAL_METRICS]
    limits = ["", f"@{chosen().detections}"] if chosen().detections > COCO_DETECTIONS else [""]
    sizes = ["", *names_of(chosen().areas)]
    names = [
        f"{name}{limit}"
        for limit in limits
        for name in ("AP50", "AP75", *(f"{m}{s}" for m in ("AP", "AR") for s in sizes))
    ]
    names = [name for name in names if name != "AR"] + [f"AR@{limit}" for limit in COCO_LIMITS]
    return [f"{task}/{name}" for task in tasks for name in (KEYPOINT_METRICS if task == "keypoints" else names)]


class Evaluated:
    """A COCOeval that has accumulated, with `metrics`; everything else is the COCOeval's.

    Args:
        coco_eval: pycocotools' or one like it; its areas are "all" and those of `areas`.
        areas: the names of the others.

    Attributes:
        metrics: by name, fractions of one, -1 where there is nothing to measure. First COCO's own; those with more detections of
            an image than COCO counts have "@" and their number behind.
        params: the COCOeval's.
        stats: the values of COCO's own, in COCO's order.
        of_class: the same metrics of each category, in the order of `params.catIds`.
    """

    def __init__(self, coco_eval: Any, areas: Sequence[str]):
        self._coco_eval = coco_eval
        self.params = SimpleNamespace(**{name: getattr(coco_eval.params, name) for name in PARAMETERS})
        arrays = _Arrays(coco_eval, areas)
        self.metrics = arrays.metrics(slice(None))
        own = [name for name in self.metrics if "@" not in name or name in METRICS]
        self.stats = np.array([self.metrics[name] for name in own])
        self.of_class = [arrays.metrics([k]) for k in range(len(coco_eval.params.catIds))]

    def __getattr__(self, name: str) -> Any:
        if name == "_coco_eval":  # before it is there, when this is copied
            raise AttributeError(name)
        return getattr(self._coco_eval, name)


class _Arrays:
    """Means of precision [IoU thresholds, recalls, categories, areas, limits] and recall [IoU thresholds, categories, areas,
    limits]."""

    def __init__(self, coco_eval: Any, areas: Sequence[str]):
        self.precision, self.recall = (np.asarray(coco_eval.eval[name]) for name in ("precision", "recall"))
        self.areas = areas
        self.limits = list(coco_eval.params.maxDets)
        self.thresholds = np.asarray(coco_eval.params.iouThrs)
        self.is_keypoints = coco_eval.params.iouType == "keypoints"

    def metrics(self, categories: Any) -> dict[str, float]:
        if self.is_keypoints:
            return self._at(0, categories, "") | self._recalls(0, categories, "", by_threshold=True)
        own = len(COCO_LIMITS) - 1
        found = self._at(own, categories, "")
        for place, limit in enumerate(COCO_LIMITS):
            found[f"AR@{limit}"] = self._mean(self.recall[:, categories, 0, place])
        recalls = self._recalls(own, categories, "")
        found |= {name: value for name, value in recalls.items() if name != "AR"}
        for place in range(len(COCO_LIMITS), len(self.limits)):
            suffix = f"@{self.limits[place]}"
            found |= self._at(place, categories, suffix) | self._recalls(place, categories, suffix)
        return found

    def _at(self, place: int, categories: Any, suffix: str) -> dict[str, float]:
        values = {"AP": self.precision[:, :, categories, 0, place]}
        for share in (50, 75):
            values[f"AP{share}"] = self.precision[self._threshold(share)][:, :, categories, 0, place]
        for number, area in enumerate(self.areas, start=1):
            values[f"AP{area}"] = self.precision[:, :, categories, number, place]
        return {f"{name}{suffix}": self._mean(of) for name, of in values.items()}

    def _recalls(self, place: int, categories: Any, suffix: str, by_threshold: bool = False) -> dict[str, float]:
        values = {"AR": self.recall[:, categories, 0, place]}
        for share in (50, 75) if by_threshold else ():
            values[f"AR{share}"] = self.recall[self._threshold(share)][:, categories, 0, place]
        for number, area in enumerate(self.areas, start=1):
            values[f"AR{area}"] = self.recall[:, categories, number, place]
        return {f"{name}{suffix}": self._mean(of) for name, of in values.items()}

    def _threshold(self, share: int) -> np.ndarray:
        return np.where(np.isclose(self.thresholds, share / 100))[0]

    @staticmethod
    def _mean(values: np.ndarray) -> float:
        """COCO's: of what could be measured, -1 without anything."""
        measured = values[values > -1]
        return float(np.mean(measured)) if measured.size else -1.0


def names_of(areas: Sequence) -> list[str]:
    return [name for name, _, _ in areas]


def set_areas(params: Any, areas: Sequence) -> None:
    """Let a COCOeval measure these sizes; for COCO's its own stay."""
    if tuple(areas) != PRESETS["coco"]:
        params.areaRng = [params.areaRng[0], *([low, high] for _, low, high in areas)]
        params.areaRngLbl = ["all", *names_of(areas)]


def class_table(per_class: dict[str, dict[str, float]]) -> str:
    """A row a category: AP, AP50, AP by size and AR in percent."""
    if not per_class:
        return ""
    names = [n for n in next(iter(per_class.values())) if n != "AP75" and "@" not in n and not n.startswith("AR")]
    names.append("AR" if "AR" in next(iter(per_class.values())) else f"AR@{COCO_DETECTIONS}")
    width = max(len(name) for name in per_class)
    widths = [max(len(name), 6) for name in names]
    lines = [" " * width + "  " + "  ".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))]
    for category, values in per_class.items():
        cells = (f"{percent(values[n]):>{w}}" for n, w in zip(names, widths, strict=True))
        lines.append(f"{category:<{width}}  " + "  ".join(cells))
    return "\n".join(lines)
