"""What computes COCO's metrics, and the choices that its callers have: what evaluates is called with maskrcnn-benchmark's
arguments, which cannot say so."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

COCO_DETECTIONS = 100  # of an image, the best of a category: what COCO's own numbers count


def _fast_api() -> tuple[Any, Any]:
    try:
        import faster_coco_eval
    except ImportError:
        raise ImportError(
            "TEST.COCO_EVALUATOR is 'faster-coco-eval', but the package is missing: pip install faster-coco-eval."
        ) from None
    return faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster


# By the names that TEST.COCO_EVALUATOR may have, how the classes COCO and COCOeval are found.
COCO_EVALUATORS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "pycocotools": lambda: (COCO, COCOeval),
    "faster-coco-eval": _fast_api,
}


@dataclass(frozen=True)
class CocoChoices:
    """evaluator: a key of COCO_EVALUATORS. detections: that count of an image and category, beside COCO's 100; sigmas: of each
    keypoint for OKS, empty for COCO's."""

    evaluator: str = "pycocotools"
    detections: int = COCO_DETECTIONS
    sigmas: tuple[float, ...] = ()


_chosen = [CocoChoices()]


@contextlib.contextmanager
def use_coco_evaluator(name: str, detections: int = COCO_DETECTIONS, sigmas: Sequence[float] = ()) -> Iterator[None]:
    """Inside the block COCO's metrics are computed by the named one, with these choices (see CocoChoices)."""
    if name not in COCO_EVALUATORS:
        raise ValueError(f"TEST.COCO_EVALUATOR must be one of {', '.join(COCO_EVALUATORS)}; got {name!r}.")
    if detections < COCO_DETECTIONS:
        raise ValueError(f"TEST.COCO_MAX_DETECTIONS must be {COCO_DETECTIONS} or more; got {detections}.")
    if not all(isinstance(s, (int, float)) and s > 0 for s in sigmas):
        raise ValueError(f"TEST.KEYPOINT_OKS_SIGMAS must be numbers above 0; got {sigmas!r}.")
    _chosen.append(CocoChoices(name, detections, tuple(sigmas)))
    try:
        yield
    finally:
        _chosen.pop()


def chosen() -> CocoChoices:
    return _chosen[-1]


def chosen_coco_api() -> tuple[Any, Any]:
    """The classes COCO and COCOeval."""
    return COCO_EVALUATORS[chosen().evaluator]()
