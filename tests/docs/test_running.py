"""Every block of the documents that says nothing else is run, one document in one folder, on a few small images."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.docs.blocks import ROOT, RUN, blocks_of
from tests.docs.running import programs, run_document, small

# Documents that begin with nothing, as a stranger does; the others find what how-to/index.md promises.
EMPTY = ("docs/start/first-training.md",)
RUNNABLE = [
    name
    for name in RUN
    if any(not b.needs and b.language in ("shell", "python") for b in blocks_of((ROOT / name).read_text()))
]
PREPARE = """
mrb scenes --out data/mine --train 8 --val 4 --quiet
mrb convert data/mine/annotations/instances_train.json --img-dir data/mine/train --to yolo --out cars
mrb suggest data/mine/annotations/instances_train.json --img-dir data/mine/train \\
    --test data/mine/annotations/instances_val.json --test-img-dir data/mine/val --out mine.yaml
mrb train mine.yaml OUTPUT_DIR runs/mine
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return programs(tmp_path_factory.mktemp("programs") / "bin")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, path) -> Path:
    """What how-to/index.md names: data/mine, cars, photos, clip.mp4, mine.yaml and runs/mine."""
    folder = tmp_path_factory.mktemp("prepared")
    document = folder / "prepare.md"
    document.write_text(f"```shell\n{PREPARE}```\n")
    run_document(str(document), folder, path)
    shutil.copytree(folder / "data/mine/val", folder / "photos")
    names = sorted(path.name for path in (folder / "cars/images").iterdir())
    for split, chosen in (("train", names[:5]), ("val", names[5:])):
        (folder / f"cars/{split}.txt").write_text("".join(f"images/{name}\n" for name in chosen))
    text = (folder / "cars/data.yaml").read_text()
    (folder / "cars/data.yaml").write_text(
        "train: train.txt\nval: val.txt\n"
        + "".join(x for x in text.splitlines(True) if not x.startswith(("train", "val")))
    )
    video = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5, (96, 64))
    for shade in (0, 128, 255):
        video.write(np.full((64, 96, 3), shade, np.uint8))
    video.release()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("document", RUNNABLE)
def test_blocks_run(document, tmp_path, path, request):
    folder = tmp_path / "here"
    if document in EMPTY:
        folder.mkdir()
    else:
        shutil.copytree(request.getfixturevalue("prepared"), folder, symlinks=True)
    run_document(document, folder, path)
    if document in EMPTY:
        made = (
            "sheet.jpg",
            "mine/curves.png",
            "mine/drawings/sheet.jpg",
            "mine/errors/report.md",
            "mine/predicted/images.json",
        )
        for name in (*made, "mine/inference/mine_test/metrics.json"):
            assert (folder / "runs" / name).is_file(), name


def test_what_is_made_smaller():
    assert small(["env"]) == ["env"] and small(["check", "x", "--split", "train"]) == ["check", "x", "--split", "train"]
    assert small(["scenes", "--train", "400", "--out", "x"]) == ["scenes", "--train", "8", "--out", "x"]
    words = small(["--nproc_per_node=2", "-m", "maskrcnn_benchmark", "train", "SOLVER.MAX_ITER", "1"])
    assert words.count("SOLVER.MAX_ITER") == 1 and words[words.index("SOLVER.MAX_ITER") + 1] == "1" and "(64,)" in words


def test_a_failing_block_is_named(tmp_path, path):
    document = tmp_path / "page.md"
    document.write_text("a\n\n```shell\necho told\nfalse\n```\n")
    with pytest.raises(AssertionError, match=r"page.md, line 3:\necho told"):
        run_document(str(document), tmp_path, path)
    document.write_text(
        '```python title="x.py"\nprint(41 + 1)\n```\n\n```shell\npython x.py\n```\n\n<!-- needs: x -->\n```shell\nfalse\n```\n'
    )
    assert run_document(str(document), tmp_path, path) == ["42\n"]
    done = subprocess.run([str(path / "python"), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True)
    assert done.stdout.strip() == sys.prefix
