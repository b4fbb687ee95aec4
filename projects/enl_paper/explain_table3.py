"""Which way of counting explains the GFLOPs of Table 3 (arXiv 1811.12152)? Every combination of the choices below is compared
with the four printed rows; nothing is fitted. The modules are counted by formulas, the detector around them by its shapes.

    python projects/enl_paper/explain_table3.py --sizes FILE | --ann-file FILE     (takes about half a minute)

Legend: C channels, D = C / 2 inner channels, N positions of a map; a multiply-add counts as one where nothing else is said.
"""

import argparse
import itertools
from collections.abc import Callable, Iterable

import torch

from enl_paper.table3 import PAPER, load
from maskrcnn_benchmark.analysis import FlopCount, Regions, build_without_data, sizes
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils import shipped

CONFIGS = str(shipped.CONFIGS / "enl")
PRINTED = [row.gflops for row in PAPER]
FIGURES = [PRINTED[0], *(value - PRINTED[0] for value in PRINTED[1:])]  # the baseline, and what each module adds
GIGA = 1e9
TOP_DOWN = ("res3", "res4", "res5")
STRIDES = {"res2": 2, "res3": 3, "res4": 4, "res5": 5}  # as powers of two
DCT_SIZE = 9

# What of the detector is not counted, by module.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "FPN 3x3, RPN 3x3": ("fpn_layer", "rpn.head.conv"),
    "FPN 3x3, RPN head": ("fpn_layer", "rpn.head"),
    "FPN, RPN head": ("backbone.fpn", "rpn.head"),
    "RPN head": ("rpn.head",),
    "box head": ("roi_heads",),
    "FPN 3x3": ("fpn_layer",),
}
# Multiply-adds of the N x N part of NL, by D and N.
ATTENTION: dict[str, Callable[[int, float], float]] = {
    "two products": lambda d, n: 2 * d * n**2,
    "two products and the exponentials": lambda d, n: (2 * d + 1) * n**2,
    "one product": lambda d, n: d * n**2,
    "two products, phi and g subsampled 2 x 2": lambda d, n: 2 * d * n * n / 4,
    "two products at 2": lambda d, n: 4 * d * n**2,
    "two products at half": lambda d, n: d * n**2,
}
# Multiply-adds of ENL's products, 1 x 1 convolutions aside, by C, D, H and W.
ENL: dict[str, Callable[[int, int, int, int], float]] = {
    "appearance (equation 6)": lambda c, d, h, w: 2 * d * d * h * w,
    "+ DCT of 81 dense columns": lambda c, d, h, w: (2 * d * d + 2 * 81 * d) * h * w,
    "+ DCT along each axis": lambda c, d, h, w: 2 * d * d * h * w + 2 * d * h * DCT_SIZE * (w + DCT_SIZE),
    "+ whole DCT along each axis": lambda c, d, h, w: (2 * d * d + 2 * d * (h + w)) * h * w,
    "+ D dense columns": lambda c, d, h, w: 4 * d * d * h * w,
    "+ 81 dense columns on C channels": lambda c, d, h, w: (2 * d * d + 2 * 81 * c) * h * w,
    "appearance at width C": lambda c, d, h, w: 2 * c * c * h * w,
}


class Images:
    """Sizes of images, padded or not, and means over them."""

    def __init__(self, images: list[tuple[int, int]]):
        self.sizes = images

    def map(self, stage: str, size: tuple[int, int]) -> tuple[int, int]:
        return tuple(-(-side // 2 ** STRIDES[stage]) for side in size)  # type: ignore[return-value]

    def mean(self, cost: Callable[[int, int], float], stages: Iterable[str]) -> float:
        """The mean over images of cost(H, W), summed over the maps of these stages, in units of 10^9."""
        total = sum(cost(*self.map(stage, size)) for size in self.sizes for stage in stages)
        return total / len(self.sizes) / GIGA

    def of_mean(self, cost: Callable[[float], float], stages: Iterable[str]) -> float:
        """cost(N) at the mean N instead."""
        count = len(self.sizes)
        means = (sum(h * w for h, w in (self.map(s, size) for size in self.sizes)) / count for s in stages)
        return sum(map(cost, means)) / GIGA


def convolutions(images: Images, channels: int, stages: Iterable[str]) -> float:
    return images.mean(lambda h, w: 2 * channels * channels * h * w, stages)  # theta, phi, g, out


def print_table(header: tuple[str, ...], rows: Iterable[tuple]) -> None:
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for row in rows:
        print("| " + " | ".join(cell if isinstance(cell, str) else f"{cell:.2f}" for cell in row) + " |")
    print()


def percent(value: float, printed: float) -> str:
    return f"{value:.2f} ({100 * (value / printed - 1):+.2f} %)"


def baselines(padding: dict[str, Images]) -> dict[tuple[str, str], float]:
    """GFLOPs of the baseline without RoIAlign's interpolation, by padding and by what is left out."""
    cfg = load(CONFIGS, PAPER[0], literal=False)
    model, counter = build_without_data(cfg), FlopCount()
    results = {}
    for name, images in padding.items():
        flops = counter.mean(model, images.sizes, Regions.in_testing(cfg))
        leaves = {n: v for n, v in flops.items() if n and not any(other.startswith(f"{n}.") for other in flops)}
        for what, prefixes in LEFT_OUT.items():
            counted = (v for n, v in leaves.items() if not n.endswith("pooler") and not any(p in n for p in prefixes))
            results[name, what] = sum(counted) / 2 / GIGA
    return results


def show_placements(padding: dict[str, Images]) -> None:
    print(
        "## +1NL: the stage\n\nGFLOPs added (the paper: 16.72) and parameters added (the paper: 2.10 M), not padded.\n"
    )
    rows = []
    for stage, channels in (("res2", 256), ("res3", 512), ("res4", 1024), ("res5", 2048)):
        images, inner = padding["no"], channels // 2
        products = images.mean(lambda h, w, d=inner: 2 * d * (h * w) ** 2, [stage])
        parameters = 2 * channels * channels + 3 * inner + channels
        rows.append((stage, convolutions(images, channels, [stage]) + products, f"{parameters / 1e6:.2f} M"))
    print_table(("stage", "GFLOPs", "parameters"), rows)


def show_weights(padding: dict[str, Images]) -> None:
    print("## What a multiply-add of a convolution and of a product must count\n")
    print("for +1NL and +3NL to add exactly what the paper prints: two equations with two unknowns.\n")
    added = torch.tensor([FIGURES[1], FIGURES[3]], dtype=torch.float64)
    rows = []
    for name, images in padding.items():
        matrix = [
            [convolutions(images, 1024, ["res4"]), images.mean(lambda h, w: 1024 * (h * w) ** 2, ["res4"])],
            [convolutions(images, 256, TOP_DOWN), images.mean(lambda h, w: 256 * (h * w) ** 2, TOP_DOWN)],
        ]
        weights = torch.linalg.solve(torch.tensor(matrix, dtype=torch.float64), added).tolist()
        rows.append((name, *(f"{weight:.3f}" for weight in weights)))
    print_table(("padded", "convolution", "product"), rows)


def show_enl(padding: dict[str, Images]) -> None:
    print("## +3ENL: GFLOPs added (the paper: 3.67)\n")
    rows = []
    for (form, cost), product in itertools.product(ENL.items(), (1, 2)):
        row: list = [form, str(product)]
        for images, weight in itertools.product(padding.values(), (1.0, 0.5)):
            products = images.mean(lambda h, w, cost=cost: cost(256, 128, h, w), TOP_DOWN)
            row.append(weight * convolutions(images, 256, TOP_DOWN) + product * products)
        rows.append(tuple(row))
    columns = [f"padded: {name}, convolution {weight}" for name in padding for weight in ("1", "1/2")]
    print_table(("products", "a product counts", *columns), rows)


def show_scale(padding: dict[str, Images], baseline: dict[tuple[str, str], float]) -> None:
    """What if the paper's images are larger or smaller than these, so that the baseline is the printed one?"""
    print("## Images of another mean area, such that the baseline is exactly the paper's\n")
    rows = []
    for name, what, weight in (("no", "nothing", 1.0), ("no", "FPN 3x3, RPN head", 1.0), ("to 32", "nothing", 0.5)):
        images, box_head = padding[name], baseline[name, "nothing"] - baseline[name, "box head"]
        scale = (PRINTED[0] / weight - box_head) / (baseline[name, what] - box_head)
        added = [
            scale * weight * convolutions(images, channels, stages)
            + scale**2 * images.mean(lambda h, w, c=channels: c * (h * w) ** 2, stages)
            for channels, stages in ((1024, ("res4",)), (256, TOP_DOWN))
        ]
        rows.append((name, what, "1" if weight == 1 else "1/2", f"{scale:.4f}", *map(percent, added, FIGURES[1::2])))
    print_table(("padded", "left out", "convolution", "area", "+1NL, BU adds", "+3NL, TD adds"), rows)


def show_best(padding: dict[str, Images], baseline: dict[tuple[str, str], float], count: int) -> None:
    """All combinations of the tables above."""
    found = []
    choices = itertools.product(padding, LEFT_OUT, (1.0, 0.5), ATTENTION, ("N^2", "(mean N)^2"), ENL, (1, 2))
    cache: dict[tuple, float] = {}

    def products(name: str, form: str, averaged: str, inner: int, stages: tuple[str, ...]) -> float:
        key = (name, form, averaged, inner)
        if key not in cache:
            cost, images = ATTENTION[form], padding[name]
            cache[key] = (
                images.mean(lambda h, w: cost(inner, h * w), stages)
                if averaged == "N^2"
                else images.of_mean(lambda n: cost(inner, n), stages)
            )
        return cache[key]

    wide = {name: convolutions(images, 1024, ["res4"]) for name, images in padding.items()}
    narrow = {name: convolutions(images, 256, TOP_DOWN) for name, images in padding.items()}
    enl = {
        (name, form): images.mean(lambda h, w, cost=cost: cost(256, 128, h, w), TOP_DOWN)
        for (name, images), (form, cost) in itertools.product(padding.items(), ENL.items())
    }
    for name, what, weight, attention, averaged, form, twice in choices:
        start = weight * baseline[name, what]
        rows = [
            start,
            start + weight * wide[name] + products(name, attention, averaged, 512, ("res4",)),
            start + weight * narrow[name] + twice * enl[name, form],
            start + weight * narrow[name] + products(name, attention, averaged, 128, TOP_DOWN),
        ]
        figures = [start, *(row - start for row in rows[1:])]
        worst = max(abs(figure / printed - 1) for figure, printed in zip(figures, FIGURES, strict=True))
        label = (name, what, "1" if weight == 1 else "1/2", attention, averaged, f"{form}, at {twice}")
        found.append((worst, label, figures))
    found.sort(key=lambda entry: entry[0])
    print(
        f"## All {len(found)} combinations: the best {count} by the worst of the baseline and what each module adds\n"
    )
    header = (
        "padded",
        "left out",
        "convolution",
        "NL",
        "averaged",
        "ENL",
        "baseline",
        *(f"{row.model} adds" for row in PAPER[1:]),
    )
    print_table(
        header,
        [
            (*label, *(percent(f, p) for f, p in zip(figures, FIGURES, strict=True)))
            for _, label, figures in found[:count]
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes.add_size_arguments(parser)
    parser.add_argument("--best", type=int, default=12, help="combinations printed at the end (default 12)")
    args = parser.parse_args()
    with command_line():
        images, described = sizes.chosen_sizes(args)
        cfg = load(CONFIGS, PAPER[0], literal=False)
        cfg.DATALOADER.SIZE_DIVISIBILITY = 32
        padding = {"no": Images(sizes.resized(cfg, images)), "to 32": Images(sizes.resized(cfg, images, padded=True))}
        baseline = baselines(padding)
        print(f"Over {described}.\n\n## Baseline: GFLOPs (the paper: {PRINTED[0]:.2f})\n")
        columns = [(name, weight) for name in padding for weight in (1.0, 0.5)]
        print_table(
            ("left out", *(f"padded: {name}, convolution {'1' if weight == 1 else '1/2'}" for name, weight in columns)),
            [
                (what, *(percent(weight * baseline[name, what], PRINTED[0]) for name, weight in columns))
                for what in LEFT_OUT
            ],
        )
        show_placements(padding)
        show_weights(padding)
        show_enl(padding)
        show_scale(padding, baseline)
        show_best(padding, baseline, args.best)


if __name__ == "__main__":
    main()
