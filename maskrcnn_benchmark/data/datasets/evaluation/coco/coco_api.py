"""What computes COCO's metrics: pycocotools, or a quicker package that gives the same numbers."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


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

_chosen = ["pycocotools"]


@contextlib.contextmanager
def use_coco_evaluator(name: str) -> Iterator[None]:
    """Inside the block COCO's metrics are computed by the named one: what evaluates is called with maskrcnn-benchmark's
    arguments, which cannot say so."""
    if name not in COCO_EVALUATORS:
        raise ValueError(f"TEST.COCO_EVALUATOR must be one of {', '.join(COCO_EVALUATORS)}; got {name!r}.")
    _chosen.append(name)
    try:
        yield
    finally:
        _chosen.pop()


def chosen_coco_api() -> tuple[Any, Any]:
    """The classes COCO and COCOeval."""
    return COCO_EVALUATORS[_chosen[-1]]()
