"""Latency of exported detectors against the plain model, on the CPU, and how far their detections are from its.

The model that comes with the project (demo/models), or with --config-file and --ckpt another one, on generated scenes scaled to
its test size. All run in turn, in one process; milliseconds are medians over --repeat turns, ratios plain over exported, the
median of the turns' ratios.

    python benchmarks/bench_export.py [--repeat 15] [--markdown FILE]
"""

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

import harness
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.loading import load_detector
from maskrcnn_benchmark.export import ExportableDetector, export_program, quantize_onnx, write
from maskrcnn_benchmark.structures.boxes import box_iou
from maskrcnn_benchmark.utils.files import write_text

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "projects", "enl_paper"))  # of the generated scenes
MODELS = os.path.join(os.path.dirname(__file__), "..", "demo", "models")
FORMS = ("program", "aoti", "onnx", "int8")
Detect = Callable[[Tensor], Any]


def pictures(side: int, count: int, seed: int = 99) -> list[Tensor]:
    """Scenes with a shorter side of `side` pixels: uint8 Tensor[H, W, 3], RGB."""
    from enl_paper.relations import PRESETS, generate_scene

    made = []
    for index in range(count):
        scene, _ = generate_scene(PRESETS["demo"], index, seed=seed)
        scale = side / min(scene.shape[:2])
        scene = cv2.resize(scene, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        made.append(torch.from_numpy(np.ascontiguousarray(scene[:, :, ::-1])))
    return made


def variants(model: torch.nn.Module, cfg: Any, folder: str, forms: list[str]) -> dict[str, Detect]:
    """The plain detector and its exported forms, by name; all take the pixels and return boxes, labels, scores, masks."""
    detector = ExportableDetector(model, cfg)
    program = export_program(model, cfg)
    found: dict[str, Detect] = {"plain (batch norms folded)": detector}
    if "program" in forms:
        found["torch.export program"] = program.module()
    if "aoti" in forms:
        library = os.path.join(folder, "model.package.pt2")
        write(program, "aoti", library, detector.names)
        found["ahead-of-time library"] = torch._inductor.aoti_load_package(library)
    if {"onnx", "int8"} & set(forms):
        import onnxruntime

        wide, narrow = (os.path.join(folder, name) for name in ("model.onnx", "narrow.onnx"))
        write(program, "onnx", wide, detector.names)
        found[f"ONNX, onnxruntime {onnxruntime.__version__}"] = session(wide)
        if "int8" in forms:
            shutil.copy(wide, narrow)
            quantize_onnx(narrow, pictures(cfg.INPUT.MIN_SIZE_TEST, 32, seed=98))
            found["ONNX in 8 bits"] = session(narrow)
    return found


def session(path: str) -> Detect:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    opened = onnxruntime.InferenceSession(path, options)
    return lambda image: opened.run(None, {"image": image.numpy()})


def main() -> None:
    parser = harness.argument_parser(__doc__, repeat=15)
    parser.add_argument("--config-file", default=os.path.join(MODELS, "relations_enl.yaml"), metavar="FILE")
    weights = os.path.join(MODELS, "relations_enl.pth")
    parser.add_argument("--ckpt", default=weights, metavar="FILE", help='"" for random weights')
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS, help="exported forms (default: all)")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there too")
    args = parser.parse_args()
    with command_line(), torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        cfg = defaults.clone()
        cfg.merge_from_file(args.config_file)
        cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS", False])
        torch.manual_seed(0)
        model = load_detector(cfg, args.ckpt, require_weights=False)
        with torch.inference_mode(False):
            detectors = variants(model, cfg, folder, args.forms)
        images = pictures(cfg.INPUT.MIN_SIZE_TEST, 5)
        lines = report(detectors, images, args.repeat)
        about = f"{os.path.basename(args.config_file)}, {len(images)} scenes of shorter side {cfg.INPUT.MIN_SIZE_TEST}"
        lines.append(f"\n{about}; {harness.machine()}")
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
    runs = {name: lambda detect=detect: [detect(image) for image in images] for name, detect in detectors.items()}
    times = harness.take_turns(runs, repeat, lambda run: 1000 * harness.seconds(run) / len(images), warm_up=0)
    lines = [
        f"| detector | ms an image | ratio | of {sum(len(parts[0]) for parts in expected)} detections found | "
        "boxes differ by | scores differ by |",
        "|---|---|---|---|---|---|",
    ]
    for name, of_name in times.items():
        ratio = harness.ratio(times[plain], of_name)
        again, boxes, scores = agreement[name]
        lines.append(
            f"| {name} | {statistics.median(of_name):.1f} | {ratio:.2f} | {again} | {boxes:.1e} px | {scores:.1e} |"
        )
    return lines


if __name__ == "__main__":
    main()
