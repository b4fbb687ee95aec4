"""The runs behind Tables 1 and 2: which there are, how far they are, and running them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from enl_paper.tables import COLUMNS, TABLES, PaperRow, Result, read_figures
from maskrcnn_benchmark.checkpoint.checkpointer import LAST_CHECKPOINT
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.whole import cfg as defaults
from maskrcnn_benchmark.utils.files import write_text

MRB = [sys.executable, "-m", "maskrcnn_benchmark"]
ROOT = Path(__file__).parents[3]  # of a checkout
SBATCH = "docker/slurm/train.sbatch"  # below ROOT
KEPT = 2  # numbered checkpoints of a run; with model_final.pth and one being written there are four
STOPPED = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
# Bodies that a small machine can train, as different in size as the paper's.
SMALL_BODIES: dict[str, dict[str, Any]] = {
    "R-50": {"BACKBONE": {"CONV_BODY": "R-18-FPN"}},
    "R-101": {"BACKBONE": {"CONV_BODY": "R-34-FPN"}},
    "X-101": {
        "BACKBONE": {"CONV_BODY": "R-50-FPN"},
        "RESNETS": {
            "TRANS_FUNC": "BottleneckWithBatchNorm",
            "RES2_OUT_CHANNELS": 64,
            "NUM_GROUPS": 8,
            "WIDTH_PER_GROUP": 4,
            "STRIDE_IN_1X1": False,
        },
    },
}


@dataclass(frozen=True)
class Run:
    """A row of a table with one seed: its configuration, its folder, and options for the command line."""

    table: str
    row: PaperRow
    seed: int
    config: str
    folder: str
    options: tuple[str, ...] = ()
    category: str = ""  # whose figures count; those of all where it is empty

    @cached_property
    def cfg(self) -> Any:
        cfg = defaults.clone()
        cfg.merge_from_file(self.config)
        cfg.merge_from_list(list(self.options))
        return cfg

    def figures(self) -> tuple[float, ...] | None:
        """On the first data set; None until the run is tested on all of them."""
        columns, tests = COLUMNS[self.table], self.cfg.DATASETS.TEST
        found = [read_figures(self.folder, test, columns, self.category) for test in tests]
        return None if None in found else found[0]

    def is_begun(self) -> bool:
        return os.path.isfile(os.path.join(self.folder, LAST_CHECKPOINT))

    def arguments(self) -> list[str]:
        """Of `mrb train`."""
        return ["--config-file", self.config, "OUTPUT_DIR", self.folder, "SEED", str(self.seed), *self.options]


@dataclass
class Launch:
    """How runs are started: processes on this machine, or a Slurm job each (`sbatch`, its options).

    jobs: runs at the same time on this machine, which share its cores.
    """

    processes: int
    sbatch: list[str] | None = None
    jobs: int = 1

    def command(self, run: Run) -> list[str]:
        if self.sbatch is not None:
            return ["sbatch", *self.sbatch, SBATCH, *run.arguments()]
        if self.processes == 1:
            return [*MRB, "train", *run.arguments()]
        start = [*MRB, "launch", "--standalone", f"--nproc_per_node={self.processes}"]
        return [*start, *MRB[1:], "train", *run.arguments()]


def plan(tables: Sequence[str], out: str, seeds: Sequence[int], options: Sequence[str] = ()) -> list[Run]:
    """The paper's runs: every row, with every seed."""
    common = ("SOLVER.CHECKPOINTS_KEPT", str(KEPT), *options)
    return [
        Run(table, row, seed, f"enl/{row.config}", _folder(out, table, row, seed), common)
        for table in tables
        for row in TABLES[table]
        for seed in seeds
    ]


def _folder(out: str, table: str, row: PaperRow, seed: int) -> str:
    return os.path.join(out, table, f"{Path(row.config).stem}_seed{seed}")


@dataclass(frozen=True)
class SmallData:
    """A data set in COCO format to go through the whole pipeline with, and for how many iterations."""

    train_images: str
    train_annotations: str
    val_images: str
    val_annotations: str
    iterations: int
    num_classes: int


def plan_small(
    tables: Sequence[str], out: str, seeds: Sequence[int], data: SmallData, options: Sequence[str] = ()
) -> list[Run]:
    """The same rows with bodies and a schedule that a small machine can train: configurations are written to `out`."""
    runs = []
    for run in plan(tables, out, seeds, options):
        path = os.path.join(out, "configs", Path(run.row.config).name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_text(path, yaml.safe_dump(_small(run, data), sort_keys=False))
        runs.append(Run(run.table, run.row, run.seed, path, run.folder, run.options))
    return runs


def _small(run: Run, data: SmallData) -> dict[str, Any]:
    paper = defaults.clone()
    paper.merge_from_file(run.config)
    model = {
        "MASK_ON": paper.MODEL.MASK_ON,
        "NON_LOCAL": yaml.safe_load(paper.MODEL.NON_LOCAL.dump()),
        "ROI_BOX_HEAD": {"NUM_CLASSES": data.num_classes},
        **SMALL_BODIES[run.row.backbone],
    }
    definitions = {
        "reproduce_train": {"IMG_DIR": data.train_images, "ANN_FILE": data.train_annotations},
        "reproduce_val": {"IMG_DIR": data.val_images, "ANN_FILE": data.val_annotations},
    }
    steps = [round(data.iterations * share) for share in (2 / 3, 8 / 9)]  # the paper's 240,000 and 320,000 of 360,000
    return {
        "_BASE_": "demo/base_R_18_FPN",
        "MODEL": model,
        "DATASETS": {"DEFINITIONS": definitions, "TRAIN": ["reproduce_train"], "TEST": ["reproduce_val"]},
        "SOLVER": {
            "MAX_ITER": data.iterations,
            "STEPS": steps,
            "WARMUP_ITERS": min(50, data.iterations // 4),
            "CHECKPOINT_PERIOD": max(data.iterations // 4, 1),
        },
    }


def execute(runs: Sequence[Run], launch: Launch, after_each: Callable[[], Any]) -> int:
    """Train and test what is not done, or submit it. Returns the exit status; what fails or is stopped lets no other begin."""
    stop = threading.Event()
    lock = threading.Lock()

    def one(number: int, run: Run) -> int:
        if stop.is_set():
            return 0
        place = f"[{number}/{len(runs)}]"
        if run.figures() is not None:
            print(f"{place} {run.folder} is done")
            return 0
        command = launch.command(run)
        print(f"{place} {'going on' if run.is_begun() else 'starting'}: {shlex.join(command)}", flush=True)
        status = _call(command, launch, run)
        if launch.sbatch is not None and status == 0:
            return 0
        if status == 0 and run.figures() is not None:
            with lock:
                after_each()
            return 0
        stop.set()
        if status in STOPPED:
            return status
        raise ChildProcessError(
            f"{run.folder} ended with status {status}{'' if status else ' but without results'}; see {run.folder}/log.txt. "
            "The same command goes on from its last checkpoint."
        )

    with ThreadPoolExecutor(launch.jobs) as pool:
        try:
            statuses = list(pool.map(one, range(1, len(runs) + 1), runs))
        except BaseException:
            stop.set()
            raise
    status = max(statuses, default=0)
    if status:
        print("Stopped; the same command goes on from there.", file=sys.stderr)
    return status


def _call(command: list[str], launch: Launch, run: Run) -> int:
    """Several runs at once have an equal share of the cores each, and would write over one another on the terminal."""
    if launch.sbatch is not None:
        if not (ROOT / SBATCH).is_file():
            raise ValueError(f"--slurm needs a checkout of the project: there is no {ROOT / SBATCH}.")
        return subprocess.call(command, cwd=ROOT)
    if launch.jobs == 1:
        return subprocess.call(command)
    threads = str(max((os.cpu_count() or 1) // (launch.jobs * launch.processes), 1))
    os.makedirs(run.folder, exist_ok=True)
    with open(os.path.join(run.folder, "output.txt"), "ab") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        return subprocess.call(command, env=environment, stdout=output, stderr=output)


def collect(table: str, runs: Sequence[Run]) -> list[Result]:
    """The rows of a table with the figures of the runs that are done."""
    results = []
    for row in TABLES[table]:
        of_row = ((run.seed, run.figures()) for run in runs if run.table == table and run.row == row)
        results.append(Result(row, {seed: figures for seed, figures in of_row if figures is not None}))
    return results


def small_data(paths: Sequence[str], iterations: int) -> SmallData:
    """Of IMG_DIR ANN_FILE for training and for testing; classes are counted in the former's file."""
    absolute = [os.path.abspath(path) for path in paths]
    for path in absolute:
        if not os.path.exists(path):
            raise FileNotFoundError(f"There is no {path}.")
    with open(absolute[1], encoding="utf-8") as f:
        categories = json.load(f).get("categories", [])
    if not categories:
        raise ConfigError(f"{absolute[1]} has no categories; --scale wants images and annotations in COCO format.")
    train_images, train_annotations, val_images, val_annotations = absolute
    return SmallData(train_images, train_annotations, val_images, val_annotations, iterations, len(categories) + 1)
