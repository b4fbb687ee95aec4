"""What a run was made with: its command, the state of the code, the environment, configuration and labels."""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.distributed import is_main_process
from maskrcnn_benchmark.utils.files import write_atomically, write_json

PACKAGE = Path(__file__).parents[1]


def _git(*words: str) -> str:
    """What a git command says in the package's folder; empty where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=PACKAGE, capture_output=True, text=True, timeout=30, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def git_state() -> tuple[str, str]:
    """The commit and the files changed since, in words, and the changes as a patch."""
    commit = _git("log", "-1", "--format=%H %s").strip()
    if not commit:
        return "the package is not in a git repository", ""
    changed = _git("status", "--short").strip()
    return commit + (f"\nchanged since:\n{changed}" if changed else ""), _git("diff", "HEAD")


def record_run(folder: str) -> None:
    """Write environment.txt, and changes.patch if the code differs from its commit, to the folder of a run.

    A run that is started again puts the new record in front of the ones before.
    """
    state, patch = git_state()
    text = "\n".join(
        (
            f"started: {time.strftime('%Y-%m-%d %H:%M:%S %z')} on {socket.gethostname()}, in {os.getcwd()}",
            f"command: {shlex.join(sys.orig_argv)}",
            f"code: {state}",
            collect_env_info(),
            "",
        )
    )
    path = os.path.join(folder, "environment.txt")
    before = Path(path).read_text(encoding="utf-8", errors="replace") if os.path.exists(path) else ""
    write_atomically(path, lambda f: f.write(f"{text}\n{before}".encode()))
    if patch:
        write_atomically(os.path.join(folder, "changes.patch"), lambda f: f.write(patch.encode()))


def save_config(cfg, path: str) -> None:
    if is_main_process():
        write_atomically(path, lambda f: f.write(cfg.dump().encode()))


def save_labels(dataset_list: Iterable[Any], output_dir: str) -> None:
    """Write labels.json: the names of the data sets' categories by the ids that the data sets give them, in the order of the
    labels. Of several data sets the first one's ids count, to whose labels the others are matched by name."""
    from maskrcnn_benchmark.data.datasets.facts import labelled_categories  # data/build.py imports this module

    names: dict[Any, str] = {}
    for dataset in dataset_list:
        for id, name in labelled_categories(dataset).items():
            if name not in names.values():
                names.setdefault(id, name)
    write_labels(names, output_dir)


def write_labels(names: Mapping[Any, str], output_dir: str) -> None:
    """Write labels.json of the names of categories by their ids, in the order of the labels; nothing where there are none."""
    if is_main_process() and names:
        os.makedirs(output_dir, exist_ok=True)
        write_json(os.path.join(output_dir, "labels.json"), dict(names))
