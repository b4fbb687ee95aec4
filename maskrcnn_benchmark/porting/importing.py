"""Which modules of the fork import in OUT, and which in the control: the difference is what the porting broke."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from . import upstream
from .fork import Fork

TIMEOUT_S = 900
_LACKING = re.compile(r"(?:No module named|cannot import name) '([\w.]+)'(?: from '([\w.]+)')?")
# One process for all, in the order of the list: a module that ends the process is named by the next start.
_PROGRAM = """
import importlib, json, sys, warnings
warnings.filterwarnings("ignore")
names, results = json.loads(sys.argv[1]), open(sys.argv[2], "a")
sys.argv = ["import"]
for name in names:
    print(json.dumps([name, "started"]), file=results, flush=True)
    try:
        importlib.import_module(name)
        said = ""
    except BaseException as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else None
        import traceback
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
        said = f"{type(error).__name__}: {str(error)[:300]}{place}"
        print(json.dumps([name, "missing", missing]), file=results, flush=True)
    print(json.dumps([name, "done", said]), file=results, flush=True)
"""


@dataclass(frozen=True)
class Failure:
    """Why a module does not import, and the third-party module that it lacks, if that is the reason."""

    reason: str
    third_party: str = ""

    def lacks(self, modules: set[str]) -> bool:
        """Whether one of these modules, named without its packages, is what it lacks."""
        found = _LACKING.search(self.reason)
        return found is not None and found[1].rpartition(".")[2] in modules

    def lacks_upstreams(self, fork: Fork) -> bool:
        """Whether what it lacks is a module of upstream's that the fork has no file of: it holds changed files alone."""
        found = _LACKING.search(self.reason)
        name, module = found.groups() if found else ("", "")
        paths = (dotted.replace(".", "/") for dotted in (name, module, f"{module}.{name}") if dotted)
        files = (f"{path}{end}" for path in paths for end in (".py", "/__init__.py"))
        return any(upstream.path_of(f, fork.package) in upstream.versions() and f not in fork.files for f in files)


def module_name(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def import_all(tree: Path, names: list[str], own: tuple[str, ...], scratch: Path) -> dict[str, Failure]:
    """Import each module in a process that has `tree` on its path; returns those that fail.

    Args:
        own: packages of the tree: a missing module of theirs is no third-party one.
        scratch: a folder for the results. Modules are imported from the tree's root, as their tools are run from there.
    """
    results = scratch / f"imports-{tree.name}.jsonl"
    environment = dict(os.environ, PYTHONPATH=_path(tree), PYTHONDONTWRITEBYTECODE="1", MPLBACKEND="Agg")
    failures: dict[str, Failure] = {}
    remaining = list(names)
    while remaining:
        results.write_text("")
        words = [sys.executable, "-c", _PROGRAM, json.dumps(remaining), str(results)]
        try:
            done = subprocess.run(words, env=environment, cwd=tree, capture_output=True, text=True, timeout=TIMEOUT_S)
            ended = f"the process ended with status {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"did not end within {TIMEOUT_S} s"
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        third_party = {line[0]: line[2] for line in lines if line[1] == "missing" and line[2]}
        finished = {line[0]: line[2] for line in lines if line[1] == "done"}
        for name, reason in finished.items():
            if reason:
                lacking = third_party.get(name, "").split(".")[0]
                known = lacking in own or not lacking or find_spec(lacking) is not None  # torch, of torch._six
                failures[name] = Failure(_relative(reason, tree), "" if known else lacking)
        started = [line[0] for line in lines if line[1] == "started"]
        broken = started[-1] if started and started[-1] not in finished else None
        if broken is None and len(finished) < len(remaining):
            broken = remaining[len(finished)]  # it ended before or between imports
        if broken is not None:
            failures[broken] = Failure(ended)
        remaining = [name for name in remaining if name not in finished and name != broken]
    results.unlink(missing_ok=True)
    return failures


def _path(tree: Path) -> str:
    """The tree first, then what the user has on the path."""
    return os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH", ""))))


def _relative(reason: str, tree: Path) -> str:
    return reason.replace(f"{tree}{os.sep}", "")
