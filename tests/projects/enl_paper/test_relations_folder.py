"""Relations, on disk: the folder that is written, and the command line that writes it."""

from __future__ import annotations

import dataclasses
import errno
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
from pycocotools.coco import COCO

from enl_paper.commands import scenes
from enl_paper.relations import (
    PRESETS,
    RELATIONS_CATEGORIES,
    ROLES,
    generate_scene,
    split_seed,
    write_relations,
)

# pycocotools' decode() does not know NumPy 2's signature of __array__ yet
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "projects" / "enl_paper" / "make_relations.py"
DEMO = PRESETS["demo"]
NAMES = {category["id"]: category["name"] for category in RELATIONS_CATEGORIES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("relations") / "demo"
    write_relations(root, {"train": 24, "val": 9}, DEMO, seed=3, workers=2, progress=False)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_bytes_do_not_depend_on_the_number_of_workers(folder, tmp_path):
    write_relations(tmp_path / "one", {"train": 24, "val": 9}, DEMO, seed=3, workers=1, progress=False)
    assert contents(tmp_path / "one") == contents(folder)
    assert not list(folder.rglob("*.partial"))


def test_seeds_splits_and_indices_give_different_scenes(folder):
    files = contents(folder)
    images = [data for name, data in files.items() if name.endswith(".jpg")]
    assert len(images) == 33 == len(set(images))
    assert split_seed(3, "train") != split_seed(3, "val") != split_seed(4, "val")
    first, again, other = (generate_scene(DEMO, 0, seed) for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0]) and first[1] == again[1]
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])


def test_pycocotools_reads_it(folder, capsys):
    for split, size in (("train", 24), ("val", 9)):
        coco = COCO(str(folder / "annotations" / f"instances_{split}.json"))
        assert len(coco.imgs) == size and set(coco.cats) == set(NAMES) and len(coco.anns) > size
        results = [
            {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 1.0}
            for a in coco.anns.values()
        ]
        assert len(coco.loadRes(results).anns) == len(coco.anns)
        for record in coco.imgs.values():
            image = cv2.imread(str(folder / split / record["file_name"]))
            assert image.shape == (record["height"], record["width"], 3)
        for annotation in coco.anns.values():
            assert coco.annToMask(annotation).sum() == annotation["area"]
            assert annotation["role"] in ROLES


def test_a_second_run_reuses_and_repairs(folder, tmp_path):
    root = tmp_path / "again"
    arguments = (root, {"train": 6}, dataclasses.replace(DEMO, image_format="png"))
    write_relations(*arguments, progress=False)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    write_relations(*arguments, progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    lost = root / "train" / "000000000002.png"
    data = lost.read_bytes()
    lost.unlink()
    write_relations(*arguments, progress=False)
    assert lost.read_bytes() == data


def test_other_parameters_are_refused_unless_overwriting(tmp_path):
    root = tmp_path / "relations"
    write_relations(root, {"train": 5, "val": 2}, DEMO, seed=1, progress=False)
    before = contents(root)
    with pytest.raises(ValueError, match="seed: 1 there, 2 asked for"):
        write_relations(root, {"train": 5, "val": 2}, DEMO, seed=2, progress=False)
    with pytest.raises(ValueError, match="context: true there, shuffled asked for"):
        write_relations(
            root, {"train": 5, "val": 2}, dataclasses.replace(DEMO, context="shuffled"), seed=1, progress=False
        )
    assert contents(root) == before
    write_relations(root, {"train": 3}, DEMO, seed=2, progress=False, overwrite=True)
    write_relations(tmp_path / "fresh", {"train": 3}, DEMO, seed=2, progress=False)
    assert contents(root) == contents(tmp_path / "fresh")


def test_a_foreign_folder_is_never_touched(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ValueError, match="not a Relations folder"):
        write_relations(tmp_path, {"train": 1}, DEMO, progress=False, overwrite=True)
    assert contents(tmp_path) == {os.path.join("train", "holiday.jpg"): b"mine"}


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one image, got 'train' with 0"):
        write_relations(tmp_path / "a", {"train": 0}, DEMO)
    with pytest.raises(ValueError, match="plain name"):
        write_relations(tmp_path / "a", {"../train": 1}, DEMO)


def test_tool_writes_and_prints_a_summary_that_adds_up(tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "r"), "--train", "12", "--val", "0", "--workers", "1", "--quiet"]
    assert scenes.main(arguments) == 0
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "r" / "annotations" / "instances_train.json").read_text())
    objects = [NAMES[a["category_id"]] for a in content["annotations"] if not a["iscrowd"]]
    table = {line.split()[0]: int(line.split()[2]) for line in printed.splitlines()[2:14]}
    assert table == {name: objects.count(name) for name in NAMES.values()}
    assert "12 images" in printed and "decided" in printed
    assert scenes.main([*arguments, "--seed", "1"]) == 1
    error = capsys.readouterr().err
    assert "seed: 0 there, 1 asked for" in error and "--overwrite" in error
    assert scenes.main([*arguments, "--seed", "1", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "The disk is full"), (errno.EACCES, "Cannot write to"), (errno.EIO, "Cannot write to")],
)
def test_tool_says_why_it_could_not_write(tmp_path, capsys, monkeypatch, code, message):
    def fail(self: Path, data: bytes) -> int:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "write_bytes", fail)
    assert scenes.main(["--out", str(tmp_path / "r"), "--train", "2", "--val", "0", "--workers", "1", "--quiet"]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("instances_*"))


def test_interrupted_in_its_own_process_the_tool_leaves_no_annotations(tmp_path, capsys, monkeypatch):
    written = []

    def interrupt(self: Path, data: bytes) -> int:
        written.append(self.name)
        if len(written) == 3:
            raise KeyboardInterrupt
        return len(data)

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    assert scenes.main(["--out", str(tmp_path / "r"), "--train", "9", "--workers", "1", "--quiet"]) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert len(written) == 3 and not list(tmp_path.rglob("instances_*"))


def test_interrupted_with_workers_the_tool_leaves_no_annotations(tmp_path):
    root = tmp_path / "r"
    command = [sys.executable, str(TOOL), "--out", str(root), "--train", "100000", "--workers", "2", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not list(root.glob("train/*.jpg")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the tool and to its workers
        _, error = process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 130
    assert error.strip().startswith("Interrupted") and "Traceback" not in error
    assert list(root.glob("train/*.jpg")) and not list(root.rglob("instances_*"))
