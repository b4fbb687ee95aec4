"""Runs programs one after the other, each in a child of this process, which has imported torch and its like for all of them.

    python forked.py JOBS.json

JOBS.json is a list of jobs: {"program", "words", "tree", "modules", "folder", "results"}. The program runs with `tree` in front
of sys.path, in the folder; what it prints goes to FOLDER/log.txt and its exit status to FOLDER/status.txt. It must have imported
each of `modules` from the tree, else the status is 90. The files `results` that it wrote are moved to the folder.
"""

import json
import os
import runpy
import shutil
import sys
import traceback
from pathlib import Path

import cv2
import pycocotools.cocoeval
import torch
import torchvision

IMPORTED = (cv2, pycocotools.cocoeval, torch, torchvision)
NOT_LOADED = 90


def run(job: dict) -> int:
    sys.path.insert(0, job["tree"])
    sys.argv = [job["program"], *job["words"]]
    code = 0
    try:
        runpy.run_path(job["program"], run_name="__main__")
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    for module in job["modules"]:
        path = getattr(sys.modules.get(module), "__file__", None)
        if code == 0 and (path is None or not path.startswith(job["tree"] + os.sep)):
            print(f"{module} was not taken from {job['tree']}: {path}")
            code = NOT_LOADED
    return code


def in_child(job: dict) -> None:
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        log = os.open(folder / "log.txt", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        code = run(job)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    for path in filter(os.path.isfile, job["results"]):
        shutil.move(path, folder)
    (folder / "status.txt").write_text(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for entry in json.loads(Path(sys.argv[1]).read_text()):
        in_child(entry)
