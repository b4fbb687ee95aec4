"""The arithmetic that DTYPE asks for."""

import functools
import logging

import torch

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def dtype_of(cfg) -> torch.dtype:
    """What DTYPE names."""
    if cfg.DTYPE not in DTYPES:
        raise ValueError(f"DTYPE must be one of {', '.join(DTYPES)}; got {cfg.DTYPE!r}.")
    return DTYPES[cfg.DTYPE]


def dtype_on(cfg, device: torch.device) -> torch.dtype:
    """What DTYPE names, or float32 on a processor without fast convolutions in it: there 16 bits take ten times as long and more,
    and gain nothing."""
    dtype = dtype_of(cfg)
    if device.type != "cpu" or dtype in fast_dtypes():
        return dtype
    _say_once(
        f"The configuration's DTYPE, {cfg.DTYPE}, is computed in float32: 16 bits would take many times as long here."
    )
    return torch.float32


def autocast(cfg, device: torch.device) -> torch.autocast:
    """The arithmetic of `dtype_on`: weights stay float32."""
    dtype = dtype_on(cfg, device)
    return torch.autocast(device.type, dtype=dtype_of(cfg), enabled=dtype != torch.float32)


@functools.cache
def fast_dtypes() -> set[torch.dtype]:
    """Of this processor."""
    ops = torch.ops.mkldnn
    asked = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
    # A build without oneDNN has neither operator.
    return {torch.float32} | {dtype for dtype, name in asked.items() if getattr(ops, name, lambda: False)()}


@functools.cache
def _say_once(sentence: str) -> None:
    logger.warning(sentence)
