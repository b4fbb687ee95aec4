"""What the runs behind the tables lack, and how long they will take, before anything starts."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from enl_paper.reproduction import KEPT, Launch, Run
from maskrcnn_benchmark.analysis import build_without_data
from maskrcnn_benchmark.data.catalog import dataset_catalog
from maskrcnn_benchmark.utils.metric_writer import read_metrics
from maskrcnn_benchmark.utils.timer import get_time_str
from maskrcnn_benchmark.utils.wording import counted


@dataclass
class Survey:
    """What was found before anything starts.

    Attributes:
        problems: what must be put right first.
        notes: what is good to know.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def survey(runs: Sequence[Run], launch: Launch) -> Survey:
    """Check data, weights, disk and GPUs, and estimate the time."""
    found = Survey()
    left = [run for run in runs if run.figures() is None]
    _check_data(left, found)
    _check_weights(left, found)
    _check_disk(left, found)
    if launch.sbatch is None:
        _check_devices(left, launch, found)
    elif shutil.which("sbatch") is None:
        found.problems.append("There is no sbatch here: submit from a machine of the cluster, or leave out --slurm.")
    found.notes.append(_duration(runs, left))
    return found


def _check_data(runs: Sequence[Run], found: Survey) -> None:
    missing = {}
    for run in runs:
        cfg = run.cfg
        catalog = dataset_catalog(cfg)
        for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
            for path in catalog.get(name)["args"].values():
                if isinstance(path, str) and not os.path.exists(path):
                    missing[path] = name
    for path, name in missing.items():
        found.problems.append(f"{path} of {name} is missing; MRB_DATASETS says where data sets are.")


def _check_weights(runs: Sequence[Run], found: Survey) -> None:
    made = {os.path.join(run.folder, "model_final.pth") for run in runs}
    for weight in sorted({run.cfg.MODEL.WEIGHT for run in runs}):
        if "://" in weight:
            found.notes.append(f"The first run with {weight} downloads it, unless that was done before.")
        elif weight and not os.path.isfile(weight) and weight not in made:
            found.problems.append(f"The weights {weight} are missing.")


def _check_disk(runs: Sequence[Run], found: Survey) -> None:
    needed = 0
    for run in runs:
        parameters = sum(p.numel() for p in build_without_data(run.cfg).parameters())
        needed += (KEPT + 2) * 8 * parameters  # weights and momentum
    if not runs:
        return
    place = os.path.abspath(runs[0].folder)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    sentence = f"Checkpoints need about {needed / 1e9:.1f} GB; {place} has {free / 1e9:.1f} GB free."
    (found.problems if needed > free else found.notes).append(sentence)


def _check_devices(runs: Sequence[Run], launch: Launch, found: Survey) -> None:
    gpus = torch.cuda.device_count()
    for device, batch in sorted({(run.cfg.MODEL.DEVICE, run.cfg.SOLVER.IMS_PER_BATCH) for run in runs}):
        if device.startswith("cuda") and gpus < launch.processes:
            found.problems.append(
                f"{counted(launch.processes, 'process needs a GPU', 'processes need as many GPUs')}, and torch finds {gpus} here "
                "(--processes; --slurm to submit)."
            )
        if batch % launch.processes:
            found.problems.append(
                f"{batch} images an iteration do not divide among {launch.processes} processes (--processes)."
            )


def _duration(runs: Sequence[Run], left: Sequence[Run]) -> str:
    """What is left, by the images a second that runs of this plan had."""
    speeds, images = {}, 0
    for run in runs:
        path = os.path.join(run.folder, "metrics.jsonl")
        with contextlib.suppress(OSError):
            measured = [line["images_s"] for line in read_metrics(path) if "images_s" in line]
            if measured:
                speeds[run] = sum(measured[-50:]) / len(measured[-50:])
    for run in left:
        solver = run.cfg.SOLVER
        done = 0
        with contextlib.suppress(OSError, IndexError):
            done = read_metrics(os.path.join(run.folder, "metrics.jsonl"))[-1]["iteration"]
        images += max(solver.MAX_ITER - done, 0) * solver.IMS_PER_BATCH
    what = f"{len(left)} of {len(runs)} runs and {images:,} images are left to train on"
    if not left:
        return f"All {len(runs)} runs are done."
    if not speeds:
        return f"{what}; how long that takes is known once the first run has measured its images a second."
    speed = sum(speeds.values()) / len(speeds)
    return f"{what}: {get_time_str(images / speed)} at the {speed:.1f} images a second of the runs so far."
