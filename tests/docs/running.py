"""Run the blocks of a document one after another in a folder, as a reader would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, blocks_of

# What each command gets in addition, so that it takes seconds: smaller images, fewer iterations, no further processes.
INPUT = {"INPUT.MIN_SIZE_TEST": "64", "INPUT.MAX_SIZE_TEST": "96"}
SMALL = {
    "train": {
        **INPUT,
        "INPUT.MIN_SIZE_TRAIN": "(64,)",
        "DATALOADER.NUM_WORKERS": "0",
        "SOLVER.MAX_ITER": "2",
        "SOLVER.STEPS": "(1,)",
        "SOLVER.WARMUP_ITERS": "0",
    },
    "test": {**INPUT, "DATALOADER.NUM_WORKERS": "0"},
    "predict": INPUT,
}
# What replaces the value that a command line gives.
CAPPED = {"--train": "8", "--val": "4", "SOLVER.MAX_TIME": "0.05"}
LINKED = ("configs", "demo", "docker", "projects", "tools")  # folders of the checkout that documents name


def small(words: list[str]) -> list[str]:
    """The words of a command line of `mrb` or torchrun with what SMALL says; what it gives itself stays, but for CAPPED."""
    command = words[words.index("maskrcnn_benchmark") + 1 if "maskrcnn_benchmark" in words else 0]
    words = [CAPPED.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    return [*words, *(word for pair in SMALL.get(command, {}).items() if pair[0] not in words for word in pair)]


def main() -> None:
    """What stands on the PATH as mrb and torchrun: the same program with smaller work to do."""
    program, words = Path(sys.argv[0]).name, small(sys.argv[1:])
    module = "torch.distributed.run" if program == "torchrun" else "maskrcnn_benchmark"
    os.execv(sys.executable, [sys.executable, "-m", module, *words])


def programs(folder: Path) -> Path:
    """A folder for the PATH with python, mrb and torchrun."""
    folder.mkdir()
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.docs.running import main; main()"
    for name, body in (
        ("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n'),
        ("mrb", f"#!{sys.executable}\n{text}\n"),
        ("torchrun", f"#!{sys.executable}\n{text}\n"),
    ):
        (folder / name).write_text(body)
        (folder / name).chmod(0o755)
    return folder


def run_document(document: str, folder: Path, path: Path) -> list[str]:
    """Run a document's blocks in a folder; `path` is that of `programs`. Returns what each printed.

    Raises AssertionError with the block and its output for one that fails.
    """
    for name in LINKED:
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    environment = {
        **os.environ,
        "PATH": f"{path}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'projects' / 'enl_paper'}",
        "OMP_NUM_THREADS": "1",
        "MRB_MODELS": str(folder / "models"),
    }
    printed = []
    for block in blocks_of((ROOT / document).read_text()):
        if block.needs or block.language == "text":
            continue
        if block.title:
            (folder / block.title).write_text(block.text)
            continue
        if block.language == "yaml":  # a part of a configuration, which test_blocks.py merges
            continue
        words = ["bash", "-euo", "pipefail", "-c"] if block.language == "shell" else [sys.executable, "-c"]
        done = subprocess.run(
            [*words, block.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, (
            f"{document}, line {block.line}:\n{block.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        printed.append(done.stdout + done.stderr)
    return printed
