"""Deformable convolution (Dai et al. 2017, https://arxiv.org/abs/1703.06211, section 2.1) and its modulated form (Zhu et
al. 2019, https://arxiv.org/abs/1811.11168, equation 1):

    y(p) = bias + sum_k weight_k m_k(p) x(p + p_k + o_k(p))

for the positions p_k of the kernel, learned offsets o_k and masks m_k (1 without a mask). x is read bilinearly, and is
zero outside the map.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from . import deform_conv_op  # noqa: F401 (registers the operator)
from .library import ops


def deform_conv(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    deformable_groups: int = 1,
    im2col_step: int = 64,
) -> Tensor:
    """Deformable convolution: `modulated_deform_conv` without mask and bias.

    im2col_step, the images whose samples upstream keeps at a time, has no effect: memory is bounded here in bytes.
    """
    return modulated_deform_conv(
        input, offset, None, weight, None, stride, padding, dilation, groups, deformable_groups
    )


def modulated_deform_conv(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    deformable_groups: int = 1,
) -> Tensor:
    """Modulated deformable convolution.

    Args:
        input: Tensor[N, C, H, W].
        offset: Tensor[N, 2 * deformable_groups * kh * kw, OH, OW], pixels of the input. For each deformable group (C /
            deformable_groups channels of the input) and each kernel position in row-major order: y, then x. A sample
            counts if it is less than one pixel outside the map; neighbours outside are zero. NaN gives NaN.
        mask: Tensor[N, deformable_groups * kh * kw, OH, OW], in the same order; None: all ones.
        weight: Tensor[O, C / groups, kh, kw].
        bias: Tensor[O] or None.
        stride, padding, dilation: one integer or (y, x).

    Returns:
        Tensor[N, O, OH, OW], channels_last if the input is. input, weight and bias are of one dtype; offset and mask may
        be of any, positions are computed in float32 (float64 for float64). Under autocast the first three are cast, the
        other two are not.

    Gradients flow to every tensor, once: second derivatives are an error. They are deterministic on the CPU; on CUDA
    that of the input is a sum of atomic additions, whose order varies. Besides its results the operator needs memory for
    the input as [N, H, W, C], and for columns: at most 256 MiB (on the CPU 16 MiB a thread, if that is less), or one row
    if that is more; twice as much in the backward pass or with groups.
    """
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    return ops.deform_conv2d(input, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups)


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def split_offset_mask(prediction: Tensor) -> tuple[Tensor, Tensor]:
    """[N, 3 G K, OH, OW], G deformable groups of K kernel positions -> offsets [N, 2 G K, ...], masks [N, G K, ...]."""
    samples = prediction.shape[1] // 3
    offset, mask = prediction.split([2 * samples, samples], dim=1)
    return offset, mask.sigmoid()
