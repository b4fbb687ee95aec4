import pytest
import torch

from maskrcnn_benchmark.layers import GroupNorm


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_values_and_gradients_are_exact_in_every_memory_format(memory_format, mean):
    torch.manual_seed(0)
    x = (torch.randn(2, 64, 15, 17) + mean).contiguous(memory_format=memory_format).requires_grad_()
    weight = torch.randn(2, 64, 15, 17)
    norm = GroupNorm(32, 64)
    y = norm(x)
    (y * weight).sum().backward()

    groups = x.detach().double().reshape(2, 32, -1).requires_grad_()
    expected = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    (expected * weight.double().reshape(2, 32, -1)).sum().backward()
    assert (y.double().reshape(2, 32, -1) - expected).abs().max() < 2e-5
    assert (x.grad.double().reshape(2, 32, -1) - groups.grad).abs().max() < 2e-5
