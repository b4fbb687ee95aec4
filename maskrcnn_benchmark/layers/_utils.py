"""Upstream's loader of native code. There it compiled on first use; here the code is built when the package is installed."""

from maskrcnn_benchmark.ops.library import load as _load_C_extensions

_C = _load_C_extensions()

__all__ = ["_C", "_load_C_extensions"]
