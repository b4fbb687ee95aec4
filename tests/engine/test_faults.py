"""Faults injected into trainings: nothing older than the last checkpoint is lost, and a resumed run equals a whole one."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult
from maskrcnn_benchmark.data.guarded import SeededBatches
from maskrcnn_benchmark.data.samplers import GroupedBatchSampler, IterationBasedBatchSampler
from maskrcnn_benchmark.engine import run as engine_run
from maskrcnn_benchmark.engine import saving
from maskrcnn_benchmark.engine.batches import Batches, LoaderDiedError
from maskrcnn_benchmark.engine.errors import EvaluationError
from maskrcnn_benchmark.engine.hang_watch import EXIT_STATUS
from maskrcnn_benchmark.utils import distributed as comm
from maskrcnn_benchmark.utils.logger import setup_logger
from tests.engine.faulty import ITERATIONS, resume
from tests.support.fakes import Loader, Run
from tests.support.processes import run_in_processes

ROOT = Path(__file__).parents[2]


def program(*words: object, torchrun: tuple[str, ...] = (), timeout: float = 240) -> subprocess.CompletedProcess:
    launch = ["-m", "torch.distributed.run", "--standalone", *torchrun] if torchrun else []
    return subprocess.run(
        [sys.executable, *launch, "-m", "tests.engine.faulty", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def weights(folder: Path, name: str = "model_final") -> dict:
    """Everything of a checkpoint that a run goes on with."""
    saved = torch.load(folder / f"{name}.pth", weights_only=True)
    momentum = [state["momentum_buffer"] for state in saved["optimizer"]["state"].values()]
    return {**saved["model"], **dict(enumerate(momentum)), "iteration": torch.tensor(saved["iteration"])}


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["iteration"], line["loss"]) for line in lines]


@pytest.mark.slow
def test_killed_at_many_random_moments(tmp_path):
    resume(tmp_path / "whole")
    done = program("killed", tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) >= 8
    assert_same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")  # every iteration reported once
    kept = sorted(path.name for path in (tmp_path / "killed").glob("model_*.pth"))
    assert kept == [f"model_{i:07d}.pth" for i in (ITERATIONS - 30, ITERATIONS - 20, ITERATIONS - 10)] + [
        "model_final.pth"
    ]
    assert not list((tmp_path / "killed").glob("*.partial"))


def checkpoints(folder: Path, count: int = 3) -> Run:
    """A run with `count` checkpoints, one an iteration, the last of them the one to resume from."""
    run = Run(folder, count + 1)
    run.train(checkpoint_period=1)
    (folder / "model_final.pth").unlink()
    run.checkpointer.tag_last_checkpoint(str(folder / f"model_{count:07d}.pth"))
    return run


@pytest.mark.parametrize("damage", ["truncated", "empty", "changed", "missing"])
def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path, log, damage):
    checkpoints(tmp_path)
    last = tmp_path / "model_0000003.pth"
    content = last.read_bytes()
    if damage == "missing":
        last.unlink()
    else:
        weight = torch.load(last, weights_only=True)["model"]["linear.weight"].numpy().tobytes()
        at = content.index(weight)
        flipped = content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]
        last.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "changed": flipped}[damage])
    run = Run(tmp_path, 4)
    assert run.checkpointer.load()["iteration"] == 2
    assert f"goes on from the checkpoint before it, {tmp_path / 'model_0000002.pth'}" in log.text
    (tmp_path / "model_0000002.pth").write_bytes(b"")
    assert Run(tmp_path, 4).checkpointer.load()["iteration"] == 1
    (tmp_path / "model_0000001.pth").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model_0000001.pth is not a readable checkpoint \(0 bytes\)"):
        Run(tmp_path, 4).checkpointer.load()


def test_a_disk_that_is_full_for_a_while(tmp_path, log):
    """The limit on the size of files makes torch.save fail as a full disk does."""
    run = Run(tmp_path, 9)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(Loader):
        def __iter__(self):
            for i, batch in enumerate(super().__iter__(), start=1):
                if i == 4:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
                if i == 7:
                    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
                yield batch

    try:
        run.train(Filling(9), checkpoint_period=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "The checkpoint of iteration 4 could not be written" in log.text
    assert "The checkpoint of iteration 6 could not be written" in log.text
    numbers = sorted(int(path.stem[6:]) for path in tmp_path.glob("model_0*.pth"))
    assert numbers == [2, 7, 8]  # 7: as soon as there was room
    whole = Run(tmp_path / "whole", 9)
    whole.train()
    assert_same(weights(tmp_path), weights(tmp_path / "whole"))


def fill(monkeypatch, folder: Path, tries: int = 10**9) -> None:
    """Let so many checkpoints below the folder fail as on a full disk."""
    save, left = torch.save, [tries]

    def limited(data, file, *args, **kwargs):
        if Path(file.name).is_relative_to(folder) and left[0] > 0:
            left[0] -= 1
            raise OSError(28, "No space left on device")
        return save(data, file, *args, **kwargs)

    monkeypatch.setattr(torch, "save", limited)


def test_the_last_checkpoint_goes_elsewhere_when_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    fill(monkeypatch, tmp_path / "run")
    run = Run(tmp_path / "run", 2)
    with pytest.raises(
        OSError, match=r"could not be written .*No space left.* It is in .*model_final_\w+ instead"
    ) as error:
        run.train()
    assert run.checkpointer.save_dir == str(tmp_path / "run")
    place = Path(re.search(r"in (\S+) instead", str(error.value))[1])
    assert place.parent == tmp_path / "temporary"
    for file in place.iterdir():
        shutil.move(file, tmp_path / "run")
    whole = Run(tmp_path / "whole", 2)
    whole.train()
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    assert run.checkpointer.get_checkpoint_file() == str(tmp_path / "run" / "model_final.pth")


def test_there_is_time_to_make_room_for_the_last_checkpoint(tmp_path, monkeypatch, log):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(saving, "LAST_PAUSE_S", 0.01)
    fill(monkeypatch, tmp_path, 4)  # twice in each of two places
    Run(tmp_path / "run", 2).train()
    assert (tmp_path / "run" / "model_final.pth").is_file() and log.text.count("it is tried again every") == 2
    assert not list(tmp_path.glob("model_final*"))
    monkeypatch.setattr(saving, "LAST_TRIES_S", 0)
    fill(monkeypatch, tmp_path)
    with pytest.raises(
        OSError, match=r"could not be written \(.*No space left[^:]*\)\. Make room.*same command.* is lost"
    ):
        Run(tmp_path / "other", 2).train()


@pytest.mark.parametrize("fails", ["evaluation", "whole test"])
def test_a_test_that_fails_costs_no_training(tmp_path, log, fails):
    """Of three tests during the training the second fails; the others count."""
    run, calls = Run(tmp_path, 7), []

    def evaluate(pictures: dict) -> list[EvaluationResult]:
        calls.append(len(calls))
        if len(calls) == 2:
            try:
                raise KeyError("area")
            except KeyError as error:
                if fails == "evaluation":
                    raise EvaluationError("The evaluation failed") from error
                raise
        return [EvaluationResult({"bbox": {"AP": 0.1 * len(calls)}})]

    run.cfg.merge_from_list(["DATASETS.TEST", ("mine",)])
    run.train(evaluate=evaluate, test_period=2)
    assert len(calls) == 3 and run.saved("model_final")["iteration"] == 7
    assert run.saved("model_best")["best"]["value"] == pytest.approx(0.3)
    said = "The evaluation failed" if fails == "evaluation" else "'area'"
    assert f"The test after iteration 4 failed (KeyError: {said}). Training goes on" in log.text


def test_what_is_measured_beside_a_test_that_fails_counts(tmp_path, log):
    """The first data set cannot be tested at first, and the second chooses the best model."""
    run, tests = Run(tmp_path, 7), iter((0.2, 0.3, 0.1))

    def evaluate(pictures: dict) -> list[EvaluationResult]:
        other = EvaluationResult({"bbox": {"AP": next(tests)}})
        if other.metrics["bbox"]["AP"] == 0.1:
            return [other, other]
        error = EvaluationError("The evaluation on one failed")
        error.results = [None, other]
        raise error

    run.cfg.merge_from_list(["DATASETS.TEST", ("one", "two")])
    run.train(evaluate=evaluate, test_period=2)
    assert run.saved("model_best")["best"]["value"] == 0.3 and "one failed" in log.text
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["test/two/bbox/AP"] for line in lines if "test/two/bbox/AP" in line] == [0.2, 0.3, 0.1]
    best = run.saved("model_final")["best"]
    assert best == {"metric": "two/bbox/AP", "value": 0.3, "iteration": 4, "tests_since": 1}


def test_the_metric_wanted_may_be_of_the_test_that_fails(tmp_path):
    run, other = Run(tmp_path, 5), EvaluationResult({"bbox": {"AP": 0.5}})
    found = iter(([None, other], [EvaluationResult({"own": {"f1": 0.4}}), other]))
    run.cfg.merge_from_list(["DATASETS.TEST", ("one", "two"), "TEST.BEST_METRIC", "f1"])
    run.train(evaluate=lambda pictures: next(found), test_period=2)
    assert run.saved("model_best")["best"]["metric"] == "one/own/f1"


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), RuntimeError("PytorchStreamWriter: unexpected pos 704")]
)
def test_a_best_model_that_cannot_be_written_is_left_out(tmp_path, log, error):
    run, values = Run(tmp_path, 7), iter((0.3, 0.2, 0.1))
    save = run.checkpointer.save

    def failing(name: str, **kwargs: object) -> None:
        if name == "model_best" and kwargs["iteration"] == 2:
            raise error
        save(name, **kwargs)

    run.checkpointer.save = failing
    run.cfg.merge_from_list(["DATASETS.TEST", ("mine",)])
    run.train(evaluate=lambda pictures: [EvaluationResult({"bbox": {"AP": next(values)}})], test_period=2)
    assert "model_best.pth could not be written" in log.text
    assert run.saved("model_best")["best"]["value"] == pytest.approx(0.2)  # the best of those that could be written


def test_a_log_on_a_full_disk_is_said_once(tmp_path, capsys):
    logger = setup_logger("full", str(tmp_path), 0)
    (file,) = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    file.stream.close()
    file.stream = open("/dev/full", "w")  # noqa: SIM115 (what it holds can never be written)
    for _ in range(3):
        logger.info("a line")
    with contextlib.suppress(OSError):
        file.stream.close()
    printed = capsys.readouterr()
    assert printed.out.count("a line") == 3 and printed.err.count("is not complete") == 1
    assert "Traceback" not in printed.err
    logger.handlers.clear()


@pytest.mark.parametrize("first", [signal.SIGUSR1, signal.SIGTERM])
def test_a_batch_system_may_signal_more_than_once(tmp_path, first):
    """SIGUSR1 as the warning and SIGTERM at the end: the checkpoint is written between them."""

    class Interrupting(Loader):
        def __iter__(self):
            for i, batch in enumerate(super().__iter__(), start=1):
                if i == 3:
                    os.kill(os.getpid(), first)
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

    run = Run(tmp_path, 50)
    with pytest.raises(SystemExit) as ended:
        run.train(Interrupting(50))
    assert ended.value.code == 128 + signal.SIGTERM
    resume(tmp_path, 6)
    resume(tmp_path / "whole", 6)
    assert_same(weights(tmp_path), weights(tmp_path / "whole"))


@pytest.mark.slow
def test_one_of_two_ranks_dies(tmp_path):
    two = ("--nproc_per_node=2", "--max-restarts=1")
    done = program("one rank dies", tmp_path / "killed", torchrun=two)
    assert done.returncode == 0, done.stderr
    assert (
        "Loading checkpoint from" in done.stdout + done.stderr or (tmp_path / "killed" / "model_0000020.pth").exists()
    )
    run_in_processes(resume_as_rank, str(tmp_path / "whole"), 40)
    assert_same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def resume_as_rank(folder: str, iterations: int) -> int:
    resume(Path(folder), iterations, seed=comm.get_rank())
    return comm.get_world_size()


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_ranks(tmp_path):
    assert run_in_processes(resume_as_rank, str(tmp_path), 5) == [2, 2]
    two = weights(tmp_path)
    run = Run(tmp_path, 8)
    assert run.checkpointer.load()["iteration"] == 5
    assert torch.equal(run.model.linear.weight, two["linear.weight"])
    resume(tmp_path, 8)
    assert run_in_processes(resume_as_rank, str(tmp_path), 10) == [2, 2]
    assert weights(tmp_path)["iteration"] == 10
    assert [iteration for iteration, _ in losses(tmp_path)] == [5, 8, 10]


def starts_apart(folder: str) -> str:
    """As on two nodes whose OUTPUT_DIR is not one folder: only one of them has the checkpoint."""
    try:
        engine_run._check_same_start(40 if comm.get_rank() == 0 else 0)
    except CheckpointError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_ranks_that_found_different_checkpoints_do_not_start(tmp_path):
    for message in run_in_processes(starts_apart, str(tmp_path)):
        assert r"by rank: [40, 0]" in message and "a folder that all nodes share" in message


@pytest.mark.slow
def test_a_hang_names_the_rank_and_the_step(tmp_path):
    done = program("one rank hangs", tmp_path, torchrun=("--nproc_per_node=2",), timeout=120)
    assert done.returncode != 0
    assert "rank 1 has made no progress for 4 s (TIMEOUT) in iteration 3, loading images" in done.stderr or (
        "rank 0 has made no progress for 4 s (TIMEOUT) in iteration 3, computing or waiting" in done.stderr
    )
    assert re.search(rf"exitcode\s*: {EXIT_STATUS}", done.stderr) and "faulty.py" in done.stderr


class Killing(Dataset):
    """Numbers; the process that reads one of `at` dies, `times` times in all."""

    def __init__(self, folder: Path, at: tuple[int, ...], times: int):
        self.folder, self.at, self.times = folder, at, times

    def __len__(self) -> int:
        return 50

    def __getitem__(self, item: tuple[int, int]) -> int:
        index, _ = item
        if index in self.at and len(list(self.folder.iterdir())) < self.times and torch.utils.data.get_worker_info():
            (self.folder / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return index


@pytest.fixture
def noticed_soon(monkeypatch):
    """Loaders look after their processes more often than every five seconds."""
    iterator = torch.utils.data.dataloader._MultiProcessingDataLoaderIter
    monkeypatch.setattr(iterator._try_get_data, "__defaults__", (0.3,))


def loader(dataset: Dataset, workers: int) -> DataLoader:
    batches = IterationBasedBatchSampler(GroupedBatchSampler(range(50), [0] * 50, 2), 12)
    return DataLoader(dataset, batch_sampler=SeededBatches(batches, 0), num_workers=workers, collate_fn=list)


def test_processes_that_load_images_are_started_again_where_they_were(tmp_path, log, noticed_soon):
    groups = list(Batches(loader(Killing(tmp_path, (7, 16), 2), workers=2), start=0, accumulate=2))
    assert groups == list(Batches(loader(Killing(tmp_path, (), 0), workers=0), start=0, accumulate=2))
    assert len(groups) == 6 and groups[1] == [[4, 5], [6, 7]]
    assert len(list(tmp_path.iterdir())) == 2
    assert "exited unexpectedly" in log.text and "starts again where it was (time 2 of 3)" in log.text


def test_processes_that_always_die_are_an_error(tmp_path, noticed_soon):
    with pytest.raises(LoaderDiedError, match="died 4 times; .* lower DATALOADER.NUM_WORKERS"):
        list(Batches(loader(Killing(tmp_path, (7,), 99), workers=1), start=0))
