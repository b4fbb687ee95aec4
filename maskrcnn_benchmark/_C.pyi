"""The compiled operators. Upstream's functions (`nms`, `roi_align_forward`, ...) are found in ops/legacy.py when asked for."""

from typing import Any

SOURCE_HASH: str
WITH_CUDA: int

def __getattr__(name: str) -> Any: ...
