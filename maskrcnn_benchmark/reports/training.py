"""What a training came to."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from maskrcnn_benchmark.config.areas import Areas, ranges
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import FRACTIONS, percent_note, shown
from maskrcnn_benchmark.reports.charts import MOST_LINES, chart
from maskrcnn_benchmark.reports.page import (
    ERRORS,
    ERRORS_END,
    MOST_BYTES,
    NAME,
    Markup,
    facts,
    joined,
    paragraph,
    section,
    write_page,
)
from maskrcnn_benchmark.reports.setting import configuration, environment
from maskrcnn_benchmark.reports.testing import tables
from maskrcnn_benchmark.utils.files import read_json
from maskrcnn_benchmark.utils.metric_writer import read_metrics
from maskrcnn_benchmark.utils.wording import counted
from maskrcnn_benchmark.visualization.curves import Series, series_of

MOST_CHARTS = 30
# Series that are no losses, with their titles.
RATES = {
    "lr": "learning rate",
    "images_s": "images per second",
    "time": "seconds per iteration",
    "data": "seconds of these that it waited for images",
    "memory_mb": "memory, MB",
    "grad_norm": "norm of the gradients",
}
STEADY = ("lr", "memory_mb")
KNOWN = ("loss", *RATES)


def write_training_report(cfg: Any) -> str:
    """Write OUTPUT_DIR/report.html from what the training left there; returns its path."""
    folder = cfg.OUTPUT_DIR
    metrics = os.path.join(folder, "metrics.jsonl")
    lines = read_metrics(metrics) if os.path.isfile(metrics) else []
    series = series_of(lines)
    sections = [summary(cfg, series)]
    if series:
        sections.append(curves(series))
    sections += tests_of(folder, ranges(options(cfg).TEST.COCO_AREAS))
    path = os.path.join(folder, NAME)
    title = f"Training {os.path.basename(os.path.abspath(folder))}"
    said = f"{os.path.abspath(folder)}, {time.strftime('%Y-%m-%d %H:%M:%S %z')}"
    write_page(path, title, said, [*sections, configuration(cfg), environment(folder)])
    return path


def summary(cfg: Any, series: Series) -> Markup:
    """Figures of the whole training."""
    pairs: list[tuple[str, Any]] = []
    if series:
        last = max(iterations[-1] for iterations, _ in series.values())
        limit = "" if getattr(cfg.SOLVER, "MAX_TIME", 0) else f" of {cfg.SOLVER.MAX_ITER:,}"
        pairs.append(("iterations", f"{last:,}{limit}, {counted(cfg.SOLVER.IMS_PER_BATCH, 'image')} each"))
    if "loss" in series:
        values = series["loss"][1]
        pairs.append(("loss", f"{values[0]:.4g} at first, {values[-1]:.4g} at last"))
    for name, title in (("images_s", "images per second"), ("time", "seconds per iteration")):
        if name in series:
            pairs.append((title, f"{float(np.median(series[name][1])):.4g} (median)"))
    if "memory_mb" in series:
        pairs.append(("memory", f"{max(series['memory_mb'][1]):,.0f} MB at most"))
    for name in (name for name in series if name.startswith("test/") and name.endswith("/AP")):
        iterations, values = series[name]
        best = int(np.argmax(values))
        value = f"{100 * values[best]:.2f} %" if _is_fraction(name) else shown(values[best], False)
        pairs.append((f"best {name[5:]}", f"{value} after iteration {iterations[best]:,}"))
    if not pairs:
        return section("Summary", paragraph("Nothing was measured: the training had no iteration to do."))
    return section("Summary", facts(pairs))


def curves(series: Series) -> Markup:
    """A chart of the loss, of each of its parts, of the tests, and of what else was measured."""
    charts = []
    if "loss" in series:
        charts.append(chart("loss", [("loss", *series["loss"])], is_noisy=True))
    tests = [name for name in series if name.startswith("test/")]
    for group, names in _by_test(tests).items():
        lines, is_fraction = [(name.rpartition("/")[2], *series[name]) for name in names], _is_fraction(names[0])
        charts.append(chart(f"{group}, percent" if is_fraction else group, lines, percent=is_fraction))
    losses = [name for name in series if name not in KNOWN and not name.startswith("test/")]
    charts += [chart(name, [(name, *series[name])], is_noisy=True) for name in losses]
    charts += [
        chart(title, [(title, *series[name])], is_noisy=name not in STEADY)
        for name, title in RATES.items()
        if name in series
    ]
    parts = [joined(charts[:MOST_CHARTS], "grid")]
    if len(charts) > MOST_CHARTS:
        left = counted(len(charts) - MOST_CHARTS, "series is", "series are")
        parts.append(paragraph(f"{left} left out; `mrb plot` draws any.", soft=True))
    parts.append(
        paragraph("Over iterations. Long curves are moving averages, over what was measured, paler.", soft=True)
    )
    return section("Curves", *parts)


def _is_fraction(name: str) -> bool:
    """Whether a series "test/mine/bbox/AP" is of a task whose values are fractions of one."""
    return name.split("/")[-2] in FRACTIONS


def _by_test(names: Sequence[str]) -> dict[str, list[str]]:
    """Metrics by data set and task, AP and its like first."""
    groups: dict[str, list[str]] = {}
    for name in names:
        group = name.removeprefix("test/").rpartition("/")[0]
        groups.setdefault(group, []).append(name)
    return {
        group: sorted(of, key=lambda n: (not n.rpartition("/")[2].startswith("AP"), of.index(n)))[:MOST_LINES]
        for group, of in groups.items()
    }


def tests_of(folder: str, areas: Areas) -> list[Markup]:
    """A section for the last test of each data set: its tables, its errors, and a link to its own page."""
    sections, room = [], MOST_BYTES // 2
    for path in sorted(Path(folder, "inference").glob("*/metrics.json")):
        content = read_json(str(path))
        of_classes = ("per_class", "per_class_metrics")
        tasks = [task for task, values in content.items() if task not in of_classes and isinstance(values, dict)]
        parts = tables({task: {name: _measured(v) for name, v in content[task].items()} for task in tasks}, areas)
        page = path.with_name(NAME)
        if page.is_file():
            address = quote(f"inference/{path.parent.name}/{NAME}")
            parts.append(paragraph(Markup(f'<a href="{address}">The report of this test</a>')))
            errors = page.read_text(encoding="utf-8").partition(ERRORS)[2].partition(ERRORS_END)[0]
            if errors and len(errors) <= room:
                room -= len(errors)
                parts.append(Markup(errors.replace("<h2>", "<h3>").replace("</h2>", "</h3>")))
        if parts:
            sections.append(section(f"Test on {path.parent.name}{percent_note(tasks, FRACTIONS)}", *parts))
    return sections


def _measured(value: Any) -> float:
    """A metric as it stands in a JSON file; NaN for what could not be measured."""
    return float(value) if isinstance(value, (int, float)) else math.nan
