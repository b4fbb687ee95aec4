"""Peak memory: known allocations, and what the non-local modules need beyond their output."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.analysis.memory import peak_memory
from maskrcnn_benchmark.layers import EfficientNonLocal

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
on_devices = pytest.mark.parametrize("device", DEVICES)
MB = 2**20


@on_devices
def test_counts_what_is_alive_at_once(device):
    def run() -> torch.Tensor:
        first = torch.empty(4 * MB, dtype=torch.uint8, device=device)
        second = torch.empty(8 * MB, dtype=torch.uint8, device=device)
        del first
        third = torch.empty(2 * MB, dtype=torch.uint8, device=device)
        del second
        return third

    assert peak_memory(run, device) == 12 * MB
    assert peak_memory(lambda: None, device) == 0


@on_devices
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_enl_needs_little_beyond_its_output(format, device):
    """At 256 x 100 x 136: its output and a fifth of it, in inference, in the forward pass of training, and backward."""
    module, literal = EfficientNonLocal(256).to(device), EfficientNonLocal(256, literal=True).to(device)
    x = torch.randn(1, 256, 100, 136, device=device).contiguous(memory_format=format).requires_grad_()
    grad, size = torch.randn_like(x), x.numel() * x.element_size()
    inputs = [x, *module.parameters()]

    with torch.no_grad():
        module(x)  # the DCT's tables are made once
        assert size <= peak_memory(lambda: module(x), device) < 1.2 * size
        assert peak_memory(lambda: literal(x), device) > 2 * size
    outputs = []
    assert peak_memory(lambda: outputs.append(module(x)), device) < 1.2 * size
    assert peak_memory(lambda: torch.autograd.grad(outputs[0], inputs, grad), device) < 1.2 * size
    assert peak_memory(lambda: outputs.append(literal(x)), device) > 2 * size
