"""Modules of forks that a folder of this package hides: Python takes a folder for a file of the same name beside it."""

import importlib.util
import sys
from pathlib import Path
from typing import Any


def names_of_hidden_file(package: str, init_file: str) -> dict[str, Any]:
    """What NAME.py beside the folder NAME defines; empty if there is no such file.

    Args:
        package: the dotted name of the folder.
        init_file: its __init__.py.
    """
    path = Path(init_file).resolve().parent.with_suffix(".py")
    if not path.is_file():
        return {}
    name = f"{package}_file"  # in the same parent, for relative imports
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return {key: value for key, value in vars(module).items() if not key.startswith("__")}
