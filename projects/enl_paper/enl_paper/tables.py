"""Tables 1 and 2 of Levi and Ullman (BMVC 2019, arXiv 1811.12152): accuracy on COCO val2017, ours beside the paper's."""

from __future__ import annotations

import csv
import io
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

COLUMNS = {
    "relations": ("bbox/AP", "bbox/APs"),
    "finetuning": ("bbox/AP", "bbox/AP50", "bbox/APs", "bbox/APm", "bbox/APl"),
    "table1": ("bbox/AP", "bbox/APs", "bbox/APm", "bbox/APl"),
    "table2": ("bbox/AP", "bbox/APs", "segm/AP", "segm/APs"),
}


@dataclass(frozen=True)
class PaperRow:
    """One row as printed: figures in percent, in the order of COLUMNS."""

    backbone: str
    model: str
    config: str
    figures: tuple[float, ...]


def _rows(method: str, table: dict[str, Sequence[tuple[float, ...]]]) -> tuple[PaperRow, ...]:
    kinds = (("baseline", ""), ("+1NL, BU", "_1nl_bu"), ("+3ENL, TD", "_3enl_td"))
    names = {"R-50": "R_50_FPN", "R-101": "R_101_FPN", "X-101": "X_101_32x8d_FPN"}
    return tuple(
        PaperRow(backbone, model, f"{method}_rcnn_{names[backbone]}{suffix}.yaml", figures)
        for backbone, rows in table.items()
        for (model, suffix), figures in zip(kinds, rows, strict=True)
    )


TABLES = {
    "table1": _rows(
        "faster",
        {
            "R-50": [(36.71, 21.11, 39.85, 48.14), (37.72, 21.65, 40.88, 49.07), (37.75, 22.54, 41.41, 48.73)],
            "R-101": [(39.11, 22.98, 42.35, 50.50), (40.03, 23.06, 43.65, 52.32), (39.85, 23.96, 43.30, 51.87)],
            "X-101": [(41.23, 25.11, 45.11, 52.89), (42.11, 25.89, 45.60, 54.16), (41.76, 26.29, 45.96, 53.04)],
        },
    ),
    "table2": _rows(
        "mask",
        {
            "R-50": [(37.80, 21.49, 34.21, 15.61), (38.42, 22.33, 34.86, 16.04), (38.65, 23.33, 34.88, 17.01)],
            "R-101": [(40.02, 22.81, 36.07, 16.37), (40.85, 23.91, 36.90, 17.51), (40.80, 24.46, 36.59, 17.83)],
        },
    ),
}


def read_figures(folder: str, test_set: str, columns: Sequence[str], category: str = "") -> tuple[float, ...] | None:
    """What a run's test measured, of all categories or of one, in percent (NaN for what had nothing to measure); None before
    its end.
    """
    path = os.path.join(folder, "inference", test_set, "metrics.json")
    if not os.path.isfile(path) or not os.path.isfile(os.path.join(folder, "model_final.pth")):
        return None
    with open(path, encoding="utf-8") as f:
        metrics = json.load(f)
    if category:
        of_each = metrics.get("per_class_metrics", {})
        metrics = {task: of_each.get(task, {}).get(category) for task, _, _ in (c.partition("/") for c in columns)}
        if None in metrics.values():
            raise ValueError(f"{path} has no category {category!r}.")
    values = (metrics[task][metric] for task, metric in (column.split("/") for column in columns))
    return tuple(100 * value if value >= 0 else float("nan") for value in values)


@dataclass(frozen=True)
class Result:
    """A row of the paper and what was measured for it, by seed."""

    paper: PaperRow
    measured: dict[int, tuple[float, ...]]

    def mean(self, column: int) -> float | None:
        values = [figures[column] for figures in self.measured.values()]
        return statistics.fmean(values) if values else None

    def deviation(self, column: int) -> float | None:
        values = [figures[column] for figures in self.measured.values()]
        return statistics.stdev(values) if len(values) > 1 else None


def as_markdown(table: str, results: Sequence[Result], about: str) -> str:
    columns = COLUMNS[table]
    head = ["backbone", "model", *(f"{c.replace('bbox/', 'box ').replace('segm/', 'mask ')}" for c in columns), "seeds"]
    lines = [
        f"# {table.replace('table', 'Table ')}",
        "",
        about,
        "",
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
    ]
    for result in results:
        cells = [result.paper.backbone, result.paper.model]
        for column, paper in enumerate(result.paper.figures):
            mean, deviation = result.mean(column), result.deviation(column)
            if mean is None:
                cells.append(f"not run (paper {paper:.2f})")
                continue
            spread = "" if deviation is None else f" ± {deviation:.2f}"
            cells.append(f"{mean:.2f}{spread} (paper {paper:.2f}, {mean - paper:+.2f})")
        cells.append(", ".join(map(str, sorted(result.measured))) or "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def as_csv(table: str, results: Sequence[Result]) -> str:
    """One line for each row, column and seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("table", "backbone", "model", "config", "metric", "seed", "measured", "paper", "difference"))
    for result in results:
        row = result.paper
        for seed, figures in sorted(result.measured.items()):
            for metric, value, paper in zip(COLUMNS[table], figures, row.figures, strict=True):
                numbers = (f"{value:.4f}", f"{paper:.2f}", f"{value - paper:+.4f}")
                writer.writerow((table, row.backbone, row.model, row.config, metric, seed, *numbers))
    return text.getvalue()


def plot(table: str, results: Sequence[Result], path: str) -> None:
    """A panel for each column: bars of what was measured, a mark at the paper's figure."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError("Plots need matplotlib: pip install matplotlib.") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = COLUMNS[table]
    figure, axes = plt.subplots(1, len(columns), figsize=(3.6 * len(columns), 4.2), layout="constrained", sharey=True)
    names = [f"{r.paper.backbone} {r.paper.model}" for r in results]
    places = range(len(results))
    for column, (title, axis) in enumerate(zip(columns, axes, strict=True)):
        means = [r.mean(column) or 0.0 for r in results]
        errors = [r.deviation(column) or 0.0 for r in results]
        axis.barh(places, means, xerr=errors, color=[f"C{i % 3}" for i in places], height=0.6, label="measured")
        axis.plot(
            [r.paper.figures[column] for r in results], places, "k|", markersize=14, markeredgewidth=2, label="paper"
        )
        axis.set_yticks(list(places), names, fontsize=8)
        axis.set_title(title.replace("bbox/", "box ").replace("segm/", "mask "), fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)
