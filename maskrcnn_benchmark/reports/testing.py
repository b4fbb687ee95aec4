"""What a test came to."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult
from maskrcnn_benchmark.reports.page import Markup, bar, paragraph, section, table, write_page
from maskrcnn_benchmark.reports.setting import configuration, environment
from maskrcnn_benchmark.reports.training import NAME
from maskrcnn_benchmark.reports.worst import worst_errors
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.wording import counted

MOST_CLASSES = 1500  # rows
# AP and AR of a size of objects: APs, ARtiny, AR@300m; others are of all sizes.
OF_SIZE = re.compile(r"(AP|AR)(@\d+)?(?!\d)([a-z]\w*)")


def write_test_report(
    cfg: Any, name: str, folder: str, result: EvaluationResult, dataset: Any, predictions: Sequence[BoxList]
) -> str:
    """Write report.html to the folder of a test; returns its path.

    Args:
        name: of the data set; predictions: see `worst_errors`, empty where they are not known.
    """
    sections = [metrics(result), classes(result)]
    errors = worst_errors(dataset, predictions)
    if errors:
        sections.append(errors)
    path = os.path.join(folder, NAME)
    said = f"{counted(len(dataset), 'image')}, {time.strftime('%Y-%m-%d %H:%M:%S %z')}"
    parts = [part for part in sections if part]
    write_page(path, f"Test on {name}", said, [*parts, configuration(cfg), environment(cfg.OUTPUT_DIR)])
    return path


def metrics(result: EvaluationResult) -> Markup:
    """The metrics of each task, those of all sizes and those by size."""
    parts = []
    for task, values in result.metrics.items():
        whole = {n: v for n, v in values.items() if not OF_SIZE.fullmatch(n)}
        sized = {n: v for n, v in values.items() if OF_SIZE.fullmatch(n)}
        parts.append(Markup(f"<h3>{task}</h3>"))
        parts.append(table(tuple(whole), [[_percent(v) for v in whole.values()]], numbers=False))
        if sized:
            parts.append(_by_size(sized))
    if not parts:
        parts = [paragraph("Nothing was measured.")]
    return section("Results, in percent", *parts)


def _by_size(values: dict[str, float]) -> Markup:
    """A row for each size, a column for each metric."""
    found = {n: OF_SIZE.fullmatch(n) for n in values}
    kinds = list(dict.fromkeys(f"{m[1]}{m[2] or ''}" for m in found.values() if m))
    sizes = list(dict.fromkeys(m[3] for m in found.values() if m))
    long = {"s": "small", "m": "medium", "l": "large", "t": "tiny", "vt": "very tiny"}
    cells = {(m[3], f"{m[1]}{m[2] or ''}"): values[n] for n, m in found.items() if m}
    rows = [(long.get(size, size), *(_percent(cells.get((size, kind), math.nan)) for kind in kinds)) for size in sizes]
    return table(("Size of objects", *kinds), rows)


def classes(result: EvaluationResult) -> Markup | None:
    """AP of each class, the best first."""
    parts = []
    for task, of_class in result.per_class.items():
        measured = {n: v for n, v in of_class.items() if isinstance(v, (int, float)) and v >= 0}
        ranked = sorted(measured, key=lambda n: -measured[n])
        rows = [(n, _percent(measured[n]), bar(measured[n])) for n in ranked[:MOST_CLASSES]]
        parts += [Markup(f"<h3>{task}</h3>"), table(("Class", "AP", ""), rows)]
        without = len(of_class) - len(measured)
        if without:
            parts.append(
                paragraph(
                    f"{counted(without, 'class has', 'classes have')} no objects and could not be measured.", soft=True
                )
            )
    return section("By class, in percent", *parts) if parts else None


def _percent(value: float) -> str:
    return f"{100 * value:.2f}" if value >= 0 else "–"
