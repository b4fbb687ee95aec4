"""Loads the native operators (`maskrcnn_benchmark._C`) and says in one sentence what to do when they cannot be."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import torch

from ._source_hash import source_hash

PACKAGE = __package__.partition(".")[0]
BUILD_COMMAND = "pip install --no-build-isolation -e ."


def _load() -> None:
    """Import `_C`, which registers the operators, and compare it with the sources where they lie beside it."""
    try:
        library = importlib.import_module(f"{PACKAGE}._C")
    except ModuleNotFoundError as error:
        if error.name != f"{PACKAGE}._C":
            raise
        raise ImportError(
            f"The native operators of {PACKAGE} are not built: run `{BUILD_COMMAND}` in the source tree."
        ) from None
    except ImportError as error:
        raise ImportError(
            f"The native operators of {PACKAGE} do not load under torch {torch.__version__} "
            f"({str(error).rstrip('.')}): rebuild them with `{BUILD_COMMAND}`."
        ) from None
    csrc = Path(__file__).resolve().parent.parent / "csrc"
    if csrc.is_dir() and library.SOURCE_HASH != source_hash(csrc):
        raise ImportError(
            f"The native operators of {PACKAGE} were built from other sources than those in {csrc}: "
            f"run `{BUILD_COMMAND}` (or `python setup.py build_ext --inplace`)."
        ) from None


_load()
ops = torch.ops.maskrcnn_benchmark


def alert_if_not_deterministic(operator: str, tensor: torch.Tensor) -> None:
    """Object to a CUDA kernel that adds atomically, in the way and the words of PyTorch's own such kernels."""
    if not tensor.is_cuda or not torch.are_deterministic_algorithms_enabled():
        return
    message = (
        f"{operator} does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation, use its CPU "
        "implementation, or pass warn_only=True."
    )
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise RuntimeError(message)
    warnings.warn(message, stacklevel=2)


def refuse_second_derivative(operator: str) -> None:
    """Make differentiating a backward operator an error instead of a gradient that is silently missing."""

    def refuse(ctx, *grads):
        raise RuntimeError(f"{operator} has no derivative: gradients of this operator cannot be differentiated again.")

    torch.library.register_autograd(operator, refuse)
