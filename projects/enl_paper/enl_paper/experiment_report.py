"""What the experiment on Relations measured, as Markdown, CSV and plots."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from enl_paper.comparison import Comparison, compare
from enl_paper.experiment import BASELINE, MODELS, Outcome
from enl_paper.relations import CONTEXTS
from enl_paper.reproduction import Run
from enl_paper.roles import ABOUT, METRICS
from maskrcnn_benchmark.utils.files import write_text
from maskrcnn_benchmark.utils.metric_writer import read_metrics
from maskrcnn_benchmark.utils.wording import counted

SHOWN = ("all AP", "all APs", "repeated APs", "degraded APs", "decided APs", "pair accuracy", "context-free AP")
CONTROL = ("decided APs", "pair accuracy")
RIVAL, OURS = "+1NL, BU", "+3ENL, TD"


def write(out: str, outcomes: Sequence[Outcome], runs: Sequence[Run]) -> None:
    """relations.md, relations.csv, relations.png and curves.png, of what is done so far."""
    write_text(os.path.join(out, "relations.md"), as_markdown(outcomes))
    write_text(os.path.join(out, "relations.csv"), as_csv(outcomes))
    if outcomes:
        plot(outcomes, os.path.join(out, "relations.png"))
        plot_curves(runs, os.path.join(out, "curves.png"))


def values(outcomes: Sequence[Outcome], metric: str, context: str = CONTEXTS[0]) -> dict[str, list[float]]:
    """By model, over the seeds that every model has, in their order."""
    by_model = {m: {o.seed: o.figures[context][metric] for o in outcomes if o.model == m} for m in MODELS}
    by_model = {m: of_model for m, of_model in by_model.items() if of_model}
    shared = set.intersection(*(set(of_model) for of_model in by_model.values())) if by_model else set()
    return {m: [of_model[seed] for seed in sorted(shared)] for m, of_model in by_model.items()}


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    seeds = len(next(iter(values(outcomes, SHOWN[0]).values()), []))
    if seeds < 2:
        return f"{counted(len(outcomes), 'run is', 'runs are')} done; tables need two seeds of every model.\n"
    found = {
        (metric, context): compare(values(outcomes, metric, context)) for metric in METRICS for context in CONTEXTS
    }
    true = {metric: found[metric, CONTEXTS[0]] for metric in METRICS}
    parts = [
        f"Percent, mean ± standard deviation over {seeds} seeds, scenes with true context:",
        _table(["model", *SHOWN], [[m, *(_value(true[c], m) for c in SHOWN)] for m in true[SHOWN[0]].mean]),
        "Pair accuracy of each run: a relation is learned or not, which a mean hides.",
        _table(
            ["model", *(f"run {number + 1}" for number in range(seeds))],
            [[m, *(f"{v:.1f}" for v in of_model)] for m, of_model in values(outcomes, "pair accuracy").items()],
        ),
        *(_differences(true, other) for other in (BASELINE, RIVAL) if other in true[SHOWN[0]].mean),
        "What a difference had to be to count here: half of its 95 % interval, and the true difference that this experiment "
        "finds with probability 0.8:",
        _table(
            ["", *SHOWN],
            [
                ["interval", *(f"± {true[c].interval:.2f}" for c in SHOWN)],
                ["detectable", *(f"{true[c].detectable:.2f}" for c in SHOWN)],
            ],
        ),
        "The control: the same models on the same scenes with the deciders removed, or drawn at random:",
        _table(
            ["model", *(f"{metric}, {context}" for metric in CONTROL for context in CONTEXTS)],
            [
                [m, *(_value(found[metric, context], m) for metric in CONTROL for context in CONTEXTS)]
                for m in true[SHOWN[0]].mean
            ],
        ),
        "\n".join(f"- {name}: {text}" for name, text in ABOUT.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _differences(found: dict[str, Comparison], other: str) -> str:
    rows = []
    for model in found[SHOWN[0]].mean:
        if model != other:
            rows.append([model, *(_difference(found[metric], model, other) for metric in SHOWN)])
    return f"Difference to {other} (bold: its 95 % interval excludes zero):\n\n" + _table(["model", *SHOWN], rows)


def _difference(comparison: Comparison, model: str, other: str) -> str:
    text = f"{comparison.difference(model, other):+.2f}"
    return f"**{text}**" if comparison.significant(model, other) else text


def _value(comparison: Comparison, model: str) -> str:
    return f"{comparison.mean[model]:.2f} ± {comparison.deviation[model]:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def as_csv(outcomes: Sequence[Outcome]) -> str:
    """One line for each run, context and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("model", "seed", "context", "metric", "percent"))
    for outcome in outcomes:
        for context, figures in outcome.figures.items():
            for metric, value in figures.items():
                writer.writerow((outcome.model, outcome.seed, context, metric, f"{value:.4f}"))
    return text.getvalue()


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise ImportError("Plots need matplotlib: pip install matplotlib.") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def plot(outcomes: Sequence[Outcome], path: str) -> None:
    """A panel for each metric: a dot for each seed, a bar at the mean."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(SHOWN), figsize=(2.6 * len(SHOWN) + 1.4, 3.6), layout="constrained", sharey=True)
    names = [m for m in MODELS if any(o.model == m for o in outcomes)]
    for metric, axis in zip(SHOWN, axes, strict=True):
        for place, name in enumerate(names):
            dots = [o.figures[CONTEXTS[0]][metric] for o in outcomes if o.model == name]
            axis.plot(dots, [place] * len(dots), "o", color=f"C{place}", alpha=0.5, markersize=5)
            axis.plot([float(np.mean(dots))], [place], "|", color=f"C{place}", markersize=20, markeredgewidth=3)
        axis.set_title(metric, fontsize=10)
        axis.set_yticks(range(len(names)), names, fontsize=9)
        axis.grid(axis="x", alpha=0.3)
        axis.margins(y=0.1)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_curves(
    runs: Sequence[Run], path: str, names: Sequence[str] = ("loss_classifier", "loss_objectness", "loss")
) -> None:
    """Losses during training: the mean over seeds of a running mean over a tenth of the training, a line for each model."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(names), figsize=(5 * len(names), 3.6), layout="constrained")
    for colour, model in enumerate(MODELS):
        logs = [os.path.join(run.folder, "metrics.jsonl") for run in runs if run.row.model == model]
        lines = [[line for line in read_metrics(log) if "loss" in line] for log in logs if os.path.isfile(log)]
        if not any(lines):
            continue
        length = min(len(of_run) for of_run in lines if of_run)
        for name, axis in zip(names, axes, strict=True):
            mean = np.mean([[line[name] for line in of_run[:length]] for of_run in lines if of_run], axis=0)
            window = max(length // 10, 1)
            smooth = np.convolve(mean, np.ones(window) / window, "valid")
            iterations = [line["iteration"] for line in lines[0][window - 1 : length]]
            axis.plot(iterations, smooth, color=f"C{colour}", label=model, linewidth=1.2)
    for name, axis in zip(names, axes, strict=True):
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("iteration", fontsize=9)
        axis.set_yscale("log")
        axis.grid(alpha=0.3, which="both")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    figure.savefig(path, dpi=110)
    plt.close(figure)
