"""Detection without a GPU: this package plain, folded, in bfloat16 and compiled, against torchvision plain and compiled.

Faster or Mask R-CNN R-50-FPN as in bench_model.py: random weights, one 800 x 1120 image, 1000 proposals, class scores spread out
so that 100 detections stay. All run in turn, in one process; seconds are medians over --repeat turns, ratios torchvision's
plain time over the variant's, the median of the turns' ratios. Differences are those of the 1000 proposals' class probabilities
and boxes from this package's plain model, for the same proposals: which proposals are chosen is chance with random weights.
Where onnxruntime and OpenVINO are installed, they run the exported model (`mrb export`) with as many threads.

With --images, a second table says how many of so many images a second each gets through: this package one and four at a time,
OpenVINO one at a time and in its throughput mode, in which it looks at as many at once as it finds best.

    python benchmarks/bench_cpu_inference.py [--model mask] [--repeat 15] [--images 8] [--markdown FILE]
"""

import importlib.util
import os
import statistics
import tempfile
import warnings
from typing import Any

import torch
from torch import Tensor, nn

import harness
from bench_export import session
from bench_model import CONFIGS, SIZE, inference, ours, sample, theirs
from harness import CPU, Run
from maskrcnn_benchmark.analysis.sizes import Size, parse_size
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.export import ExportableDetector, export_program, write
from maskrcnn_benchmark.modeling.optimize import optimize_for_inference
from maskrcnn_benchmark.structures.image_list import to_image_list

VARIANTS = {
    "this package, plain": None,
    "folded": (torch.float32, False),
    "folded, compiled": (torch.float32, True),
    "folded, bfloat16": (torch.bfloat16, False),
    "folded, bfloat16, compiled": (torch.bfloat16, True),
}


class Contest:
    """What is timed, by name: for one image in `runs`, for all of them in `many`; this package's models; the image."""

    def __init__(self, kind: str, size: Size, compiled: str, images: int, bfloat16: bool = True):
        torch.manual_seed(0)
        other, detect_other, _ = theirs(kind, CPU, size=size)
        config_file = os.path.join(CONFIGS, f"e2e_{kind}_rcnn_R_50_FPN_1x.yaml")
        model, _, _ = ours(config_file, CPU, size=size)
        model.eval()
        image = sample(CPU, size)[0]
        self.images = images
        self.pixels = image[[2, 1, 0]] * 255 - torch.tensor([102.9801, 115.9465, 122.7717])[:, None, None]
        left_out = [*(["compiled"] if compiled == "none" else []), *([] if bfloat16 else ["bfloat16"])]
        chosen = {name: use for name, use in VARIANTS.items() if not any(word in name for word in left_out)}
        self.precisions = ("f32", "bf16") if bfloat16 else ("f32",)
        self.models = {
            name: model if use is None else optimize_for_inference(model, *use) for name, use in chosen.items()
        }
        self.runs: dict[str, Run] = {"torchvision, plain": inference(other, detect_other)}
        self.many: dict[str, Run] = {"torchvision, plain": lambda: [other([image]) for _ in range(images)]}
        if compiled == "all":
            compiled_other = torch.compile(other.eval(), dynamic=True)
            self.runs["torchvision, compiled"] = lambda: compiled_other([image])
        for name, variant in self.models.items():
            self.runs[name] = lambda variant=variant: variant(self.pixels)  # type: ignore[misc]
            for together in (1, 4):
                self.many[f"{name}, {together} at a time"] = self._batches(variant, together)
        self._add_others(model, config_file, (image * 255).byte().permute(1, 2, 0).contiguous().numpy())

    def _batches(self, model: nn.Module, together: int) -> Run:
        return lambda: [
            model(self.pixels.expand(min(together, self.images - first), -1, -1, -1).contiguous())
            for first in range(0, self.images, together)
        ]

    def _add_others(self, model: nn.Module, config_file: str, image: Any) -> None:
        """The exported model in the programs that are installed; the image is a NumPy array [H, W, 3], uint8."""
        programs = {name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name)}
        if not programs or not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
            return
        cfg = defaults.clone()
        cfg.merge_from_file(config_file)
        cfg.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS = False
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            write(export_program(model, cfg), "onnx", path, ExportableDetector(model, cfg).names)
            if "onnxruntime" in programs:
                run_onnx = session(path)
                self.runs["ONNX Runtime"] = lambda: run_onnx(torch.from_numpy(image))
            for precision in self.precisions if "openvino" in programs else ():
                self._add_openvino(path, precision, image)

    def _add_openvino(self, path: str, precision: str, image: Any) -> None:
        import openvino

        options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        core = openvino.Core()
        one = core.compile_model(path, "CPU", {"PERFORMANCE_HINT": "LATENCY", **options})
        name = f"OpenVINO {openvino.__version__.split('-')[0]}, {precision}"
        self.runs[name] = lambda: one(image)
        self.many[f"{name}, 1 at a time"] = lambda: [one(image) for _ in range(self.images)]
        queue = openvino.AsyncInferQueue(core.compile_model(path, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", **options}))

        def run() -> None:
            for _ in range(self.images):
                queue.start_async({0: image})
            queue.wait_all()

        self.many[f"{name}, throughput mode"] = run


def differences(models: dict[str, nn.Module], pixels: Tensor) -> dict[str, tuple[float, float, float]]:
    """Largest difference of a class probability; median and largest of a box's corner, among the classes above the threshold."""
    (reference, *_) = models.values()
    proposals = reference.rpn(to_image_list(pixels), reference.backbone(pixels[None]))[0]
    outputs = {}
    for name, model in models.items():
        box = model.roi_heads.box
        maps = model.backbone(pixels[None].contiguous(memory_format=torch.channels_last))
        logits, deltas = box.predictor(box.feature_extractor(maps, proposals))
        corners = box.post_processor.box_coder.decode(deltas.float(), proposals[0].bbox).unflatten(1, (-1, 4))
        outputs[name] = logits.float().softmax(1), corners
    scores, boxes = outputs["this package, plain"]
    shown = scores[:, 1:] > 0.05
    found = {}
    for name, (s, b) in outputs.items():
        corners = (b - boxes)[:, 1:][shown].abs()
        found[name] = float((s - scores).abs().max()), float(corners.median()), float(corners.max())
    return found


def main() -> None:
    parser = harness.argument_parser(__doc__, repeat=15)
    parser.add_argument("--model", default="faster", choices=("faster", "mask"))
    parser.add_argument("--size", type=parse_size, default=SIZE, metavar="HxW", help="of the image (default 800x1120)")
    parser.add_argument(
        "--compile",
        default="all",
        choices=("all", "ours", "none"),
        help="what is compiled; torchvision takes 5 to 15 minutes for that (default all)",
    )
    parser.add_argument(
        "--float32", action="store_true", help="without bfloat16, which takes long where it is emulated"
    )
    parser.add_argument("--images", type=int, default=0, help="for the second table (default: none)")
    parser.add_argument("--markdown", metavar="FILE", help="append the tables to this file as well")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "Changing trainable_backbone_layers")  # bench_model fixes them itself
    contest = Contest(args.model, args.size, args.compile, args.images, not args.float32)
    with torch.inference_mode():
        first = {name: harness.seconds(run) for name, run in contest.runs.items()}  # compiles
        times = harness.take_turns(contest.runs, args.repeat, harness.seconds)
        error = differences(contest.models, contest.pixels)
        times_of_many = harness.take_turns(contest.many, args.repeat, harness.seconds) if args.images else {}
    lines = [
        f"{harness.machine()}; {args.model} R-CNN R-50-FPN, {args.repeat} turns",
        "",
        "| | seconds | ratio | first image, s | scores differ by | boxes differ by, pixels: median, most |",
        "|---|---|---|---|---|---|",
    ]
    for name, series in times.items():
        ratio = harness.ratio(times["torchvision, plain"], series)
        shown = ("", "")
        if name in error:
            score, median, most = error[name]
            shown = f"{score:.1e}", f"{median:.2g}, {most:.2g}"
        lines.append(
            f"| {name} | {statistics.median(series):.3f} | {ratio:.2f} | {first[name]:.1f} | {shown[0]} | {shown[1]} |"
        )
    if times_of_many:
        lines += ["", f"| {args.images} images | images a second | ratio |", "|---|---|---|"]
    for name, series in times_of_many.items():
        ratio = harness.ratio(times_of_many["torchvision, plain"], series)
        lines.append(f"| {name} | {args.images / statistics.median(series):.3f} | {ratio:.2f} |")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if args.markdown:
        with open(args.markdown, "a", encoding="utf-8") as f:
            f.write("\n" + text)


if __name__ == "__main__":
    main()
