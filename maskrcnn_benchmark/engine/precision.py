"""The arithmetic that DTYPE asks for."""

import torch

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def dtype_of(cfg) -> torch.dtype:
    """What DTYPE names."""
    if cfg.DTYPE not in DTYPES:
        raise ValueError(f"DTYPE must be one of {', '.join(DTYPES)}; got {cfg.DTYPE!r}.")
    return DTYPES[cfg.DTYPE]


def autocast(cfg, device: torch.device) -> torch.autocast:
    """The arithmetic that DTYPE asks for: weights stay float32."""
    return torch.autocast(device.type, dtype=dtype_of(cfg), enabled=cfg.DTYPE != "float32")
