"""Two copies of this package in one process: the original, say, and a fork's under its own name."""

import sys
from types import ModuleType


def use_loaded_operators(package: str) -> None:
    """Make `package._C` that of another copy if one is loaded: PyTorch takes the operators of a process once."""
    name = f"{package}._C"
    if name in sys.modules:
        return
    for module in [module for key, module in sys.modules.items() if key.endswith("._C")]:
        if isinstance(module, ModuleType) and {"SOURCE_HASH", "WITH_CUDA"} <= vars(module).keys():
            sys.modules[name] = sys.modules[package].__dict__["_C"] = module
            return
