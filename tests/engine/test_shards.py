"""Predictions over several processes, killed at any moment and gone on with, are those of one undisturbed process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskrcnn_benchmark.engine.shards import FOLDER, SETTINGS, Shards
from maskrcnn_benchmark.utils.video import VideoWriter
from tests.support.tiny import write_model

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
RESULTS = ("images.json", "predictions.json")


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Pictures of two sizes, two of one name, one broken, a video."""
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(0)
    for i in range(40):
        (folder / "in" / f"f{i // 10}").mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 255, (48, 64 if i % 3 else 80, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "in" / f"f{i // 10}" / f"{i % 20}.png"), picture)
    (folder / "in" / "broken.png").write_bytes(b"no picture")
    with VideoWriter(folder / "in" / "clip.mp4", 5) as writer:
        for i in range(9):
            writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    write_model(folder)
    return folder


def words(archive: Path, out: Path, *more: str) -> list[str]:
    config, weights = (str(next(archive.glob(f"*.{ending}"))) for ending in ("yaml", "pth"))
    given = ["--config-file", config, "--weights", weights, "--input", str(archive / "in"), "--out", str(out)]
    return [*given, "--threshold", "0", "--top-k", "3", *more]


def run(program: list[str], arguments: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*program, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )


ONE = [sys.executable, str(ROOT / "tools" / "predict.py")]


@pytest.fixture(scope="module")
def whole(archive) -> Path:
    done = run(ONE, words(archive, archive / "whole"))
    assert done.returncode == 1 and "1 of 42 inputs could not be used" in done.stderr, done.stderr
    assert "147 detections in 49 images" in done.stdout
    return archive / "whole"


def same(out: Path, whole: Path) -> None:
    for name in RESULTS:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    names = sorted(path.name for path in whole.iterdir())
    assert sorted(path.name for path in out.iterdir()) == names and "9_2.png" in names and "clip.mp4" in names
    for name in names:
        if name.endswith(".png"):
            assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def launch(processes: int) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [*torchrun, *ONE[1:]]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(archive, whole, tmp_path):
    done = run(launch(2), words(archive, tmp_path / "out"))
    assert "147 detections in 49 images" in done.stdout and done.stdout.count("147 detections") == 1, done.stderr
    assert "1 of 42 inputs could not be used" in done.stderr
    same(tmp_path / "out", whole)


def lines_of(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl")) if folder.is_dir() else 0


def kill_after(count: int, arguments: list[str], out: Path) -> bool:
    """Start a prediction and kill it once it has written so many lines more; whether it was still running."""
    before = lines_of(out / FOLDER)
    process = subprocess.Popen(
        [*ONE, *arguments], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while lines_of(out / FOLDER) < before + count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return was_running


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(archive, whole, tmp_path):
    """Also in another number of processes."""
    out = tmp_path / "out"
    arguments = words(archive, out)
    for count in (5, 20):  # of 51 lines, of which those of the video come second
        assert kill_after(count, arguments, out)
        assert not (out / "predictions.json").exists()
    refused = run(ONE, [*arguments, "--threshold", "0.5"])
    assert refused.returncode == 1 and "unfinished run of other settings (threshold 0.0, now 0.5)" in refused.stderr
    done = run(launch(3), arguments)
    assert "inputs are done already." in done.stdout and "147 detections in 49 images" in done.stdout, done.stderr
    same(out, whole)


@pytest.fixture
def shards(tmp_path) -> Shards:
    return Shards(str(tmp_path), {"threshold": 0.5})


def test_a_line_that_was_cut_off_counts_for_nothing(shards, tmp_path):
    shards.append({"input": "a.jpg", "found": [1], "last": True})
    shards.append({"input": "film.mp4", "frame": 0})
    shards.append({"input": "film.mp4", "frame": 1})
    shards.append({"input": "film.mp4", "last": True})
    shards.close()
    (path,) = (tmp_path / FOLDER).glob("*.jsonl")
    content = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        again = Shards(str(tmp_path), {"threshold": 0.5})
        complete = sum(end <= length for end in ends)
        assert set(again.done) == set([(), ("a.jpg",), ("a.jpg",), ("a.jpg",), ("a.jpg", "film.mp4")][complete])
        frames = [line.get("frame") for line in again.attempts()["film.mp4"].lines()] if complete > 1 else []
        assert frames == [0, 1, None][: max(complete - 1, 0)]


def test_a_file_that_was_written_since_is_tried_again(shards, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"1")
    for line in ({"input": str(path), "found": [1], "last": True}, {"input": "gone.jpg", "found": [], "last": True}):
        shards.append(line)
    shards.close()
    assert set(Shards(str(tmp_path), {"threshold": 0.5}).done) == {str(path), "gone.jpg"}
    path.write_bytes(b"another")
    again = Shards(str(tmp_path), {"threshold": 0.5})
    assert set(again.done) == {"gone.jpg"}
    time.sleep(0.01)
    again.append({"input": str(path), "found": [2], "last": True})
    again.close()
    assert [line["found"] for line in again.attempts()[str(path)].lines()] == [[2]]
    assert set(Shards(str(tmp_path), {"threshold": 0.5}).done) == {str(path), "gone.jpg"}


def test_the_best_attempt_counts(shards, tmp_path):
    for attempt in (
        [{"error": "no", "last": True}],
        [{"frame": 0}],
        [{"frame": 0}, {"last": True}],
        [{"error": "x", "last": True}],
    ):
        for line in attempt:
            shards.append({"input": "film.mp4", **line})
        shards.close()
        time.sleep(0.01)
    assert [line.get("frame") for line in shards.attempts()["film.mp4"].lines()] == [0, None]
    assert set(Shards(str(tmp_path), {"threshold": 0.5}).done) == {"film.mp4"}
    with pytest.raises(
        ValueError, match="unfinished run of other settings .threshold 0.5, now 0.6.: take the same again"
    ):
        Shards(str(tmp_path), {"threshold": 0.6})
    shards.remove()
    assert not list(tmp_path.iterdir()) and not Shards(str(tmp_path), {"threshold": 0.6}).done


def test_what_another_process_did_not_write_is_missed(archive, tmp_path, monkeypatch):
    """As on machines without a common disk."""
    from maskrcnn_benchmark.engine import Predictor
    from maskrcnn_benchmark.engine.prediction_results import Results

    config, weights = (str(next(archive.glob(f"*.{ending}"))) for ending in ("yaml", "pth"))
    inputs = sorted(map(str, (archive / "in" / "f0").iterdir()))[:2]
    with pytest.raises(
        OSError, match="Nothing was written of 1 input, for example .*must be one that all processes share"
    ):
        with Results(str(tmp_path), Predictor(config, weights), inputs) as results:
            results.end(inputs[0])
    assert json.loads((tmp_path / FOLDER / SETTINGS).read_text())["threshold"] == 0.5
