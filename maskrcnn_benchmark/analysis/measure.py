"""What is measured on a real model with random weights: latency and peak memory of detecting objects in one image."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.analysis.memory import peak_memory
from maskrcnn_benchmark.utils.wording import counted

MB = 2**20


@dataclass(frozen=True)
class Measurement:
    """device: in words; size: height and width of the image; bytes of parameters and buffers, and of all tensors alive at
    the peak, these included; seconds of every run after the first."""

    device: str
    size: tuple[int, int]
    weight_bytes: int
    peak_bytes: int
    seconds: list[float]

    def __str__(self) -> str:
        middle, low, high = statistics.median(self.seconds), min(self.seconds), max(self.seconds)
        height, width = self.size
        return (
            f"{self.device}, one image of {height} x {width}, random weights, detection to the end:\n"
            f"  peak memory {self.peak_bytes / MB:,.0f} MB, of which parameters and buffers {self.weight_bytes / MB:,.0f} MB\n"
            f"  latency {middle * 1000:,.1f} ms: median of {counted(len(self.seconds), 'run')} "
            f"from {low * 1000:,.1f} to {high * 1000:,.1f}"
        )


@torch.inference_mode()
def measure(model: nn.Module, size: tuple[int, int], repeat: int) -> Measurement:
    """Peak memory and latency in testing, on the device where the model is. Its class scores are changed (`spread_scores`)."""
    device = next(model.parameters()).device
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).mul_(255).to(device)
    image = image.contiguous(memory_format=torch.channels_last)
    model.eval()
    spread_scores(model, image)  # warms up as well
    weights = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    seconds = [_seconds(model, image, device) for _ in range(repeat)]
    return Measurement(describe(device), size, weights, weights + peak_memory(lambda: model(image), device), seconds)


def spread_scores(model: Any, image: Tensor) -> None:
    """Run once and scale the class logits to a standard deviation of 2: random weights leave all classes below the threshold,
    and what follows detection would have nothing to do."""
    names = [n for n, _ in model.named_modules() if n.startswith("roi_heads.") and n.endswith("predictor.cls_score")]
    layers = [model.get_submodule(name) for name in names]
    logits: dict[nn.Module, Tensor] = {}
    handles = [
        layer.register_forward_hook(lambda module, inputs, output: logits.update({module: output})) for layer in layers
    ]
    model(image)
    for handle in handles:
        handle.remove()
    for layer, output in logits.items():
        if len(output):
            layer.weight.mul_(2 / output.std())  # type: ignore[operator]


def describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {counted(torch.get_num_threads(), 'thread')}"


def _seconds(model: nn.Module, image: Tensor, device: torch.device) -> float:
    begin = time.perf_counter()
    model(image)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin
