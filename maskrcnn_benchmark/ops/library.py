"""Loads the native operators (`_C` of this package) and says in one sentence what to do when they cannot be.

A process has the operators once. Where it holds this package twice (a fork under its own name beside the original), the second
copy uses the first's `_C` and the first's modules of `ops`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import torch

from .._copies import use_loaded_operators
from .source_hash import source_hash

PACKAGE = __package__.rpartition(".")[0]
BUILD_COMMAND = "pip install --no-build-isolation -e ."


def load() -> ModuleType:
    """Import `_C`, which registers the operators, and compare it with the sources where they lie beside it."""
    use_loaded_operators(PACKAGE)
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
        other = library.__name__.rpartition(".")[0]
        if other != PACKAGE:
            raise ImportError(
                f"{PACKAGE} and {other} are copies of one package with different native operators, and a process can have "
                "only one of them: import one of the two, or make their csrc folders equal."
            ) from None
        raise ImportError(
            f"The native operators of {PACKAGE} were built from other sources than those in {csrc}: "
            f"run `{BUILD_COMMAND}` (or `python setup.py build_ext --inplace`)."
        ) from None
    return library


_C = load()
IS_OF_ANOTHER_COPY = _C.__name__ != f"{PACKAGE}._C"
ops = torch.ops.maskrcnn_benchmark


def use_modules_of_other_copy(name: str) -> None:
    """Make the package `name` and its modules those of the copy that registered the operators."""
    other = _C.__name__.rpartition(".")[0] + ".ops"
    importlib.import_module(other)
    for module in [module for module in sys.modules if module == other or module.startswith(f"{other}.")]:
        sys.modules[name + module.removeprefix(other)] = sys.modules[module]


def has_kernels(operator: str) -> bool:
    """Whether "namespace::operator" has its kernels: another copy of the package may have registered them."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(operator, "CPU")


def refuse_second_derivative(operator: str) -> None:
    """Make differentiating a backward operator an error instead of a gradient that is silently missing."""

    def refuse(ctx, *grads):
        raise RuntimeError(f"{operator} has no derivative: gradients of this operator cannot be differentiated again.")

    torch.library.register_autograd(operator, refuse)
