"""--check: two iterations and a test on the CPU, with OUT's tools and a configuration of the fork's, on scenes made here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from . import losses
from .assembling import Assembly
from .fork import Fork

TIMEOUT_S = 900
TRAIN_SET, TEST_SET = "coco_trial_train", "coco_trial_test"
TAIL_LINES = 25
# In a process of OUT's: what each configuration says, and what the fork's catalog makes of its data sets.
_DESCRIBE = """
import importlib, json, sys, warnings
warnings.filterwarnings("ignore")
package, files, out = sys.argv[1], json.loads(sys.argv[2]), open(sys.argv[3], "w")
config = importlib.import_module(package + ".config")
imports = importlib.import_module(package + ".utils.imports")
def flat(node, front=""):
    for key, value in node.items():
        if isinstance(value, dict): yield from flat(value, front + key + ".")
        else: yield front + key, value if isinstance(value, (bool, int, float, str, type(None))) else list(value) \
            if isinstance(value, (list, tuple)) else str(value)
for name in files:
    said = {"file": name}
    try:
        cfg = config.cfg.clone()
        cfg.merge_from_file(name)
        said["keys"] = dict(flat(cfg))
        catalog = imports.import_file(package + ".config.paths_catalog", cfg.PATHS_CATALOG, True).DatasetCatalog
        sets = [value for key, value in said["keys"].items() if key.startswith("DATASETS.") and "TRAIN" in key
                and isinstance(value, list) and value and isinstance(value[0], str)]
        said["set"] = sets[0][0]
        said["catalog"] = cfg.PATHS_CATALOG
        said["args"] = sorted(catalog.get(said["set"])["args"])
    except BaseException as error:
        said["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(said, default=str), file=out, flush=True)
"""
# The fork's own entry of a data set of its own, with the paths of ours.
_CATALOG = """
import importlib.util
_spec = importlib.util.spec_from_file_location("catalog_of_the_fork", {catalog!r})
_fork = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fork)
ModelCatalog = _fork.ModelCatalog
PLACES = {places!r}


class DatasetCatalog(_fork.DatasetCatalog):
    @staticmethod
    def get(name, *args, **kwargs):
        if name not in PLACES:
            return _fork.DatasetCatalog.get(name, *args, **kwargs)
        entry = _fork.DatasetCatalog.get({model!r}, *args, **kwargs)
        entry["args"].update({{key: PLACES[name][key] for key in entry["args"] if key in PLACES[name]}})
        return entry
"""
ROOT_KEYS, FILE_KEYS = ("root", "img_dir", "img_folder", "image_dir"), ("ann_file", "annotation_file", "annFile")
# Wanted values, where the fork's configuration has the key; a tuple is given where it has one.
SETTINGS = {
    "MODEL.DEVICE": "cpu",
    "MODEL.WEIGHT": "",
    "SOLVER.MAX_ITER": 2,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.BASE_LR": 0.0001,
    "SOLVER.CHECKPOINT_PERIOD": 2,
    "SOLVER.TEST_PERIOD": 0,
    "TEST.IMS_PER_BATCH": 1,
    "DATALOADER.NUM_WORKERS": 0,
    "INPUT.MIN_SIZE_TRAIN": 128,
    "INPUT.MAX_SIZE_TRAIN": 192,
    "INPUT.MIN_SIZE_TEST": 128,
    "INPUT.MAX_SIZE_TEST": 192,
    "DTYPE": "float32",
}
_LOSS = re.compile(r"\bloss: (\S+)")


def run(fork: Fork, assembly: Assembly, out: Path, control: Path, scratch: Path, say) -> tuple[list[str], bool]:
    """Train and test in `out`, compare losses with `control`. Returns what to report, and whether it failed."""
    folder = scratch / "trial"
    folder.mkdir()
    chosen = _choose(fork, assembly, out, folder)
    if isinstance(chosen, str):
        return [chosen], True
    say(f"Training two iterations with {chosen['file']}")
    # A keypoint head's NUM_CLASSES counts keypoints.
    numbers = {k: v for k, v in chosen["keys"].items() if k.endswith("NUM_CLASSES") and "KEYPOINT" not in k}
    classes = [v - 1 for v in numbers.values() if isinstance(v, int) and v > 1]
    places = {}
    for number, (name, images) in enumerate(((TRAIN_SET, 4), (TEST_SET, 2))):
        root, annotations = make_scenes(folder / name, images, min([80, *classes]), seed=number)
        places[name] = {**dict.fromkeys(ROOT_KEYS, str(root)), **dict.fromkeys(FILE_KEYS, str(annotations))}
    catalog = folder / "trial_catalog.py"
    own = os.path.join(out, chosen["catalog"])  # an absolute path stays as it is
    catalog.write_text(_CATALOG.format(catalog=own, places=places, model=chosen["set"]))
    options = settings(chosen["keys"], catalog, folder / "output")
    (folder / "output").mkdir()
    lines = [f"With {chosen['file']} and:", "", f"    {' '.join(map(_shown, options))}", ""]
    for tool, extra in (("train_net.py", ["--skip-test"]), ("test_net.py", [])):
        path = out / "tools" / tool
        program = [f"tools/{tool}"]
        if path.is_file():
            text = path.read_text(errors="replace")
            extra = [word for word in extra if word in text or "engine import run" in text]
        elif tool == "train_net.py":  # whose weights the losses are compared with
            lines.append("- the fork has no tools/train_net.py: this package's own stands in its place")
            program = ["-c", f"from {fork.package}.cli.train import main; main()"]
        else:
            lines.append(f"- the fork has no tools/{tool}: nothing was tested")
            continue
        words = [sys.executable, *program, "--config-file", chosen["file"], *extra, *options]
        status, printed = _run(words, out)
        printed_losses = _LOSS.findall(printed) if tool == "train_net.py" else []
        if status == 0 and any(loss.startswith(("nan", "inf", "-inf")) for loss in printed_losses):
            status, printed = 1, f"{printed}\nThe loss is not finite."
        if status == 0 and tool == "train_net.py" and not list((folder / "output").rglob("*.pth")):
            status, printed = 1, f"{printed}\nNo checkpoint was written."
        if status:
            tail = [f"    {line}" for line in printed.replace(str(out), "OUT").splitlines()[-TAIL_LINES:]]
            return [*lines, f"- tools/{tool} failed with status {status}:", "", *tail], True
        lines.append(f"- tools/{tool} passed" + (f"; loss {printed_losses[0]}" if printed_losses else ""))
    weights = sorted((folder / "output").rglob("*.pth"))[-1]
    sampled = [word for key, value in losses.ALL_SAMPLED.items() if key in chosen["keys"] for word in (key, str(value))]
    sentence, differs = losses.compare(
        fork.package, (out, control), chosen["file"], weights, [*options, *sampled], folder
    )
    return [*lines, sentence], differs


def _run(words: Sequence[str], out: Path) -> tuple[int, str]:
    """Exit status and output of a program in OUT without a GPU."""
    try:
        done = subprocess.run(
            words,
            cwd=out,
            env=_environment(out),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return 1, f"It did not end within {TIMEOUT_S} s."
    return done.returncode, done.stdout


def _environment(out: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(out), os.environ.get("PYTHONPATH", ""))))
    return dict(os.environ, PYTHONPATH=path, CUDA_VISIBLE_DEVICES="", PYTHONDONTWRITEBYTECODE="1", MPLBACKEND="Agg")


def _choose(fork: Fork, assembly: Assembly, out: Path, folder: Path) -> dict | str:
    """What is known of the smallest suitable configuration, the fork's own before upstream's; else why there is none."""
    configs = [t for t in assembly.taken if t.path.startswith("configs/") and t.path.endswith((".yaml", ".yml"))]
    files = [t.path for t in sorted(configs, key=lambda t: (t.state == "upstream", *size_of(t.path)))]
    if not files:
        return "The fork has no configuration below configs/ to check with."
    described = folder / "described.jsonl"
    status, printed = _run([sys.executable, "-c", _DESCRIBE, fork.package, json.dumps(files), str(described)], out)
    found = [json.loads(line) for line in described.read_text().splitlines()] if described.exists() else []
    for said in found:
        if "error" not in said and is_suitable(said):
            return said
    last = printed.strip().splitlines()[-1:] if status else []
    reasons = sorted({said.get("error", "its data set is not of COCO's boxes and masks") for said in found})
    said_no = "; ".join([*reasons[:3], *last])
    return f"None of the fork's configurations works on COCO's boxes and masks: {said_no}"


def size_of(path: str) -> tuple:
    """Sorts configurations: shallow bodies, plain convolutions, few words in the name first."""
    name = path.rsplit("/", 1)[-1]
    depths = [int(number) for number in re.findall(r"(?<!\d)(18|34|50|101|152)(?!\d)", name)]
    heavy = sum(
        word in name.lower() for word in ("x-", "x_", "dcn", "_2x", "ms", "syncbn", "gn", "cascade", "c4", "hrnet")
    )
    return max(depths, default=60), heavy, path.count("/"), len(name), path


def is_suitable(said: dict) -> bool:
    """Whether a data set in COCO's format with boxes and masks is all that training asks for."""
    keys, args = said["keys"], set(said["args"])
    more = ("KEYPOINT_ON", "RELATION_ON", "ATTRIBUTE_ON", "CHAR_MASK_ON")
    wants_more = any(value is True and key.endswith(more) for key, value in keys.items())
    return not wants_more and bool(args & set(ROOT_KEYS)) and bool(args & set(FILE_KEYS))


def settings(keys: dict, catalog: Path, output: Path) -> list[str]:
    """KEY VALUE pairs for the command line, of the keys that this configuration has, in the type that it has."""
    wanted: dict[str, object] = {**SETTINGS, "PATHS_CATALOG": str(catalog), "OUTPUT_DIR": str(output)}
    for key, value in keys.items():
        if key.startswith("DATASETS.") and isinstance(value, list) and value and isinstance(value[0], str):
            if "TRAIN" in key or "TEST" in key:
                wanted[key] = TRAIN_SET if "TRAIN" in key else TEST_SET
        # So that a model of two iterations finds something, and all of the test runs.
        if key.startswith("MODEL.") and key.endswith(".SCORE_THRESH"):
            wanted[key] = -1.0
        if key.startswith("MODEL.") and key.endswith(".INFERENCE_TH"):  # whose logarithm may be taken
            wanted[key] = 1e-6
    words: list[str] = []
    for key, value in wanted.items():
        if key in keys:
            words += [key, repr((value,)) if isinstance(keys[key], list) else str(value)]
    return words


def _shown(word: str) -> str:
    return f'"{word}"' if not word or set(word) & set(" ('") else word


def make_scenes(folder: Path, images: int, classes: int, seed: int) -> tuple[Path, Path]:
    """Images with two filled rectangles each, and their annotations in COCO's format: (folder of images, file)."""
    random = np.random.default_rng(seed)
    root = folder / "images"
    root.mkdir(parents=True)
    missing = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # ids that COCO leaves out: forks map them by COCO's own table
    ids = [number for number in range(1, 91) if number not in missing][:classes]
    content: dict[str, list] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": f"kind {i}"} for i in ids],
    }
    for number in range(1, images + 1):
        pixels = random.integers(0, 255, (128, 160, 3), dtype=np.uint8)
        content["images"].append({"id": number, "file_name": f"{number:012d}.jpg", "width": 160, "height": 128})
        for part in range(2):
            x, y, width, height = 8 + 70 * part, 10 + 12 * part, 56, 60
            pixels[y : y + height, x : x + width] = random.integers(0, 255, 3)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": ids[(number + part) % len(ids)],
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
                }
            )
        Image.fromarray(pixels).save(root / f"{number:012d}.jpg")
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(content))
    return root, annotations
