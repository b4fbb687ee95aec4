"""The two trees: OUT (this package with the fork's own files over it) and the control (the fork's whole package)."""

from __future__ import annotations

import difflib
import io
import re
import shutil
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import displacing, older_names, upstream
from .fork import Fork
from .rewriting import Rewritten, refused_by_python, rename_async, rewrite
from .source import Facts
from .torch_age import Sign, sign_in

OURS = Path(__file__).resolve().parents[1]  # this package
ROOT = OURS.parent
BESIDE = (
    "tools",
    "configs",
    "demo",
)  # folders of ours that a fork's tree gets files from, where its own are upstream's
BUILD_FILES = ("setup.py", "pyproject.toml", "MANIFEST.in")
CONTROL_NAME = "mrb_ours"  # this package in the control tree
NATIVE = (".cpp", ".cc", ".cxx", ".cu", ".h", ".hpp", ".cuh", ".c")
# The control's `_C`: our operators under the names of upstream's, and a function that says so for what we lack.
CONTROL_C = f"""
from {CONTROL_NAME}.layers.legacy import FUNCTIONS
globals().update(FUNCTIONS)
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    def missing(*args, **kwargs):
        raise NotImplementedError(name)
    return missing
"""


@dataclass
class Taken:
    """A file of the fork and what became of it.

    Attributes:
        state: "upstream", "changed" or "new".
        whose: "ours", "the fork's" or "left out".
        rewritten: of Python files of the fork's.
        needed: names of an older version of upstream's for which it is the fork's.
    """

    path: str
    state: str
    whose: str
    rewritten: Rewritten | None = None
    needed: tuple[str, ...] = ()


@dataclass
class Assembly:
    """What `assemble` did: every file of the fork, and the Python texts taken over, by path.

    Attributes:
        recent_torch: why the fork was written for a torch that divides whole numbers truly, if it was. One sign decides for all
            files: they ran with the same torch.
    """

    recent_torch: Sign | None = None
    taken: list[Taken] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)


def survey(fork: Fork) -> Assembly:
    """Tell the fork's files apart and rewrite those that are its own."""
    assembly = Assembly()
    states = {path: upstream.state(path, fork.read(path), fork.package) for path in fork.files}
    own = [path for path, state in states.items() if state != "upstream" and path.endswith(".py")]
    signs = (sign_in(path, fork.read(path).decode("utf-8-sig", errors="replace")) for path in own)
    assembly.recent_torch = next(filter(None, signs), None)
    recent = assembly.recent_torch is not None
    for path, state in states.items():
        if _left_out(path, fork):
            assembly.taken.append(Taken(path, state, "left out"))
        elif state == "upstream" and _ours(path, fork.package).is_file():
            assembly.taken.append(Taken(path, state, "ours"))
        elif path.endswith(".py"):
            rewritten = rewrite_file(fork, path, recent)
            assembly.texts[path] = rewritten.text
            assembly.taken.append(Taken(path, state, "the fork's", rewritten))
        else:
            assembly.taken.append(Taken(path, state, "the fork's"))
    _take_older_modules(fork, assembly, recent)
    return assembly


def _take_older_modules(fork: Fork, assembly: Assembly, recent_torch: bool) -> None:
    """Where the fork imports a name that its version of a module has and ours has not, take the fork's version."""
    ours = {taken.path: taken for taken in assembly.taken if taken.whose == "ours" and taken.path.endswith(".py")}
    waiting = list(assembly.texts.items())
    while waiting:
        path, text = waiting.pop()
        for module, names in older_names.imported(path, text, fork.package).items():
            file = module.replace(".", "/")
            taken = ours.get(f"{file}.py") or ours.get(f"{file}/__init__.py")
            if taken is None:
                continue
            have = older_names.defined(_ours(taken.path, fork.package).read_text(encoding="utf-8"))
            had = older_names.defined(fork.read(taken.path).decode("utf-8-sig", errors="replace"))
            lacking = names & (had or set()) - (have if have is not None else names)
            if lacking:
                del ours[taken.path]
                taken.whose, taken.needed = "the fork's", tuple(sorted(lacking))
                taken.rewritten = rewrite_file(fork, taken.path, recent_torch)
                assembly.texts[taken.path] = taken.rewritten.text
                waiting.append((taken.path, taken.rewritten.text))


def encoding_of(data: bytes) -> str:
    """The encoding that Python reads a file in: by its mark or its coding line, else UTF-8."""
    try:
        name, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        data.decode(name)
    except (SyntaxError, UnicodeDecodeError):
        return "utf-8"
    return name


def rewrite_file(fork: Fork, path: str, recent_torch: bool) -> Rewritten:
    """A Python file's text with today's names; one that cannot be decoded comes back as an error on its line."""
    data = fork.read(path)
    encoding = encoding_of(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return Rewritten(data.decode("latin-1"), error=(line, "the file's text is not encoded as UTF-8"))
    rewritten = rewrite(text, Facts(path, fork.package, recent_torch))
    if recent_torch:
        done = {(change.line, change.rule, change.before) for change in rewritten.changes}
        older = rewrite(text, Facts(path, fork.package)).changes
        rewritten.left = [change for change in older if (change.line, change.rule, change.before) not in done]
    if rewritten.error is not None:
        # Python says the line of an error, LibCST where it noticed.
        rewritten.error = refused_by_python(rename_async(text)[0]) or rewritten.error
    return rewritten


def lines_in_fork(fork: Fork, path: str, text: str) -> Callable[[int], int]:
    """From a line of the rewritten `text` to the line of the fork's file."""
    data = fork.read(path)
    old, new = data.decode(encoding_of(data), errors="replace").splitlines(), text.splitlines()
    if old == new:
        return lambda line: line
    places: list[int] = []
    for _, start, end, new_start, new_end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        places += [min(start + index, max(end - 1, start)) for index in range(new_end - new_start)]
    return lambda line: places[line - 1] + 1 if 0 < line <= len(places) else line


def _left_out(path: str, fork: Fork) -> bool:
    """The fork's native sources and its build: OUT has ours."""
    if path in (*BUILD_FILES, "setup.cfg"):
        return True
    return path.startswith(f"{fork.package}/csrc/") or (path.startswith(f"{fork.package}/") and path.endswith(NATIVE))


def _ours(path: str, package: str) -> Path:
    """Our file of the fork's path; outside the package only in the folders that a fork's tree gets from us."""
    first, _, rest = path.partition("/")
    if first == package:
        return OURS / rest
    return ROOT / path if first in BESIDE else ROOT / "no such folder"


def assemble(fork: Fork, assembly: Assembly, out: Path) -> None:
    """Write OUT: our package under the fork's name, the fork's own files over it, and what a build needs."""
    moved = moved_modules(fork, assembly)
    copy_package(out / fork.package, fork.package, moved=moved)
    for taken in assembly.taken:
        if taken.whose == "ours" and taken.path.split("/")[0] in BESIDE:
            _copy_renamed(ROOT / taken.path, out / taken.path, fork.package, (), moved)
    if any(taken.whose == "ours" and taken.path.startswith("demo/") for taken in assembly.taken):
        _copy_renamed(ROOT / "demo", out / "demo", fork.package, (), moved)  # its programs import each other
    for taken in assembly.taken:
        if taken.whose == "the fork's":
            write(out / taken.path, fork, taken)
    _write_build_files(fork, out)


def moved_modules(fork: Fork, assembly: Assembly) -> dict[str, str]:
    """Modules of ours that stand under another name in OUT, because new files of the fork's have theirs."""
    new = [taken.path for taken in assembly.taken if taken.whose == "the fork's" and taken.state == "new"]
    ours = {path.relative_to(OURS).as_posix() for path in OURS.rglob("*.py")}
    upstreams = {path.partition("/")[2] for path in upstream.versions()}
    return displacing.displaced(new, fork.package, ours - upstreams)


def write(target: Path, fork: Fork, taken: Taken) -> None:
    """Put a file of the fork's at `target`, rewritten where it is Python."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if taken.rewritten is not None and taken.rewritten.error is None:
        encoding = encoding_of(fork.read(taken.path)).replace("utf-8-sig", "utf-8")
        target.write_text(taken.rewritten.text, encoding=encoding, newline="")
    else:
        shutil.copy(fork.root / taken.path, target)


def copy_package(target: Path, name: str, native: bool = True, moved: dict[str, str] | None = None) -> None:
    """This package under another name; `native` with the sources of the operators; `moved` modules under other names."""
    _copy_renamed(OURS, target, name, () if native else ("csrc",), moved or {})


def _copy_renamed(
    source: Path, target: Path, name: str, skip: tuple[str, ...] = (), moved: dict[str, str] | None = None
) -> None:
    """A folder of ours, or a file, with the package's name in its text."""
    moved = moved or {}
    for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
        relative = path.relative_to(source)
        if not path.is_file() or "__pycache__" in relative.parts or relative.parts[:1] and relative.parts[0] in skip:
            continue
        copy = target / relative
        if path.suffix == ".py" and ".".join(relative.parts).removesuffix(".py") in moved:
            copy = copy.with_stem(copy.stem + displacing.SUFFIX)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".py", ".yaml", ".ipynb"):
            text = upstream.renamed(path.read_text(encoding="utf-8"), name)
            copy.write_text(displacing.with_new_names(text, name, moved), encoding="utf-8")
        else:
            shutil.copy(path, copy)


def _write_build_files(fork: Fork, out: Path) -> None:
    """setup.py and pyproject.toml, so that `pip install --no-build-isolation -e OUT` builds and installs the fork."""
    for name in BUILD_FILES:
        if (ROOT / name).is_file():
            text = upstream.renamed((ROOT / name).read_text(encoding="utf-8"), fork.package)
            if name == "pyproject.toml":
                packages = ", ".join(f'"{p}", "{p}.*"' for p in (fork.package, *other_packages(fork)))
                text = re.sub(r"(?m)^include = \[[^\]]*\]", f"include = [{packages}]", text)
                # Forks keep data beside their code.
                data = '"*" = ["*.json", "*.yaml", "*.txt"]'
                text = text.replace("[tool.setuptools.package-data]", f"[tool.setuptools.package-data]\n{data}")
                # The version is read without importing the package: a fork's __init__ may have none.
                text = re.sub(r'(?m)^dynamic = \["version"\]', 'version = "0+ported"', text)
                text = re.sub(r"(?ms)^\[tool\.setuptools\.dynamic\]\n.*?(?=^\[|\Z)", "", text)
            (out / name).write_text(text, encoding="utf-8")


def other_packages(fork: Fork) -> list[str]:
    """Packages beside the fork's own that its code may import: folders at the top with an __init__.py."""
    tops = {path.split("/")[0] for path in fork.files if path.count("/") == 1 and path.endswith("/__init__.py")}
    return sorted(top for top in tops if top.isidentifier() and top not in (fork.package, "tests", *BESIDE))


def make_control(fork: Fork, assembly: Assembly, tree: Path) -> None:
    """The fork's whole package, rewritten likewise, with our operators behind its `_C`."""
    copy_package(tree / CONTROL_NAME, CONTROL_NAME, native=False)
    done = {taken.path: taken for taken in assembly.taken}
    packages = (fork.package, *other_packages(fork))
    for path in fork.files:
        if path.split("/")[0] not in packages or path.endswith(NATIVE):
            continue
        taken = done[path]
        if taken.rewritten is None and path.endswith(".py"):
            taken = Taken(path, taken.state, "the fork's", rewrite_file(fork, path, False))
        write(tree / path, fork, taken)
    package = tree / fork.package
    (package / "_C.py").write_text(CONTROL_C)
    (package / "__init__.py").touch()
    # What ported files import in place of apex.
    (package / "porting").mkdir(exist_ok=True)
    (package / "porting" / "__init__.py").touch()
    shutil.copy(OURS / "porting" / "apex_amp.py", package / "porting" / "apex_amp.py")
