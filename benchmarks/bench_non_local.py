"""Time and memory of the non-local modules: by the size of the map, at the paper's maps, and within whole models.

    python benchmarks/bench_non_local.py scaling [--device cuda] [--dtype bfloat16] [--plot FILE.png]
    python benchmarks/bench_non_local.py maps [--device cuda] [--dtype bfloat16]
    python benchmarks/bench_non_local.py model [--device cuda] [--dtype bfloat16]

scaling: square maps of 256 channels, sides 25 to 400, one image, inference and training (forward and backward), with
the exponents of a power law fitted to the largest five sizes. What is expected to take longer than --limit seconds or more
than --memory GB is not run, and the table says so.
maps: ENL against its literal form, NL and linear attention (LA) in turn, medians and ratios of the turns, at the maps of
Table 3's models.
model: the share of three ENL in Faster R-CNN R-50-FPN at 800 x 1120: the time of the modules' own operators, recorded by
PyTorch's profiler, over that of the rest of the same run; and the ratio of models with and without them, in turn.

Times are seconds, medians; memory is the peak beyond the input, in MB of 10^6 bytes. Maps and weights are channels_last, as in
the detector.
"""

import argparse
import math
import os
import statistics
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

import bench_model
import harness
from harness import Run
from maskrcnn_benchmark.analysis.memory import peak_memory
from maskrcnn_benchmark.analysis.sizes import parse_size
from maskrcnn_benchmark.layers.non_local import NON_LOCAL

CHANNELS = 256
SIDES = (25, 35, 50, 71, 100, 141, 200, 283, 400)
FITTED = 5
FORMS: dict[str, dict[str, Any]] = {
    "NL, literal": {"type": "nl", "literal": True},
    "NL, attention": {"type": "nl"},
    "ENL, literal": {"type": "enl", "literal": True},
    "ENL": {"type": "enl"},
    "LA": {"type": "linear_attention"},
}


def make(form: dict[str, Any]) -> torch.nn.Module:
    """A module with CHANNELS channels of this type, with these options."""
    return NON_LOCAL[form["type"]](CHANNELS, **{key: value for key, value in form.items() if key != "type"})


class Row(NamedTuple):
    """Of a form on a map: seconds and MB of a forward pass without gradients, and of a forward and a backward pass."""

    positions: int
    inference_s: float
    inference_mb: float
    training_s: float
    training_mb: float


class Case:
    """A form on one map: what is timed."""

    def __init__(self, form: str, height: int, width: int, device: torch.device, dtype: torch.dtype):
        torch.manual_seed(0)
        self.module = make(FORMS[form]).to(device, dtype, memory_format=torch.channels_last)
        x = torch.randn(1, CHANNELS, height, width, device=device, dtype=dtype)
        self.x = x.contiguous(memory_format=torch.channels_last)
        self.grad = torch.randn_like(self.x)

    def inference(self) -> None:
        with torch.inference_mode():
            self.module(self.x)

    def training(self) -> None:
        x = self.x.detach().requires_grad_()
        torch.autograd.grad(self.module(x), [x, *self.module.parameters()], self.grad)


def median_seconds(run: Run, device: torch.device, budget: float) -> float:
    """The median of as many runs as fit into the budget (seconds), 3 to 50, after one to warm up; that one if it is long."""
    first = harness.seconds(run, device)
    if first > budget:
        return first
    count = min(max(int(budget / max(first, 1e-6)), 3), 50)
    return statistics.median(harness.seconds(run, device) for _ in range(count))


def expected_bytes(form: str, positions: int, dtype: torch.dtype) -> float:
    """Two N x N matrices at once in inference, the affinities and their softmax; more in training."""
    return 4.0 * positions**2 * dtype.itemsize if form == "NL, literal" else 0.0


def scaling(args: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> None:
    measured: dict[str, list[Row]] = {}
    print("| form | side | positions | inference s | inference MB | training s | training MB |")
    print("|---|---|---|---|---|---|---|")
    for form in FORMS:
        rows = measured.setdefault(form, [])
        for side in args.sides:
            positions = side * side
            if expected_bytes(form, positions, dtype) > args.memory * 1e9:
                print(f"| {form} | {side} | {positions} | not run: over {args.memory:g} GB expected | | | |")
                break
            case, figures = Case(form, side, side, device, dtype), []
            for run, field in ((case.inference, "inference_s"), (case.training, "training_s")):
                if expected_seconds(form, positions, rows, field) > args.limit:
                    figures += [math.nan, math.nan]
                else:
                    figures += [median_seconds(run, device, args.budget), peak_memory(run, device) / 1e6]
            rows.append(Row(positions, *figures))
            cells = (f"over {args.limit:g} s" if math.isnan(n) else f"{n:.4g}" for n in figures)
            print(f"| {form} | {side} | {positions} | " + " | ".join(cells) + " |", flush=True)
    print()
    print("| form | exponent of time, inference | training | exponent of memory, inference | training |")
    print("|---|---|---|---|---|")
    for form, rows in measured.items():
        fits = [exponent(rows, field) for field in ("inference_s", "training_s", "inference_mb", "training_mb")]
        print(f"| {form} | " + " | ".join(f"{fit:.2f}" for fit in fits) + " |")
    if args.plot:
        plot(measured, args.plot, f"{harness.describe(device)}, {args.dtype}")


def expected_seconds(form: str, positions: int, rows: list[Row], field: str) -> float:
    """By the growth that is expected of the form from its last size, or infinite if that was not run."""
    if not rows:
        return 0.0
    last = getattr(rows[-1], field)
    return (
        math.inf if math.isnan(last) else last * (positions / rows[-1].positions) ** (2 if form.startswith("NL") else 1)
    )


def exponent(rows: list[Row], field: str) -> float:
    """Of the power law in N that fits the largest sizes best, by least squares of the logarithms."""
    points = [(row.positions, getattr(row, field)) for row in rows if not math.isnan(getattr(row, field))]
    logarithms = np.log(points[-FITTED:])
    return float(np.polyfit(logarithms[:, 0], logarithms[:, 1], 1)[0])


def plot(measured: dict[str, list[Row]], path: str, title: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    labels = ("time of a forward and a backward pass, s", "peak memory of an inference, MB")
    for axis, field, label in zip(axes, ("training_s", "inference_mb"), labels, strict=True):
        for (form, rows), marker in zip(measured.items(), "ov^sD", strict=True):
            name = f"{form}: N^{exponent(rows, field):.2f}"
            axis.loglog([r.positions for r in rows], [getattr(r, field) for r in rows], marker=marker, label=name)
        for side, name in ((35, "res5"), (70, "res4"), (140, "res3")):
            positions = side * side * 25 / 35
            axis.axvline(positions, color="0.8", linewidth=0.8, zorder=0)
            axis.annotate(
                name, (positions, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", color="0.4"
            )
        axis.set_xlabel("positions N of the map")
        axis.set_ylabel(label)
        axis.grid(True, which="major", alpha=0.3)
        axis.legend()
    figure.suptitle(f"Maps of {CHANNELS} channels, {title}. Grey: the levels of an 800 x 1120 image")
    figure.savefig(path, dpi=120)
    print(f"\nWrote {path}")


def maps(args: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> None:
    others = [form for form in FORMS if form != "ENL"]
    names = ["ENL s", *(f"{form} s" for form in others), *(f"{form} / ENL" for form in others)]
    print("| map | | " + " | ".join(names) + " |")
    print("|---" * (2 + len(names)) + "|")
    for level in (1, 2, 4):
        height, width = 100 // level // args.divide, 136 // level // args.divide
        forms = [form for form in FORMS if level > 1 or not form.startswith("NL")]
        cases = {form: Case(form, height, width, device, dtype) for form in forms}
        for what in ("inference", "training"):
            runs = {form: getattr(case, what) for form, case in cases.items()}
            times = harness.take_turns(runs, args.repeat, lambda run: harness.seconds(run, device))
            seconds = [f"{statistics.median(times[form]):.5f}" if form in times else "" for form in ("ENL", *others)]
            ratios = [f"{harness.ratio(times[form], times['ENL']):.2f}" if form in times else "" for form in others]
            print(f"| {height} x {width} | {what} | " + " | ".join(seconds + ratios) + " |", flush=True)


def model(args: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> None:
    torch.set_flush_denormal(True)  # gradients of random weights shrink to denormal numbers, which a CPU is slow with
    files = {"baseline": "faster_rcnn_R_50_FPN.yaml", "+3ENL": "faster_rcnn_R_50_FPN_3enl_td.yaml"}
    paths = {name: os.path.join(bench_model.CONFIGS, "enl", file) for name, file in files.items()}
    torch.manual_seed(0)
    sides = {name: bench_model.ours(path, device, size=args.size) for name, path in paths.items()}
    print("| | baseline s | +3ENL s | ratio of the turns | operators of ENL ms | share of the rest |")
    print("|---|---|---|---|---|---|")
    for what, make, index in (("inference", bench_model.inference, 1), ("training step", bench_model.training, 2)):
        runs = {name: make(side[0], side[index]) for name, side in sides.items()}
        with harness.autocast(device, dtype):
            times = harness.take_turns(runs, args.repeat, lambda run: harness.seconds(run, device))
            recorded = [operator_seconds(runs["+3ENL"], device) for _ in range(min(args.repeat, 5))]
        baseline, with_enl = (statistics.median(series) for series in times.values())
        ratio = harness.ratio(times["+3ENL"], times["baseline"])
        modules = statistics.median(own for own, _ in recorded)
        share = statistics.median(own / (whole - own) for own, whole in recorded)
        print(f"| {what} | {baseline:.4f} | {with_enl:.4f} | {ratio:.3f} | {1e3 * modules:.2f} | {100 * share:.2f} % |")


def operator_seconds(run: Run, device: torch.device) -> tuple[float, float]:
    """Time within ENL's operators, forward and backward: of the host, or of the kernels that they start on a GPU. And that of
    the whole run."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities) as recorded:
        whole = harness.seconds(run, device)
    rows = [row for row in recorded.key_averages() if row.key.startswith("maskrcnn_benchmark::efficient_non_local")]
    if not rows:
        raise RuntimeError("The profiler recorded no operator of ENL.")
    own = sum(row.device_time_total if device.type == "cuda" else row.cpu_time_total for row in rows) / 1e6
    return own, whole


def main() -> None:
    parser = harness.argument_parser(__doc__, repeat=15, dtypes=harness.DTYPES)
    parser.add_argument("what", choices=("scaling", "maps", "model"))
    parser.add_argument("--plot", metavar="FILE", help="scaling: write a log-log plot (PNG)")
    parser.add_argument("--limit", type=float, default=30, help="scaling: longest run, s (30)")
    parser.add_argument("--memory", type=float, default=12, help="scaling: largest memory of a form, GB (12)")
    parser.add_argument("--budget", type=float, default=2, help="scaling: time for each figure, s (2)")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="scaling: of the maps (25 to 400)")
    parser.add_argument(
        "--divide", type=int, default=1, metavar="N", help="maps: sizes by N, to try the script out (10)"
    )
    parser.add_argument("--size", type=parse_size, default=bench_model.SIZE, help="model: of the image (800x1120)")
    args = parser.parse_args()
    device, dtype = harness.device_and_dtype(args)
    print(f"{harness.machine(device)}, {args.dtype}\n")
    {"scaling": scaling, "maps": maps, "model": model}[args.what](args, device, dtype)


if __name__ == "__main__":
    main()
