"""The whole of tools/port.py: read FORK, assemble OUT in a folder beside it, import, report, and move it to its place."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from maskrcnn_benchmark.utils.wording import counted

from . import assembling, dead_names, importing, native, trial
from .fork import Fork, ForkError, open_fork
from .report import Outcome, write_report

REPORT = "PORT.md"


def port(fork_path: Path, out: Path, check: bool = False, say=print) -> Outcome:
    """Port the fork at `fork_path` into the new folder `out`.

    Args:
        check: also train and test with the fork's own tools.
        say: is given a sentence at each step.

    Raises:
        ForkError: `out` exists, or there is no fork to be found; nothing was written then.
    """
    if out.exists() or out.is_symlink():
        raise ForkError(
            f"{str(out)!r} exists already: OUT is a folder that this tool makes. Remove it or name another."
        )
    out = out.resolve()
    if not out.parent.is_dir():
        raise ForkError(f"There is no folder {str(out.parent)!r} to make OUT in.")
    with _scratch(say) as (scratch, say):
        fork = open_fork(fork_path.absolute(), scratch)
        if any(out.is_relative_to(folder.resolve()) for folder in (fork_path, fork.root)):
            raise ForkError(
                f"{str(out)!r} lies inside the fork, to which nothing is written: name a folder outside it."
            )
        say(f"Porting {fork.package}: {counted(len(fork.files), 'file')}, {counted(len(fork.modules()), 'module')}")
        building = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            outcome = _port_into(fork, building, scratch, check, say)
            (building / REPORT).write_text(write_report(outcome), encoding="utf-8")
            building.chmod(0o755)
            say(f"Moving the tree to {out}")
            building.rename(out)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return outcome


def _port_into(fork: Fork, building: Path, scratch: Path, check: bool, say) -> Outcome:
    assembly = assembling.survey(fork)
    pieces = sum(len(taken.rewritten.changes) for taken in assembly.taken if taken.rewritten)
    say(f"Rewrote {counted(pieces, 'piece of code', 'pieces of code')}")
    assembling.assemble(fork, assembly, building)
    outcome = Outcome(fork, assembly)
    others = assembling.other_packages(fork)
    own = (fork.package, *others, assembling.CONTROL_NAME)
    folders = {path.split("/")[0] for path in fork.files if "/" in path}  # what scripts at the top import from
    local = {*own, *folders, *(Path(path).stem for path in fork.files if path.endswith(".py"))}
    outcome.native = native.missing(fork, our_native_functions(), assembly.texts)
    outcome.extensions = {*native.extensions(fork), *(m.module for m in outcome.native)} - {"_C"}
    local |= outcome.extensions
    for path, text in assembly.texts.items():
        dead, absent = dead_names.find(path, text, (*own, *folders))
        place = assembling.lines_in_fork(fork, path, text) if dead or absent else int
        outcome.dead += [replace(one, line=place(one.line)) for one in dead]
        for name, line in absent.items():
            if name not in local and not any(f"/{name}/" in f"/{file}" for file in fork.files):
                outcome.third_party.setdefault(name, f"{path}:{place(line)}")
    names = [
        importing.module_name(taken.path)
        for taken in assembly.taken
        if taken.rewritten is not None and taken.path.split("/")[0] in (fork.package, *others)
    ]
    outcome.modules = len(names)
    say(f"Importing {counted(len(names), 'module')} here and in the fork by itself")
    control = scratch / "control"
    assembling.make_control(fork, assembly, control)
    outcome.control_failures = importing.import_all(control, names, own, scratch)
    outcome.out_failures = importing.import_all(building, names, own, scratch)
    for name, why in outcome.out_failures.items():  # what a package needs that is there, too
        if why.third_party and why.third_party not in local:
            outcome.third_party.setdefault(why.third_party, name)
    for name, why in list(outcome.control_failures.items()):
        lacking = outcome.out_failures.get(name, why).third_party
        if not lacking and why.lacks_upstreams(fork):  # of a fork of changed files alone, all have to import
            del outcome.control_failures[name]
    if check:
        outcome.check, outcome.check_failed = trial.run(fork, assembly, building, control, scratch, say)
    return outcome


def our_native_functions() -> set[str]:
    """Names that this package's `_C` has for forks."""
    package = __package__.partition(".")[0]
    importlib.import_module("torch")  # its libraries are loaded before `_C` asks for them
    library = importlib.import_module(f"{package}._C")
    importlib.import_module(f"{package}.layers")
    functions = importlib.import_module(f"{package}.layers.legacy").FUNCTIONS
    return {name for name in (*dir(library), *functions) if not name.startswith("__")}


@contextlib.contextmanager
def _scratch(say: Callable[[str], object]) -> Iterator[tuple[Path, Callable[[str], object]]]:
    """A temporary folder, removed however this ends, and a `say` that stops after a signal.

    Ctrl-C and a request to terminate end the work at once and come out as KeyboardInterrupt. Libraries may turn that
    into an error of another kind, or lose it: every error after a signal counts, and the next `say` raises.
    """
    stopped: list[int] = []

    def stop(number, _frame):
        stopped.append(number)
        if len(stopped) == 1:  # another one does not disturb the cleaning up
            raise KeyboardInterrupt

    def say_or_stop(sentence: str) -> None:
        if stopped:
            raise KeyboardInterrupt
        say(sentence)

    on_main_thread = threading.current_thread() is threading.main_thread()  # the only one that may ask for signals
    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)} if on_main_thread else {}
    try:
        with tempfile.TemporaryDirectory(prefix="port-") as folder:
            yield Path(folder), say_or_stop
    except BaseException:
        if stopped:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
