"""Figures of a report on errors; they need matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskrcnn_benchmark.visualization.curves import pyplot

MOST_CLASSES = 10  # with a curve of their own
MOST_WRITTEN = 25  # categories of a confusion matrix with numbers in its cells


def plot_costs(costs: dict[str, dict[str, float]], counts: dict[str, dict[str, int]], path: str) -> None:
    """What each kind of error costs in points of AP50, and how many there are, by size.

    Args:
        costs, counts: by the name of an error and of a size, "" for all.
    """
    plt = pyplot()
    kinds = list(costs)
    sizes = [size for size in costs[kinds[0]] if size]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    values = [100 * costs[kind][""] for kind in kinds]
    bars = left.barh(kinds, values, color="C0")
    left.bar_label(bars, [f"{value:.1f}" for value in values], padding=3, fontsize=9)
    left.set_xlim(0, max([*values, 1]) * 1.15)
    left.set_xlabel("AP50 gained if mended, points")
    before = np.zeros(len(kinds))
    for number, size in enumerate(sizes):
        of_size = np.array([counts[kind][size] for kind in kinds], float)
        right.barh(kinds, of_size, left=before, color=f"C{number + 1}", label=size)
        before += of_size
    right.set_xlabel("errors, by size of the object")
    if before.any():
        right.legend(fontsize=8, title="size", title_fontsize=8)
    for axis in (left, right):
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
    _save(plt, figure, path)


def plot_curves(by_size: dict[str, list[float]], by_class: dict[str, list[float]], path: str) -> None:
    """Precision by recall at IoU 0.5: of each size, and of the categories with the best and the worst AP.

    Args:
        by_size: precision at recall 0, 0.01, ..., 1 by the name of a size, "" for all; empty where nothing was measured.
        by_class: the same by the name of a category.
    """
    plt = pyplot()
    classes = {name: curve for name, curve in by_class.items() if curve}
    ranked = sorted(classes, key=lambda name: -float(np.mean(classes[name])))
    if len(ranked) > MOST_CLASSES:
        ranked = ranked[: MOST_CLASSES // 2] + ranked[-MOST_CLASSES // 2 :]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    for axis, curves in zip(
        axes, ({s or "all": c for s, c in by_size.items()}, {n: classes[n] for n in ranked}), strict=True
    ):
        for number, (name, curve) in enumerate(curves.items()):
            if curve:
                label = f"{name}  AP50 {100 * float(np.mean(curve)):.1f}"
                width = 2.2 if name == "all" else 1.4
                colour = "black" if name == "all" else f"C{number % 10}"
                axis.plot(np.linspace(0, 1, len(curve)), curve, label=label, linewidth=width, color=colour)
        axis.set_xlabel("recall")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=8)
    axes[0].set_ylabel("precision at IoU 0.5")
    axes[0].set_title("by size", fontsize=10)
    few = "" if len(ranked) == len(classes) else f", {MOST_CLASSES // 2} best and worst of {len(classes)}"
    axes[1].set_title(f"by category{few}", fontsize=10)
    _save(plt, figure, path)


def plot_confusion(matrix: np.ndarray, names: list[str], threshold: float, path: str) -> None:
    """A confusion matrix, int [K + 1, K + 1], rows true and columns detected; the last ones stand for none."""
    plt = pyplot()
    labels = [*names, "none"]
    sums = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(sums, 1)
    side = max(4.5, min(0.42 * len(labels) + 2.5, 22))
    figure, axis = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if len(labels) <= 15 else 7 if len(labels) <= 40 else 5
    axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
    axis.set_yticks(range(len(labels)), labels, fontsize=size)
    if len(labels) <= MOST_WRITTEN:
        for row, column in zip(*matrix.nonzero(), strict=True):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axis.text(
                column, row, f"{matrix[row, column]:,}", ha="center", va="center", color=colour, fontsize=size - 1
            )
    axis.set_xlabel(f"detected, score from {threshold:.3g} on (none: missed)")
    axis.set_ylabel("true (none: false positive)")
    bar = figure.colorbar(picture, ax=axis, shrink=0.7)
    bar.set_label("share of the row", fontsize=9)
    _save(plt, figure, path)


def _save(plt: Any, figure: Any, path: str) -> None:
    figure.savefig(path, dpi=110)
    plt.close(figure)
