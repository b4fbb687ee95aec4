"""The curves of trainings, from the metrics.jsonl that each writes."""

import os
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from maskrcnn_benchmark.utils.files import whole_file
from maskrcnn_benchmark.utils.metric_writer import read_metrics

# Okabe and Ito's colours, which differ to all kinds of sight; the first ones stand out on white.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d00")
LARGEST = 1e100  # beyond, no axis can be laid out

Series = dict[str, tuple[list[int], list[float]]]  # iterations and values by name


def load_series(run: str) -> Series:
    """Of a run's folder, or of the file itself: iterations and values by name."""
    path = os.path.join(run, "metrics.jsonl") if os.path.isdir(run) else run
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no {path}; a training writes it to its OUTPUT_DIR.")
    series = series_of(read_metrics(path))
    if not series:
        raise ValueError(f"{path} holds no number yet.")
    return series


def series_of(lines: Iterable[dict[str, Any]], series: Series | None = None) -> Series:
    """Iterations and values by name of the lines that `read_metrics` gives, added to `series` if given."""
    series = {} if series is None else series
    for line in lines:
        for name, value in line.items():
            if name != "iteration" and _can_be_drawn(value):
                iterations, values = series.setdefault(name, ([], []))
                iterations.append(line["iteration"])
                values.append(value)
    return series


def _can_be_drawn(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < LARGEST  # not for NaN


def limits(values: np.ndarray) -> tuple[float, float]:
    """The lowest and highest value of an axis. What a training's first steps throw far up does not flatten the rest."""
    low, high = float(values.min()), float(values.max())
    usual = float(np.quantile(values, 0.95))
    if high - low > 10 * max(usual - low, 1e-12) and usual > low:
        high = low + 2 * (usual - low)
    return (low, high) if high > low else (low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1))


def smooth(values: list[float], weight: float) -> list[float]:
    """An exponential moving average that does not start at zero."""
    smoothed, total, norm = [], 0.0, 0.0
    for value in values:
        total = weight * total + (1 - weight) * value
        norm = weight * norm + (1 - weight)
        smoothed.append(total / norm)
    return smoothed


def labels(runs: list[str]) -> list[str]:
    """The runs' folders without what they have in common at both ends."""
    parts = [os.path.abspath(run).split(os.sep) for run in runs]
    while len(parts) > 1 and all(len(p) > 1 for p in parts) and len({p[0] for p in parts}) == 1:
        parts = [p[1:] for p in parts]
    while len(parts) > 1 and all(len(p) > 1 for p in parts) and len({p[-1] for p in parts}) == 1:
        parts = [p[:-1] for p in parts]
    return ["/".join(p) if len(runs) > 1 else p[-1] for p in parts]


def pyplot() -> Any:
    """matplotlib's, which writes files and opens no window. Raises ImportError with a sentence."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError("Plots need matplotlib: pip install matplotlib.") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from cycler import cycler

    plt.rcParams["axes.prop_cycle"] = cycler(color=LINES)
    return plt


def plot(runs: list[str], patterns: list[str], out: str, weight: float) -> list[str]:
    """Write the picture; returns the names of the curves in it, one panel each."""
    series = [load_series(run) for run in runs]
    plt = pyplot()
    known = list(dict.fromkeys(name for of_run in series for name in of_run))
    names = list(dict.fromkeys(name for p in patterns for name in known if re.fullmatch(p, name)))
    if not names:
        raise ValueError(f"No series is called {' or '.join(patterns)}; there are {', '.join(known)}.")
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 3.4 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(names) :]:
        axis.remove()
    for name, axis in zip(names, axes.flat, strict=False):
        for number, (label, of_run) in enumerate(zip(labels(runs), series, strict=True)):
            iterations, values = of_run.get(name, ([], []))
            colour = f"C{number}"
            few = len(values) < 30
            if few or name == "lr":
                axis.plot(iterations, values, color=colour, label=label, marker="o" if few else "", markersize=3)
            else:
                axis.plot(iterations, values, color=colour, alpha=0.2, linewidth=0.8)
                axis.plot(iterations, smooth(values, weight), color=colour, label=label)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("iteration", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if name == "lr":
            axis.set_ylim(bottom=0)
    axes.flat[0].legend(fontsize=8)
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    with whole_file(out) as f:
        figure.savefig(f, dpi=110, format=os.path.splitext(out)[1][1:] or "png")
    plt.close(figure)
    return names
