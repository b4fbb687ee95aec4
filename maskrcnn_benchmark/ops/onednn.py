"""Layers that go straight to oneDNN, for processors: what PyTorch's own layers compute, in fewer passes over a map.

They are made from PyTorch's layers by `modeling.optimize.use_onednn`, have the same parameters and are not for training.
"""

import torch
from torch import Tensor, nn

from .library import ops

# Of torch's builds; the first two are what its compiler calls too.
_NAMES = ("_linear_pointwise", "_convolution_pointwise", "_convolution_pointwise_")


def has_onednn() -> bool:
    """Whether this build of torch comes with oneDNN."""
    return all(hasattr(torch.ops.mkldnn, name) for name in _NAMES)


class OneDnnLinear(nn.Linear):
    """nn.Linear by oneDNN, which is faster than MKL where MKL does not know the processor.

    For float32 on CPUs; others are computed as nn.Linear does.
    """

    def forward(self, input: Tensor) -> Tensor:
        if any(t.dtype != torch.float32 or t.device.type != "cpu" for t in (input, self.weight)):
            return super().forward(input)
        return ops.onednn_linear(input, self.weight, self.bias)


class OneDnnConv2d(nn.Conv2d):
    """nn.Conv2d that can end with a ReLU or be added to a map, without another pass over it."""

    def forward(self, input: Tensor, relu: bool = False) -> Tensor:
        """Tensor[B, C, H, W] -> Tensor[B, O, H', W']."""
        if not relu or not self._is_known(input):
            y = super().forward(input)
            return y.relu_() if relu else y
        return torch.ops.mkldnn._convolution_pointwise(input, *self._arguments(), "relu", [], "")

    def add_to(self, total: Tensor, input: Tensor, relu: bool = False) -> Tensor:
        """total + conv(input), then ReLU if asked for, written into `total`: Tensor[B, O, H', W']."""
        is_like = total.dtype == input.dtype and total.is_contiguous(memory_format=torch.channels_last)
        if not is_like or not self._is_known(input):
            total = total.add_(self(input))
            return total.relu_() if relu else total
        after = "relu" if relu else None
        add = torch.ops.mkldnn._convolution_pointwise_.binary
        return add(total, input, *self._arguments(), "add", 1.0, after, [], None)

    def _is_known(self, input: Tensor) -> bool:
        if torch.compiler.is_compiling() or isinstance(self.padding, str):
            return False
        if torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad):
            return False
        is_like = input.dtype == self.weight.dtype and input.device.type == self.weight.device.type == "cpu"
        is_usual = input.dtype in (torch.float32, torch.bfloat16) and input.dim() == 4 and input.numel() > 0
        # Maps in another order are computed with in several passes, not all of which there are in 16 bits.
        return is_like and is_usual and input.is_contiguous(memory_format=torch.channels_last)

    def _arguments(self) -> tuple:
        return self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if input.numel() == 0:
        return nn.functional.linear(input, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")


_library = torch.library.Library("maskrcnn_benchmark", "IMPL")
_library.impl("onednn_linear", _linear, "CPU")


@torch.library.register_fake("maskrcnn_benchmark::onednn_linear")
def _fake(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return input.new_empty(*input.shape[:-1], len(weight))
