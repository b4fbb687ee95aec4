"""All costs of a configured detector, as a tree of its modules."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from maskrcnn_benchmark.analysis.measure import MB, Measurement, measure
from maskrcnn_benchmark.analysis.shapes import (
    ByModule,
    FlopCount,
    Regions,
    Size,
    build_without_data,
    heads_as_a_whole,
    saved_for_backward,
)
from maskrcnn_benchmark.analysis.sizes import typical
from maskrcnn_benchmark.modeling.detector import build_detection_model

GIGA = 1e9

DEFINITIONS = """\
GFLOPs: one multiply-add counts as one (torch.utils.flop_counter's numbers halved), and only products count. In testing, with
{proposals} proposals an image and, for the heads after the box head, {detections} detections; the mean over the images.
saved MB: what a training step keeps from its forward pass for the backward one, parameters and losses aside. In float32, for one
image of {height} x {width} with {train_proposals} regions ({train_detections} for the heads after the box head), {saved_on}.
1 MB = 2^20 bytes."""
AS_A_WHOLE = """
{head} is counted as a whole, as it works in testing. What is counted by shapes, as GFLOPs always are,
ends at its first operator whose work depends on what the image shows."""


@dataclass(frozen=True)
class ModuleCost:
    """name: as in the state dict, "" for the whole detector; flops: 2 a multiply-add, the mean over the images."""

    name: str
    kind: str
    parameters: int
    trainable: int
    flops: float
    saved_bytes: int


@dataclass(frozen=True)
class Analysis:
    modules: list[ModuleCost]
    flops_of_sizes: list[tuple[Size, float]]  # of the images, in their order, each distinct one once
    definitions: str
    measured: Measurement | None

    @property
    def total(self) -> ModuleCost:
        return self.modules[0]

    def as_dict(self) -> dict[str, Any]:
        return {
            "flops_of_a_multiply_add": 2,
            "modules": [asdict(module) for module in self.modules],
            "sizes": [{"size": size, "flops": flops} for size, flops in self.flops_of_sizes],
            "definitions": self.definitions,
            "measured": asdict(self.measured) if self.measured else None,
        }

    def as_text(self, depth: int = 3) -> str:
        """depth: levels of the tree below the detector itself."""
        rows = [("module", "parameters", "trainable", "GFLOPs", "saved MB")]
        for m in self.modules:
            level = m.name.count(".") + 1 if m.name else 0
            if level <= depth:
                label = "  " * level + (m.name.rpartition(".")[2] or m.kind)
                numbers = (
                    f"{m.parameters:,}",
                    f"{m.trainable:,}",
                    f"{m.flops / 2 / GIGA:.3f}",
                    f"{m.saved_bytes / MB:.1f}",
                )
                rows.append((label, *numbers))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        return "\n".join([*lines, "", self.definitions, *(["", str(self.measured)] if self.measured else [])])


def analyze(
    cfg, sizes: list[Size], device: torch.device, repeat: int = 5, counter: FlopCount | None = None
) -> Analysis:
    """Costs of the detector on images of these sizes, which are the ones it sees (resized).

    What is measured (and not with repeat=0) is measured on `device`, on the image whose area is nearest to the mean.
    """
    counter = counter or FlopCount()
    model: nn.Module = build_without_data(cfg)
    testing, training, size = Regions.in_testing(cfg), Regions.in_training(cfg), typical(sizes)
    flops = counter.mean(model, sizes, testing)
    flops_of_sizes = [(s, counter.by_module(model, s, testing)[""]) for s in dict.fromkeys(sizes)]
    measured = None
    if repeat > 0:
        model = build_detection_model(cfg).to(device)
        measured = measure(model, size, repeat)
    saved = saved_for_backward(model, size, training)
    definitions = DEFINITIONS.format(
        proposals=testing.proposals,
        detections=testing.detections,
        height=size[0],
        width=size[1],
        train_proposals=training.proposals,
        train_detections=training.detections,
        saved_on="with the kernels of the device below" if measured else "counted by shapes",
    )
    definitions += "".join(AS_A_WHOLE.format(head=head) for head in heads_as_a_whole(model))
    return Analysis(_tree(model, flops, saved), flops_of_sizes, definitions, measured)


def _tree(model: nn.Module, flops: ByModule, saved: ByModule) -> list[ModuleCost]:
    """Every module that has parameters or does anything, in the order of the model."""
    costs = []
    for name, module in model.named_modules():
        parameters = list(module.parameters())
        cost = ModuleCost(
            name,
            type(module).__name__,
            sum(p.numel() for p in parameters),
            sum(p.numel() for p in parameters if p.requires_grad),
            flops.get(name, 0),
            int(saved.get(name, 0)),
        )
        if cost.parameters or cost.flops or cost.saved_bytes:
            costs.append(cost)
    return costs
