"""From a command to its first detection: imports, building and loading a model, one image; each in a process of its own.

    python benchmarks/bench_first_result.py [--repeat 7]

`mrb predict` writes the drawn image and the detections, with the model that is shipped and with Faster R-CNN R-50-FPN (random
weights, 800 x 1120 pixels). torchvision's program reads the same image, builds its Faster R-CNN R-50-FPN, loads weights and
detects; it writes nothing.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn

import harness
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.modeling.detector import build_detection_model

CONFIG = "e2e_faster_rcnn_R_50_FPN_1x"
TORCHVISION = """
import sys
import torch, torchvision
from torchvision.models.detection import fasterrcnn_resnet50_fpn

image, weights, size = sys.argv[1:]
model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=int(size), max_size=1333).eval()
model.load_state_dict(torch.load(weights, weights_only=True))
with torch.inference_mode():
    model([torchvision.io.decode_image(image) / 255])
"""


def program(words: Sequence[str], out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)  # or a prediction finds that all is done
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def prepare(folder: Path, width: int, height: int) -> dict[str, Sequence[str]]:
    """The image and the weights; returns what is to be run, by what the table calls it."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    cv2.imwrite(str(folder / "image.png"), cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))
    own = cfg.clone()
    own.merge_from_file(f"configs/{CONFIG}.yaml")
    torch.save({"model": build_detection_model(own).state_dict()}, folder / "own.pth")
    torch.save(fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict(), folder / "torchvision.pth")
    image, size = str(folder / "image.png"), str(min(width, height))
    predict = (
        "-m",
        "maskrcnn_benchmark",
        "predict",
        "--input",
        image,
        "--out",
        str(folder / "out"),
        "MODEL.DEVICE",
        "cpu",
    )
    large = ("--config-file", CONFIG, "--ckpt", str(folder / "own.pth"), "INPUT.MIN_SIZE_TEST", size)
    return {
        "import torch": ("-c", "import torch"),
        "import torch, torchvision": ("-c", "import torch, torchvision"),
        "torchvision, Faster R-CNN R-50-FPN": ("-c", TORCHVISION, image, str(folder / "torchvision.pth"), size),
        "mrb predict, Faster R-CNN R-50-FPN": (*predict, *large),
        "mrb predict, the shipped model": predict,
    }


def main() -> None:
    parser = harness.argument_parser(__doc__, repeat=7)
    parser.add_argument("--size", default="1120x800", metavar="WIDTHxHEIGHT")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    print(harness.machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        programs = prepare(Path(folder), width, height)
        sides = {name: partial(program, words, Path(folder, "out")) for name, words in programs.items()}
        times = harness.take_turns(sides, args.repeat, harness.seconds)
    print("| | seconds |\n|---|---|")
    for name, of_side in times.items():
        print(f"| {name} | {statistics.median(of_side):.2f} |")


if __name__ == "__main__":
    main()
