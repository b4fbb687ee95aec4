"""What computes COCO's metrics, and the choices that its callers have: what evaluates is called with maskrcnn-benchmark's
arguments, which cannot say so."""

import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from maskrcnn_benchmark.config.areas import Areas, counted_detections, ranges

COCO_DETECTIONS = 100  # of an image, the best of a category: what COCO's own numbers count
AUTO = "auto"

# By the names that TEST.COCO_EVALUATOR may have: module and name of the classes COCO and COCOeval.
COCO_EVALUATORS = {
    "pycocotools": ("pycocotools.coco", "COCO", "pycocotools.cocoeval", "COCOeval"),
    "faster-coco-eval": ("faster_coco_eval", "COCO", "faster_coco_eval", "COCOeval_faster"),
    "hotcoco": ("hotcoco", "COCO", "hotcoco", "COCOeval"),
}


@dataclass(frozen=True)
class CocoChoices:
    """evaluator: a key of COCO_EVALUATORS. detections: that count of an image and category, beside COCO's 100; sigmas: of each
    keypoint for OKS, empty for COCO's; areas: of boxes and masks, name, lowest and highest."""

    evaluator: str = AUTO
    detections: int = COCO_DETECTIONS
    sigmas: tuple[float, ...] = ()
    areas: Areas = ranges(("coco",))


_chosen = [CocoChoices()]
_threads_of: set[int] = set()  # processes in which hotcoco has started its threads


@contextlib.contextmanager
def use_coco_evaluator(
    name: str, detections: int = COCO_DETECTIONS, sigmas: Sequence[float] = (), areas: Sequence = ("coco",)
) -> Iterator[None]:
    """Inside the block COCO's metrics are computed by the named one, with these choices (see CocoChoices).

    Args:
        areas: as TEST.COCO_AREAS has them.
    """
    if name not in (AUTO, *COCO_EVALUATORS):
        raise ValueError(f"TEST.COCO_EVALUATOR must be one of {', '.join((AUTO, *COCO_EVALUATORS))}; got {name!r}.")
    if detections < COCO_DETECTIONS:
        raise ValueError(f"TEST.COCO_MAX_DETECTIONS must be {COCO_DETECTIONS} or more; got {detections}.")
    if not all(isinstance(s, (int, float)) and s > 0 for s in sigmas):
        raise ValueError(f"TEST.KEYPOINT_OKS_SIGMAS must be numbers above 0; got {sigmas!r}.")
    _chosen.append(CocoChoices(name, counted_detections(areas, detections), tuple(sigmas), ranges(areas)))
    try:
        yield
    finally:
        _chosen.pop()


def chosen() -> CocoChoices:
    return _chosen[-1]


def chosen_coco_api() -> tuple[Any, Any]:
    """The classes COCO and COCOeval."""
    name = chosen().evaluator
    if name == AUTO:
        name = "hotcoco" if find_spec("hotcoco") else "pycocotools"
    if name == "hotcoco":
        if _threads_of and os.getpid() not in _threads_of:
            name = "pycocotools"  # the same numbers; hotcoco would wait for threads that a forked process does not have
        else:
            _threads_of.add(os.getpid())
    coco_module, coco, eval_module, coco_eval = COCO_EVALUATORS[name]
    try:
        return getattr(importlib.import_module(coco_module), coco), getattr(
            importlib.import_module(eval_module), coco_eval
        )
    except ImportError:
        raise ImportError(f"TEST.COCO_EVALUATOR is {name!r}, but the package is missing: pip install {name}.") from None
