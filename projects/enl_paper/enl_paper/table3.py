"""Table 3 of Levi and Ullman (BMVC 2019, arXiv 1811.12152): what the non-local modules cost, beside the paper's figures.

One multiply-add counts as one, and images are resized but not padded. Two counts are named:

- complete: every product of the detector.
- as the paper counted: without the FPN's 3 x 3 convolutions, the RPN head and RoIAlign's interpolation, which together are
  half of the whole. Another reading halves all convolutions instead: projects/enl_paper/results/table3.md compares them.
"""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import asdict, dataclass

import torch

from maskrcnn_benchmark.analysis.measure import MB, describe, measure
from maskrcnn_benchmark.analysis.shapes import ByModule, FlopCount, Regions, Size, build_without_data
from maskrcnn_benchmark.analysis.sizes import resized, typical
from maskrcnn_benchmark.config.whole import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.utils.files import write_atomically

LEFT_OUT = re.compile(r"backbone\.fpn\.fpn_layer\d+|rpn\.head|roi_heads\.\w+\.feature_extractor\.pooler")


@dataclass(frozen=True)
class PaperRow:
    """One row as printed: GFLOPs, memory in MB, millions of parameters."""

    model: str
    config: str
    gflops: float
    memory: int
    parameters: float


PAPER = (
    PaperRow("baseline", "faster_rcnn_R_50_FPN.yaml", 90.20, 1350, 41.48),
    PaperRow("+1NL, BU", "faster_rcnn_R_50_FPN_1nl_bu.yaml", 106.92, 1358, 43.58),
    PaperRow("+3ENL, TD", "faster_rcnn_R_50_FPN_3enl_td.yaml", 93.87, 1426, 41.88),
    PaperRow("+3NL, TD", "faster_rcnn_R_50_FPN_3nl_td.yaml", 146.85, 7476, 41.88),
)


@dataclass(frozen=True)
class Row:
    """form: "literal", the paper's order of operations, or "ours"; memory_mb: None where it was not measured."""

    model: str
    form: str
    trainable_parameters: int
    paper_parameters_millions: float
    gflops_complete: float
    gflops_as_the_paper_counted: float
    paper_gflops: float
    memory_mb: float | None
    paper_memory_mb: int

    @property
    def difference_percent(self) -> float:
        return 100 * (self.gflops_as_the_paper_counted / self.paper_gflops - 1)


def as_the_paper_counted(flops: ByModule) -> float:
    return flops[""] - sum(value for name, value in flops.items() if LEFT_OUT.fullmatch(name))


def load(config_folder: str, paper: PaperRow, literal: bool):
    cfg = defaults.clone()
    cfg.merge_from_file(os.path.join(config_folder, paper.config))
    cfg.MODEL.NON_LOCAL.LITERAL = literal
    return cfg


def table3(config_folder: str, sizes: list[Size], device: torch.device, counter: FlopCount | None = None) -> list[Row]:
    """The rows, over images of these sizes before resizing. Memory is measured if `device` is a GPU."""
    counter = counter or FlopCount()
    rows = []
    for paper in PAPER:
        for form in ("literal", "ours") if paper is not PAPER[0] else ("",):
            cfg = load(config_folder, paper, form == "literal")
            model, seen = build_without_data(cfg), resized(cfg, sizes)
            flops = counter.mean(model, seen, Regions.in_testing(cfg))
            memory = None
            if device.type == "cuda":
                memory = measure(build_detection_model(cfg).to(device), typical(seen), repeat=1).peak_bytes / MB
            rows.append(
                Row(
                    paper.model,
                    form,
                    sum(p.numel() for p in model.parameters() if p.requires_grad),
                    paper.parameters,
                    flops[""] / 2e9,
                    as_the_paper_counted(flops) / 2e9,
                    paper.gflops,
                    memory,
                    paper.memory,
                )
            )
    return rows


def as_markdown(rows: list[Row], images: str, device: torch.device) -> str:
    memory = (
        f"Memory: peak in testing on one {describe(device)}, one image of the mean size, parameters included; 1 MB = 2^20 bytes."
        if device.type == "cuda"
        else "Memory was not measured: that takes a GPU."
    )
    lines = [
        f"Table 3 over {images}; resized, not padded. Parameters: the trainable ones.",
        "GFLOPs: one multiply-add counts as one. As the paper counted: without the FPN's 3 x 3 convolutions, the RPN head and",
        "RoIAlign's interpolation. Literal: the module in the paper's order of operations; ours: as this package computes it.",
        memory,
        "",
        "| model | | parameters | paper | GFLOPs, complete | as the paper counted | paper | difference | MB | paper |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.model} | {row.form} | {row.trainable_parameters / 1e6:.2f} M ({row.trainable_parameters:,}) "
            f"| {row.paper_parameters_millions:.2f} M | {row.gflops_complete:.2f} | {row.gflops_as_the_paper_counted:.2f} "
            f"| {row.paper_gflops:.2f} | {row.difference_percent:+.2f} % "
            f"| {'-' if row.memory_mb is None else f'{row.memory_mb:.0f}'} | {row.paper_memory_mb} |"
        )
    return "\n".join(lines) + "\n"


def as_csv(rows: list[Row]) -> str:
    records = [{**asdict(row), "difference_percent": row.difference_percent} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, records[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def write(folder: str, markdown: str, table: str) -> None:
    """table3.md and table3.csv."""
    os.makedirs(folder, exist_ok=True)
    for name, text in (("table3.md", markdown), ("table3.csv", table)):
        write_atomically(os.path.join(folder, name), lambda f, text=text: f.write(text.encode()))  # type: ignore[misc]
