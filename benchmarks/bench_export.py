"""Latency of exported detectors against the plain model, on the CPU, and how far their detections are from its.

The model that comes with the project (demo/models), or with --config-file and --ckpt another one, on generated scenes scaled to
its test size. All run in turn, in one process; milliseconds are medians over --repeat turns, ratios plain over exported, the
median of the turns' ratios.

    python benchmarks/bench_export.py [--repeat 15] [--markdown FILE]
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from bench_cpu_inference import processor
from torch import Tensor
from torchvision.ops import box_iou

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data.datasets.relations import PRESETS, generate_scene
from maskrcnn_benchmark.engine.run import command_line
from maskrcnn_benchmark.export import ExportableDetector, export_program, quantize_onnx, write
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from maskrcnn_benchmark.utils.files import write_text

MODELS = os.path.join(os.path.dirname(__file__), "..", "demo", "models")
Detect = Callable[[Tensor], Any]


def pictures(side: int, count: int, seed: int = 99) -> list[Tensor]:
    """Scenes with a shorter side of `side` pixels: uint8 Tensor[H, W, 3], RGB."""
    made = []
    for index in range(count):
        scene, _ = generate_scene(PRESETS["demo"], index, seed=seed)
        scale = side / min(scene.shape[:2])
        scene = cv2.resize(scene, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        made.append(torch.from_numpy(np.ascontiguousarray(scene[:, :, ::-1])))
    return made


def variants(model: torch.nn.Module, cfg: Any, folder: str) -> dict[str, Detect]:
    """The plain detector and its exported forms, by name; all take the pixels and return boxes, labels, scores, masks."""
    import onnxruntime

    detector = ExportableDetector(model, cfg)
    program = export_program(model, cfg)
    for format, end in (("onnx", ".onnx"), ("aoti", ".package.pt2")):
        write(program, format, os.path.join(folder, "model" + end), detector.names)
    narrow = os.path.join(folder, "narrow.onnx")
    shutil.copy(os.path.join(folder, "model.onnx"), narrow)
    quantize_onnx(narrow, pictures(cfg.INPUT.MIN_SIZE_TEST, 32, seed=98))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    sessions = [onnxruntime.InferenceSession(p, options) for p in (os.path.join(folder, "model.onnx"), narrow)]
    return {
        "plain (batch norms folded)": detector,
        "torch.export program": program.module(),
        "ahead-of-time library": torch._inductor.aoti_load_package(os.path.join(folder, "model.package.pt2")),
        f"ONNX, onnxruntime {onnxruntime.__version__}": lambda image: sessions[0].run(None, {"image": image.numpy()}),
        "ONNX in 8 bits": lambda image: sessions[1].run(None, {"image": image.numpy()}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default=os.path.join(MODELS, "relations_enl.yaml"), metavar="FILE")
    parser.add_argument("--ckpt", default=os.path.join(MODELS, "relations_enl.pth"), metavar="FILE")
    parser.add_argument("--repeat", type=int, default=15, help="turns (default 15)")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there too")
    args = parser.parse_args()
    with command_line(), torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        cfg = defaults.clone()
        cfg.merge_from_file(args.config_file)
        cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS", False])
        model = build_detection_model(cfg).eval()
        DetectronCheckpointer(cfg, model).load(args.ckpt)
        with torch.inference_mode(False):
            detectors = variants(model, cfg, folder)
        images = pictures(cfg.INPUT.MIN_SIZE_TEST, 5)
        lines = report(detectors, images, args.repeat)
        about = (
            f"{os.path.basename(args.config_file)}, {len(images)} scenes of shorter side {cfg.INPUT.MIN_SIZE_TEST}; "
        )
        lines.append(f"\n{about}torch {torch.__version__}, {torch.get_num_threads()} threads, {processor()}")
        print("\n".join(lines))
        if args.markdown:
            write_text(args.markdown, "\n".join(lines) + "\n")


def compare(expected: list[list[np.ndarray]], found: list[list[np.ndarray]]) -> tuple[int, float, float]:
    """How many expected detections come again, with the same label and IoU above 0.5, and how far off these are at most."""
    again, boxes, scores = 0, 0.0, 0.0
    for ours, theirs in zip(expected, found, strict=True):
        overlaps = box_iou(torch.from_numpy(ours[0]), torch.from_numpy(theirs[0])).numpy()
        overlaps[ours[1][:, None] != theirs[1]] = 0
        for index, row in enumerate(overlaps):
            if row.max(initial=0) > 0.5:
                best, again = row.argmax(), again + 1
                boxes = max(boxes, float(np.abs(ours[0][index] - theirs[0][best]).max()))
                scores = max(scores, float(abs(ours[2][index] - theirs[2][best])))
    return again, boxes, scores


def report(detectors: dict[str, Detect], images: list[Tensor], repeat: int) -> list[str]:
    """Lines of a Markdown table; the first detector is the one compared with."""
    plain = next(iter(detectors))
    expected = [[np.asarray(part) for part in detectors[plain](image)] for image in images]
    agreement = {}
    for name, detect in detectors.items():  # also warms up
        found = [[np.asarray(part) for part in detect(image)] for image in images]
        agreement[name] = compare(expected, found)
    times: dict[str, list[float]] = {name: [] for name in detectors}
    for _ in range(repeat):
        for name, detect in detectors.items():
            start = time.perf_counter()
            for image in images:
                detect(image)
            times[name].append(1000 * (time.perf_counter() - start) / len(images))
    lines = [
        f"| detector | ms an image | ratio | of {sum(len(parts[0]) for parts in expected)} detections found | "
        "boxes differ by | scores differ by |",
        "|---|---|---|---|---|---|",
    ]
    for name, of_name in times.items():
        ratio = statistics.median(a / b for a, b in zip(times[plain], of_name, strict=True))
        again, boxes, scores = agreement[name]
        lines.append(
            f"| {name} | {statistics.median(of_name):.1f} | {ratio:.2f} | {again} | {boxes:.1e} px | {scores:.1e} |"
        )
    return lines


if __name__ == "__main__":
    main()
