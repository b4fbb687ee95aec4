"""What every evaluation is: predictions go in, one kind of result comes out."""

import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.files import write_json
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger("maskrcnn_benchmark.inference")

ByTask = dict[str, dict[str, float]]

FRACTIONS = ("bbox", "segm", "keypoints", "box_proposal")  # what this package's evaluations measure as fractions of one


def is_named(metric: str, name: str) -> bool:
    """Whether a name means a metric: "AP", "bbox/AP" and "mine/bbox/AP" all mean the last."""
    return f"/{metric}".endswith(f"/{name}")


@dataclass
class EvaluationResult:
    """Results; NaN where nothing could be measured.

    Attributes:
        metrics: by task and name, `metrics["bbox"]["AP"]`.
        per_class: AP of each class, `per_class["bbox"]["car"]`.
        files: what was written: name -> path.
        per_class_metrics: all metrics of each class, where there are more: `per_class_metrics["bbox"]["car"]["AP50"]`.
        fractions: the tasks whose values are fractions of one: they are shown in percent, those of other tasks as they are.
        lower_is_better: the metrics of which the lowest is the best, "mae" or "count/mae", for early stopping and model_best.pth.
    """

    metrics: ByTask = field(default_factory=dict)
    per_class: ByTask = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    per_class_metrics: dict[str, ByTask] = field(default_factory=dict, repr=False)
    fractions: Collection[str] = field(default=FRACTIONS, repr=False)
    lower_is_better: Collection[str] = field(default=(), repr=False)

    @property
    def table(self) -> str:
        """The metrics, for the log."""
        return metrics_table(self.metrics, self.fractions)

    @property
    def flat(self) -> dict[str, float]:
        """The metrics: "bbox/AP" -> value."""
        return {f"{task}/{name}": v for task, values in self.metrics.items() for name, v in values.items()}

    @property
    def scalars(self) -> dict[str, float]:
        """Those of `flat` that could be measured."""
        return {name: v for name, v in self.flat.items() if math.isfinite(v)}

    def write(self, folder: str) -> None:
        """Write metrics.json. What could not be measured is -1 among fractions of one and null elsewhere."""

        def finite(task: str, values: dict[str, float]) -> dict[str, float | None]:
            missing = -1.0 if task in self.fractions else None
            return {name: v if math.isfinite(v) else missing for name, v in values.items()}

        content = {
            **{task: finite(task, values) for task, values in self.metrics.items()},
            "per_class": {task: finite(task, values) for task, values in self.per_class.items()},
            "per_class_metrics": {
                task: {name: finite(task, values) for name, values in of_class.items()}
                for task, of_class in self.per_class_metrics.items()
            },
        }
        self.files["metrics.json"] = os.path.join(folder, "metrics.json")
        write_json(self.files["metrics.json"], content)

    def is_better_when_lower(self, metric: str) -> bool:
        """Whether that is so of a metric of `flat`."""
        given = self.lower_is_better
        return any(is_named(metric, name) for name in ([given] if isinstance(given, str) else given))


class Evaluator(ABC):
    """Compares predictions with the objects of a data set. A subclass defines `evaluate`; EVALUATORS holds it by name.

    Args:
        dataset: what is tested on.
        output_folder: where files go; nothing is written without one.
        tasks: of "bbox", "segm" and "keypoints".
        proposals: whether the predictions are a region proposal network's, with "objectness" and without classes.

    `logs` says that `evaluate` itself writes its results to the log.
    """

    logs = False

    def __init__(
        self,
        dataset: Any,
        output_folder: str | None = None,
        tasks: Sequence[str] = ("bbox",),
        proposals: bool = False,
    ):
        self.dataset, self.output_folder, self.tasks, self.proposals = dataset, output_folder, tuple(tasks), proposals
        self._predictions: dict[int, BoxList] = {}

    @classmethod
    def metric_names(cls, tasks: Sequence[str], proposals: bool) -> Collection[str] | None:
        """The metrics that `evaluate` can give, "bbox/AP" and so on; None where that is not known beforehand."""
        return None

    def process(self, predictions: Sequence[BoxList], indices: Sequence[int]) -> None:
        """Take predictions of the images at these places of the data set, in pixels of the network's input."""
        self._predictions.update(zip(indices, predictions, strict=True))

    @property
    def predictions(self) -> list[BoxList]:
        """What was taken, in the order of the data set."""
        missing = [i for i in range(len(self._predictions)) if i not in self._predictions]
        if missing:
            raise ValueError(
                f"There are predictions of {counted(len(self._predictions), 'image')}, but none of image {missing[0]}."
            )
        return [self._predictions[i] for i in range(len(self._predictions))]

    @abstractmethod
    def evaluate(self) -> EvaluationResult:
        """The results on everything that was taken."""


def evaluated(evaluator: Any, predictions: Sequence[BoxList]) -> EvaluationResult:
    """What an evaluator measures on one BoxList an image, with Python's numbers: it may give numpy's, or tensors of one number.

    Raises ValueError where it gives anything else.
    """
    evaluator.process(predictions, range(len(predictions)))
    result = evaluator.evaluate()
    try:
        if not isinstance(result, EvaluationResult):
            raise TypeError
        result.metrics, result.per_class = _numbers(result.metrics), _of_classes(result.per_class)
        result.per_class_metrics = {task: _numbers(of) for task, of in result.per_class_metrics.items()}
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{type(evaluator).__name__}.evaluate returned {result!r:.200}; it must return an EvaluationResult of numbers by "
            "task and name, such as EvaluationResult({'bbox': {'AP': 0.5}})."
        ) from error
    return result


def _numbers(by_task: Any) -> ByTask:
    return {_text(task): {_text(name): _number(v) for name, v in of.items()} for task, of in by_task.items()}


def _of_classes(by_task: Any) -> ByTask:
    """Classes may go by label, and one without objects may have None."""
    return _numbers(
        {task: {str(k): math.nan if v is None else v for k, v in of.items()} for task, of in by_task.items()}
    )


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError
    return name


def _number(value: Any) -> float:
    if isinstance(value, str):  # which float() would read
        raise TypeError
    return float(value)


MOST_COLUMNS = 14


def metrics_table(metrics: ByTask, fractions: Collection[str] = FRACTIONS) -> str:
    """Two lines a task: names, and values, `fractions` in percent; two more for metrics like AP@300 where there are many."""
    lines = []
    for task, values in metrics.items():
        title = task
        for names in _blocks(list(values)):
            cells = [shown(values[name], task in fractions) for name in names]
            widths = [max(len(name), len(cell), 6) for name, cell in zip(names, cells, strict=True)]
            lines.append(f"{title:>12}  " + "  ".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True)))
            lines.append(f"{'':>12}  " + "  ".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)))
            title = ""
    return "\n".join(lines)


def _blocks(names: list[str]) -> list[list[str]]:
    if len(names) <= MOST_COLUMNS:
        return [names]
    blocks = [list(block) for _, block in groupby(names, key=_beyond_coco)]
    return [block[i : i + MOST_COLUMNS] for block in blocks for i in range(0, len(block), MOST_COLUMNS)]


def _beyond_coco(name: str) -> str:
    """The number of detections in a metric's name, if COCO counts fewer."""
    limit = name.partition("@")[2]
    return limit if limit not in ("1", "10", "100") else ""


def percent(value: float) -> str:
    """COCO writes -1 where there is nothing to measure."""
    return f"{100 * value:.2f}" if value >= 0 else "-"


def shown(value: float, is_fraction: bool) -> str:
    """A metric in percent, or as it is."""
    if is_fraction:
        return percent(value)
    return "-" if math.isnan(value) else f"{value:.6g}"


def percent_note(tasks: Collection[str], fractions: Collection[str]) -> str:
    """What a title adds: ", in percent", or of which tasks that is so."""
    those = [task for task in tasks if task in fractions]
    if len(those) == len(tasks):
        return ", in percent"
    return f", {' and '.join(those)} in percent" if those else ""


def check_expected(metrics: ByTask, expected: Sequence, sigma_tol: float) -> None:
    """Compare with [task, metric, mean, standard deviation]; say what is further off than `sigma_tol` deviations."""
    for task, metric, mean, std in expected or ():
        actual = metrics.get(task, {}).get(metric, math.nan)
        low, high = mean - sigma_tol * std, mean + sigma_tol * std
        verdict = "as expected" if low < actual < high else "NOT as expected"
        message = f"{task} {metric} is {actual:.4f}, {verdict}: {mean:.4f} +- {sigma_tol} * {std:.4f}"
        logger.log(logging.INFO if low < actual < high else logging.ERROR, message)
