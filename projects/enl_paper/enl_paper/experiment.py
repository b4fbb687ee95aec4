"""The paper's claim as a controlled experiment on Relations: which runs there are, on which data, and what they measured."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from enl_paper.relations import CONTEXTS
from enl_paper.reproduction import Run
from enl_paper.roles import role_figures
from enl_paper.tables import PaperRow
from maskrcnn_benchmark.utils.files import write_json, write_text

PROJECT = Path(__file__).parent
TABLE = "relations"
# The modules of each model; nothing else differs between them.
MODELS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "+1NL, BU": {"BOTTOM_UP": {"TYPE": "nl"}},
    "+3ENL, TD": {"TOP_DOWN": {"TYPE": "enl"}},
    "+3ENL, TD without position": {"TOP_DOWN": {"TYPE": "enl"}, "POSITION": ""},
    "+3NL, TD": {"TOP_DOWN": {"TYPE": "nl"}},
    "+3LA, TD": {"TOP_DOWN": {"TYPE": "linear_attention"}},
    "+1LA, TD res3": {"TOP_DOWN": {"TYPE": "linear_attention", "STAGES": ["res3"]}},
    "+1ENL, TD res5": {"TOP_DOWN": {"TYPE": "enl", "STAGES": ["res5"]}},
    "+1ENL, TD res4": {"TOP_DOWN": {"TYPE": "enl", "STAGES": ["res4"]}},
    "+1ENL, TD res3": {"TOP_DOWN": {"TYPE": "enl", "STAGES": ["res3"]}},
}
BASELINE, PRETRAINING = "baseline", "pretraining"


@dataclass(frozen=True)
class Size:
    """How large the experiment is.

    pretraining: iterations of the model that all others start from, on scenes where deciders are drawn at random: it knows
    every thing, and no relation. 0 where the configuration names weights. train, val: images, val for each of CONTEXTS.
    """

    preset: str
    iterations: int
    pretraining: int
    train: int
    val: int


SIZES = {"small": Size("small", 800, 700, 4000, 300), "full": Size("full", 12000, 0, 12000, 1000)}


def stem(model: str) -> str:
    """Of file names: +1ENL, TD res5 -> 1enl_td_res5."""
    return model.lower().replace("+", "").replace(",", "").replace(" ", "_")


def data_commands(size: Size, out: str) -> list[list[str]]:
    """Arguments of `mrb scenes`. The three test sets are the same scenes; they differ in the deciders alone."""
    wanted = [(context, size.train if context == "true" else 0, size.val, 0) for context in CONTEXTS]
    if size.pretraining:
        wanted.append(("shuffled", size.train, size.val, 1))
    commands = []
    for context, train, val, seed in wanted:
        name = PRETRAINING if seed else context
        counts = ["--train", str(train), "--val", str(val), "--seed", str(seed)]
        commands.append(
            ["--out", os.path.join(out, "data", name), "--preset", size.preset, "--context", context, *counts]
        )
    return commands


def annotation_file(out: str, name: str, split: str = "val") -> str:
    return os.path.join(out, "data", name, "annotations", f"instances_{split}.json")


def plan(
    name: str,
    size: Size,
    out: str,
    seeds: Sequence[int],
    options: Sequence[str] = (),
    models: Sequence[str] = tuple(MODELS),
) -> tuple[list[Run], list[Run]]:
    """The pretraining, if there is one, and a run for each model and seed; their configurations are written to `out`."""
    start: list[Run] = []
    if size.pretraining:
        config = _write_config(out, f"{name}_pretraining.yaml", PRETRAINING, size.pretraining, {}, [PRETRAINING])
        start.append(_run(PRETRAINING, 0, config, os.path.join(out, PRETRAINING), options))
    weight = {"WEIGHT": os.path.join(start[0].folder, "model_final.pth")} if start else {}
    runs = []
    for seed in seeds:  # outermost: an experiment that is cut short has whole seeds
        for model in models:
            modules = MODELS[model]
            content = {**weight, **({"NON_LOCAL": modules} if modules else {})}
            config = _write_config(out, f"{name}.yaml", stem(model), size.iterations, content, list(CONTEXTS))
            runs.append(_run(model, seed, config, os.path.join(out, f"{stem(model)}_seed{seed}"), options))
    return start, runs


def _run(model: str, seed: int, config: str, folder: str, options: Sequence[str]) -> Run:
    return Run(TABLE, PaperRow("", model, os.path.basename(config), ()), seed, config, folder, tuple(options))


def _write_config(out: str, base: str, name: str, iterations: int, model: dict, tests: list[str]) -> str:
    path = os.path.join(out, "configs", f"{name}.yaml")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    train = PRETRAINING if name == PRETRAINING else CONTEXTS[0]
    names = {"train": (train, "train"), **{test: (test, "val") for test in tests}}
    definitions = {
        f"relations_{key}": {
            "IMG_DIR": os.path.join(out, "data", data, split),
            "ANN_FILE": annotation_file(out, data, split),
        }
        for key, (data, split) in names.items()
    }
    content = {
        "_BASE_": os.path.relpath(PROJECT / "configs" / base, os.path.dirname(path)),
        "DATASETS": {
            "DEFINITIONS": definitions,
            "TRAIN": ["relations_train"],
            "TEST": [f"relations_{test}" for test in tests],
        },
        "SOLVER": {"MAX_ITER": iterations, "STEPS": [round(iterations * share) for share in (2 / 3, 8 / 9)]},
    }
    if model:
        content["MODEL"] = model
    write_text(path, yaml.safe_dump(content, sort_keys=False))
    return path


@dataclass(frozen=True)
class Outcome:
    """What one run measured: figures by context and metric (roles.METRICS), percent."""

    model: str
    seed: int
    figures: dict[str, dict[str, float]]


def outcomes(runs: Sequence[Run], out: str) -> list[Outcome]:
    """Of the runs that are done. Figures are computed once and kept beside the detections."""
    found = []
    for run in runs:
        if run.figures() is None:
            continue
        figures = {context: _figures(run.folder, out, context) for context in CONTEXTS}
        found.append(Outcome(run.row.model, run.seed, figures))
    return found


def _figures(folder: str, out: str, context: str) -> dict[str, float]:
    place = Path(folder, "inference", f"relations_{context}")
    kept, source = place / "roles.json", place / "bbox.json"
    if not kept.is_file() or kept.stat().st_mtime < source.stat().st_mtime:
        detections = json.loads(source.read_text(encoding="utf-8"))
        write_json(str(kept), role_figures(annotation_file(out, context), detections))
    return json.loads(kept.read_text(encoding="utf-8"))


def resized(size: Size, iterations: int | None) -> Size:
    """With another number of iterations, and of pretraining in proportion."""
    if iterations is None:
        return size
    return replace(size, iterations=iterations, pretraining=-(-size.pretraining * iterations // size.iterations))
