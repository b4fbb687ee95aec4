"""Fine-tuning on a data set of one's own with and without context: the same start, schedule and seeds for each model."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from enl_paper.comparison import compare
from enl_paper.experiment import BASELINE, MODELS, stem
from enl_paper.reproduction import Run
from enl_paper.tables import COLUMNS, PaperRow
from maskrcnn_benchmark.utils.files import write_text

TABLE = "finetuning"
Figures = dict[tuple[str, int], tuple[float, ...]]  # of a model and a seed
METRICS = tuple(column.partition("/")[2] for column in COLUMNS[TABLE])


def plan(config: str, out: str, seeds: Sequence[int], models: Sequence[str], options: Sequence[str] = ()) -> list[Run]:
    """A run for each model and seed of the fine-tuning that `config` describes; their configurations are written to `out`.

    Raises:
        ValueError: there is nothing to test on, or a run in `out` was begun with other settings.
    """
    runs: list[Run] = []
    for seed in dict.fromkeys(seeds):
        for model in dict.fromkeys(models):
            path = os.path.join(out, "configs", f"{stem(model)}.yaml")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            modules: dict[str, Any] = {"BOTTOM_UP": {"TYPE": ""}, "TOP_DOWN": {"TYPE": ""}, **MODELS[model]}
            content = {"_BASE_": os.path.relpath(config, os.path.dirname(path)), "MODEL": {"NON_LOCAL": modules}}
            write_text(path, yaml.safe_dump(content, sort_keys=False))
            folder = os.path.join(out, f"{stem(model)}_seed{seed}")
            runs.append(Run(TABLE, PaperRow("", model, os.path.basename(path), ()), seed, path, folder, tuple(options)))
            check(runs[-1])
    return runs


# On the figures: where and how fast they are computed.
WITHOUT_EFFECT = ("MODEL.DEVICE", "DATALOADER.NUM_WORKERS", "TEST.IMS_PER_BATCH")


def check(run: Run) -> None:
    """Refuse what would have no figures, before it is trained, and what was begun with other settings."""
    wanted = run.cfg
    if not wanted.DATASETS.TEST:
        raise ValueError("The configuration names no data set to test on: set DATASETS.TEST.")
    path = os.path.join(run.folder, "config.yml")
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as f:
            begun = yaml.safe_load(f)
        changed = list(_changes(begun, yaml.safe_load(wanted.dump())))
        if changed:
            raise ValueError(
                f"{run.folder} was begun with other settings: {', '.join(changed)}. Take another --out for these."
            )


def _changes(begun: Any, wanted: Any, key: str = "") -> Iterator[str]:
    """Settings that a training or its figures depend on and that are not what they were."""
    if isinstance(begun, dict) and isinstance(wanted, dict) and key != "DATASETS.DEFINITIONS":
        for name in begun if key else ("INPUT", "MODEL", "SOLVER", "DTYPE", "DATASETS", "DATALOADER", "TEST"):
            full = f"{key}.{name}" if key else name
            if name in begun and name in wanted and full not in WITHOUT_EFFECT:
                yield from _changes(begun[name], wanted[name], full)
    elif begun != wanted:
        yield f"{key} {begun} instead of {wanted}"


def figures(runs: Sequence[Run]) -> Figures:
    """What those of the runs have found that are done."""
    return {(run.row.model, run.seed): tuple(found) for run in runs if (found := run.figures()) is not None}


def as_markdown(found: Figures) -> str:
    """Means over the seeds that every model has, and differences to the baseline with their 95 % intervals, model by model."""
    models = list(dict.fromkeys(model for model, _ in found))
    seeds = [seed for seed in dict.fromkeys(seed for _, seed in found) if all((m, seed) in found for m in models)]
    if len(models) < 2 or len(seeds) < 2:
        return f"Runs done: {len(found)}. A table needs two models, and two seeds of each.\n"
    rows = []
    for model in models:
        cells = [model]
        for column in range(len(METRICS)):
            pair = {
                m: [found[m, seed][column] for seed in seeds] for m in dict.fromkeys((BASELINE, model)) if m in models
            }
            of_model = pair[model]
            mean = sum(of_model) / len(seeds)
            text = f"{mean:.2f}"
            if len(pair) == 2:
                result = compare(pair)
                text += f" ({result.difference(model, BASELINE):+.2f} ± {result.interval:.2f})"
            cells.append("-" if math.isnan(mean) else text)
        rows.append(cells)
    lines = [["model", *METRICS], ["---"] * (1 + len(METRICS)), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    about = f"Percent, means over {len(seeds)} seeds; in brackets the difference to the baseline and half of its 95 % interval."
    return f"{about}\n\n{table}\n"


def as_csv(found: Figures) -> str:
    """One line for each run and metric."""
    lines = ["model,seed,metric,percent"]
    for (model, seed), values in found.items():
        lines += [f'"{model}",{seed},{metric},{value:.4f}' for metric, value in zip(METRICS, values, strict=True)]
    return "\n".join(lines) + "\n"


def read_csv(text: str) -> Figures:
    """What `as_csv` has written."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for line in csv.DictReader(text.splitlines()):
        found.setdefault((line["model"], int(line["seed"])), {})[line["metric"]] = float(line["percent"])
    return {run: tuple(values[metric] for metric in METRICS) for run, values in found.items()}
