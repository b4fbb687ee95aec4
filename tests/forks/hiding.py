"""Makes the package see of every module that upstream has only the names that upstream's version has.

`install()` before anything of the package is imported. A module's own functions go on to use all of its names; whoever imports
it finds a module that lacks the others.
"""

import importlib.abc
import importlib.machinery
import json
import sys
from pathlib import Path
from types import ModuleType

# Module -> names that every version of upstream (October 2018 to November 2019) defines or imports at its top level.
UPSTREAM: dict[str, list[str]] = json.loads(Path(__file__).with_name("upstream_names.json").read_text())


class HidingLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        shown = ModuleType(module.__name__, module.__doc__)
        for name, value in vars(module).items():
            is_child = isinstance(value, ModuleType) and value.__name__ == f"{module.__name__}.{name}"
            if name in UPSTREAM[module.__name__] or is_child or (name.startswith("__") and name.endswith("__")):
                setattr(shown, name, value)
        sys.modules[module.__name__] = shown


class HidingFinder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in UPSTREAM:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = HidingLoader(spec.loader)
        return spec


def install() -> None:
    sys.meta_path.insert(0, HidingFinder())
