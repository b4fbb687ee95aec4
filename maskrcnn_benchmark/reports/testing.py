"""What a test came to."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Collection, Sequence
from typing import Any

from maskrcnn_benchmark.config.areas import Areas, ranges
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import (
    FRACTIONS,
    ByTask,
    EvaluationResult,
    percent_note,
    shown,
)
from maskrcnn_benchmark.reports.page import (
    ERRORS,
    ERRORS_END,
    NAME,
    SIZES,
    Markup,
    bar,
    joined,
    paragraph,
    section,
    subtitle,
    table,
    write_page,
)
from maskrcnn_benchmark.reports.setting import configuration, environment
from maskrcnn_benchmark.reports.worst import worst_errors
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.wording import counted

MOST_CLASSES = 1500  # rows
METRIC = re.compile(r"(AP|AR)(.*?)(@\d+)?")  # APs, ARtiny, APm@300: of a size, which stands in the middle


def write_test_report(
    cfg: Any, name: str, folder: str, result: EvaluationResult, dataset: Any, predictions: Sequence[BoxList]
) -> str:
    """Write report.html to the folder of a test; returns its path.

    Args:
        name: of the data set; predictions: see `worst_errors`, empty where they are not known.
    """
    areas = ranges(options(cfg).TEST.COCO_AREAS)
    sections = [metrics(result, areas), classes(result)]
    errors = worst_errors(dataset, predictions, areas)
    if errors:
        sections.append(Markup(f"{ERRORS}{errors}{ERRORS_END}"))
    path = os.path.join(folder, NAME)
    said = f"{counted(len(dataset), 'image')}, {time.strftime('%Y-%m-%d %H:%M:%S %z')}"
    parts = [part for part in sections if part]
    write_page(path, f"Test on {name}", said, [*parts, configuration(cfg), environment(cfg.OUTPUT_DIR)])
    return path


def metrics(result: EvaluationResult, areas: Areas) -> Markup:
    """The metrics of each task in a section."""
    parts = tables(result.metrics, areas, result.fractions) or [paragraph("Nothing was measured.")]
    return section(f"Results{percent_note(result.metrics, result.fractions)}", *parts)


def tables(by_task: ByTask, areas: Areas, fractions: Collection[str] = FRACTIONS) -> list[Markup]:
    """The metrics of each task, those of all sizes and those by size."""
    parts = []
    sizes = [name for name, _, _ in areas]
    for task, values in by_task.items():
        is_fraction = task in fractions
        sized: dict[str, dict[str, float]] = {size: {} for size in sizes}  # size -> AP, AR, AP@300 -> value
        for name, value in values.items():
            found = METRIC.fullmatch(name)
            if found and found[2] in sized:
                sized[found[2]][found[1] + (found[3] or "")] = value
        whole = {n: v for n, v in values.items() if not ((m := METRIC.fullmatch(n)) and m[2] in sized)}
        kinds = list(dict.fromkeys(kind for of_size in sized.values() for kind in of_size))
        parts.append(subtitle(task))
        parts.append(table(tuple(whole), [[_shown(v, is_fraction) for v in whole.values()]], numbers=False))
        if kinds:
            rows = [
                (SIZES.get(size, size), *(_shown(of_size.get(kind, math.nan), is_fraction) for kind in kinds))
                for size, of_size in sized.items()
            ]
            parts.append(table(("Size of objects", *kinds), rows))
    return parts


def classes(result: EvaluationResult) -> Markup | None:
    """AP of each class, the best first; of a task whose values are no fractions the highest first."""
    parts = []
    for task, of_class in result.per_class.items():
        is_fraction = task in result.fractions
        known = {n: v for n, v in of_class.items() if isinstance(v, (int, float))}
        measured = {n: v for n, v in known.items() if (v >= 0 if is_fraction else math.isfinite(v))}
        ranked = sorted(measured, key=lambda n: -measured[n])[:MOST_CLASSES]
        head = ("Class", "AP", "AP as a bar") if is_fraction else ("Class", "Value")
        rows = [(n, _shown(measured[n], is_fraction), bar(measured[n]))[: len(head)] for n in ranked]
        of_task = [subtitle(task), table(head, rows)]
        if without := len(of_class) - len(measured):
            said = f"{counted(without, 'class has', 'classes have')} no objects and could not be measured."
            of_task.append(paragraph(said, soft=True))
        parts.append(joined(of_task, "task"))
    title = f"By class{percent_note(result.per_class, result.fractions)}"
    return section(title, joined(parts, "grid")) if parts else None


def _shown(value: float, is_fraction: bool) -> str:
    text = shown(value, is_fraction)
    return "–" if text == "-" else text
