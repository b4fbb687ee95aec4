"""Detection without a GPU: this package plain, folded, in bfloat16 and compiled, against torchvision plain and compiled.

Faster or Mask R-CNN R-50-FPN as in bench_model.py: random weights, one 800 x 1120 image, 1000 proposals, class scores spread out
so that 100 detections stay. All run in turn, in one process; seconds are medians over --repeat turns, ratios torchvision's
plain time over the variant's, the median of the turns' ratios. Differences are those of the 1000 proposals' class probabilities
and boxes from this package's plain model, for the same proposals: which proposals are chosen is chance with random weights.

    python benchmarks/bench_cpu_inference.py [--model mask] [--repeat 15] [--markdown FILE]
"""

import argparse
import datetime
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import torch
import torchvision
from bench_model import CONFIGS, inference, ours, sample, theirs
from torch import Tensor, nn
from tqdm import tqdm

from maskrcnn_benchmark.modeling.optimize import optimize_for_inference
from maskrcnn_benchmark.structures.image_list import to_image_list

CPU = torch.device("cpu")
VARIANTS = {
    "this package, plain": None,
    "folded": (torch.float32, False),
    "folded, compiled": (torch.float32, True),
    "folded, bfloat16": (torch.bfloat16, False),
    "folded, bfloat16, compiled": (torch.bfloat16, True),
}


def processor() -> str:
    """The CPU's name and what it multiplies narrow numbers with."""
    name, units = platform.processor() or platform.machine(), ""
    if os.path.isfile("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            lines = dict(line.split(":", 1) for line in f.read().split("\n\n")[0].splitlines())
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        name = fields.get("model name", name)
        known = {"avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}
        units = ", ".join(sorted(known & set(fields.get("flags", "").split())))
    return f"{name} ({units})" if units else name


def make_variants(kind: str) -> tuple[dict[str, Callable[[], object]], dict[str, nn.Module], Tensor]:
    """What is timed, by name; this package's models; the image they see."""
    torch.manual_seed(0)
    other, detect_other, _ = theirs(kind, CPU, 1)
    model, _, _ = ours(os.path.join(CONFIGS, f"e2e_{kind}_rcnn_R_50_FPN_1x.yaml"), CPU, 1, False)
    model.eval()
    pixels = sample(CPU)[0][[2, 1, 0]] * 255 - torch.tensor([102.9801, 115.9465, 122.7717])[:, None, None]
    models = {name: model if use is None else optimize_for_inference(model, *use) for name, use in VARIANTS.items()}
    compiled = torch.compile(other.eval(), dynamic=True)
    image = sample(CPU)[0]
    runs = {"torchvision, plain": inference(other, detect_other), "torchvision, compiled": lambda: compiled([image])}
    runs.update({name: lambda m=m: m(pixels) for name, m in models.items()})  # type: ignore[misc]
    return runs, models, pixels


def differences(models: dict[str, nn.Module], pixels: Tensor) -> dict[str, tuple[float, float]]:
    """Largest difference of a class probability, and of a box's corner in pixels among the classes above the threshold."""
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
    return {
        name: (float((s - scores).abs().max()), float((b - boxes)[:, 1:][shown].abs().max()))
        for name, (s, b) in outputs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="faster", choices=("faster", "mask"))
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--markdown", metavar="FILE", help="append the table to this file as well")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "Changing trainable_backbone_layers")  # bench_model fixes them itself
    runs, models, pixels = make_variants(args.model)
    times: dict[str, list[float]] = {name: [] for name in runs}
    first = {}
    with torch.inference_mode():
        for turn in tqdm(range(-2, args.repeat), desc="turns, two of them to compile"):
            for name, run in runs.items():
                begin = time.perf_counter()
                run()
                elapsed = time.perf_counter() - begin
                if turn >= 0:
                    times[name].append(elapsed)
                else:
                    first.setdefault(name, elapsed)
        error = differences(models, pixels)
    plain = times["torchvision, plain"]
    lines = [
        f"{datetime.date.today()}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}; {args.model} R-CNN R-50-FPN, {args.repeat} turns",
        "",
        "| | seconds | ratio | first image, s | scores differ by | boxes differ by, pixels |",
        "|---|---|---|---|---|---|",
    ]
    for name, series in times.items():
        ratio = statistics.median(a / b for a, b in zip(plain, series, strict=True))
        score, box = error.get(name, (None, None))
        shown = ("", "") if score is None else (f"{score:.1e}", f"{box:.2g}")
        lines.append(
            f"| {name} | {statistics.median(series):.3f} | {ratio:.2f} | {first[name]:.1f} | {shown[0]} | {shown[1]} |"
        )
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if args.markdown:
        with open(args.markdown, "a", encoding="utf-8") as f:
            f.write("\n" + text)


if __name__ == "__main__":
    main()
