"""Loads the native operators (`maskrcnn_benchmark._C`) and says in one sentence what to do when they cannot be."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import torch

from ._source_hash import source_hash

PACKAGE = __package__.partition(".")[0]
BUILD_COMMAND = "pip install --no-build-isolation -e ."


def load() -> ModuleType:
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
    return library


load()
ops = torch.ops.maskrcnn_benchmark


def refuse_second_derivative(operator: str) -> None:
    """Make differentiating a backward operator an error instead of a gradient that is silently missing."""

    def refuse(ctx, *grads):
        raise RuntimeError(f"{operator} has no derivative: gradients of this operator cannot be differentiated again.")

    torch.library.register_autograd(operator, refuse)
