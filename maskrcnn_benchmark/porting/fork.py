"""The fork: a checkout, a bare git directory or a plain folder, as a folder of files."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from . import upstream

MARK = "structures/bounding_box.py"  # what every whole fork's package has
TELLING = 3  # so many paths of upstream's modules below one folder tell a fork of changed files alone
SOUGHT = (
    f"a package of a fork has the file {MARK}, or {TELLING} others at paths of maskrcnn-benchmark's modules (config/defaults.py, "
    "engine/trainer.py), or one if the folder is called maskrcnn_benchmark. Give the folder or git directory of the fork itself."
)
LEFT_OUT = {".git", ".hg", ".svn", "__pycache__", ".ipynb_checkpoints", ".idea", ".vscode"}
BUILT = (".so", ".pyd", ".pyc", ".o", ".egg-info")


class ForkError(ValueError):
    """FORK cannot be ported; the message says why in a sentence."""


@dataclass
class Fork:
    """Where a fork's files lie.

    Attributes:
        root: the folder that holds the package; what lies outside is not brought over.
        package: the package's name, e.g. maskrcnn_benchmark or fcos_core.
        files: paths of its files below `root`, with slashes, sorted.
        absent: paths that git lists without having their content, and submodules.
        elsewhere: the number of files of the repository outside `root`.
        origin: what to call it in a report: the path, and the branch and commit where there is one.
        links: symbolic links that were not followed, with where they lead.
        branches: other branches of the repository, by the command that gets one of them.
    """

    root: Path
    package: str
    files: list[str]
    absent: list[str] = field(default_factory=list)
    elsewhere: int = 0
    origin: str = ""
    links: dict[str, str] = field(default_factory=dict)
    branches: dict[str, list[str]] = field(default_factory=dict)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def modules(self) -> list[str]:
        """The package's Python files, relative to the package."""
        prefix = f"{self.package}/"
        return [path.removeprefix(prefix) for path in self.files if path.startswith(prefix) and path.endswith(".py")]


def open_fork(path: Path, scratch: Path) -> Fork:
    """Find the package in `path`; the tree of a git directory is written below `scratch`.

    Raises:
        ForkError: there is no such folder or no such package in it.
    """
    if not path.is_dir():
        raise ForkError(f"There is no folder {str(path)!r}: FORK is a checkout, a git directory or a folder of a fork.")
    git = _git_directory(path)
    absent: list[str] = []
    origin = str(path)
    branches: dict[str, list[str]] = {}
    # Of a checkout the files that lie there, edited or not; of a git directory alone what its branch holds.
    if git is not None and (git == path or not _find_packages(_list_folder(path))):
        branch = _branch_with_package(git, path)
        folder = scratch / "fork"
        absent = _write_tree(git, branch, folder)
        names = _list_folder(folder)
    else:
        folder, branch = path, "HEAD"
        names = _list_checkout(path) if git is not None else _list_folder(path)
    if git is not None:
        said, branches = _describe(git, branch, path)
        origin += said
    files, links = _follow_links(folder, names)
    packages = _find_packages(files)
    if not packages:
        raise ForkError(f"{str(path)!r} holds no fork of maskrcnn-benchmark: {SOUGHT}")
    package = packages[0]
    prefix = "" if package.parent == PurePosixPath(".") else f"{package.parent}/"
    inside = [name.removeprefix(prefix) for name in files if name.startswith(prefix)]
    absent = [name.removeprefix(prefix) for name in absent if name.startswith(prefix)]
    links = {name.removeprefix(prefix): to for name, to in links.items() if name.startswith(prefix)}
    elsewhere = len(files) - len(inside)
    return Fork(folder / prefix, package.name, inside, absent, elsewhere, origin, links, branches)


def _git(git: Path, *words: str, stdin: bytes | None = None) -> bytes:
    done = subprocess.run(["git", f"--git-dir={git}", *words], input=stdin, capture_output=True)
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise ForkError(f"git {words[0]} failed in {str(git)!r}: {message}")
    return done.stdout


def _git_directory(path: Path) -> Path | None:
    """The git directory that `path` is or has; None for a plain folder."""
    if (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir():
        return path
    inner = path / ".git"
    if inner.is_file():  # of a worktree or a submodule: "gitdir: PATH"
        inner = path / inner.read_text().removeprefix("gitdir:").strip()
    return inner if (inner / "HEAD").is_file() else None


def _branch_with_package(git: Path, path: Path) -> str:
    branches = _git(git, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes").decode().split()
    for branch in ("HEAD", *branches):
        listed = subprocess.run(
            ["git", f"--git-dir={git}", "ls-tree", "-r", "--name-only", branch], capture_output=True
        )
        if listed.returncode == 0 and _find_packages(listed.stdout.decode(errors="replace").split("\n")):
            return branch
    raise ForkError(f"{str(path)!r} holds no fork of maskrcnn-benchmark in its branches: {SOUGHT}")


def _describe(git: Path, branch: str, path: Path) -> tuple[str, dict[str, list[str]]]:
    """The branch and commit for a report, and the other branches by the command that gets one."""

    def ask(*words: str) -> str:
        done = subprocess.run(["git", f"--git-dir={git}", *words], capture_output=True)
        return "" if done.returncode else done.stdout.decode(errors="replace").strip()

    commit = ask("rev-parse", "--verify", branch)
    name = ask("rev-parse", "--abbrev-ref", branch) if commit else ""
    remote = name.partition("/")[2] if branch.startswith("refs/remotes/") else name
    local = [ref for ref in ask("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split() if ref != name]
    far = ask("for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes").split()
    far = sorted({ref for ref in far if ref not in ("HEAD", remote, *local)})
    here, url = shlex.quote(str(path)), ask("config", "--get", "remote.origin.url")
    fetch = f"git clone -b NAME {url} FOLDER"
    if not url:
        fetch = f"git init FOLDER && git -C FOLDER pull {here} refs/remotes/origin/NAME"
    branches = {way: refs for way, refs in ((f"git clone -b NAME {here} FOLDER", local), (fetch, far)) if refs}
    on = f", branch {name}" if name and name != "HEAD" else ""
    return f"{on}, commit {commit}" if commit else "", branches


def _write_tree(git: Path, branch: str, folder: Path) -> list[str]:
    """Write the files of a branch; returns the paths without content (a partial clone, submodules).

    `git archive` would stop at the first object that a partial clone lacks.
    """
    entries = [entry.split(b"\t", 1) for entry in _git(git, "ls-tree", "-r", "-z", branch).split(b"\0") if entry]
    wanted = [(mode, blob, os.fsdecode(name)) for (mode, kind, blob), name in ((h.split(), n) for h, n in entries)]
    content = _git(git, "cat-file", "--batch", stdin=b"".join(blob + b"\n" for _, blob, _ in wanted))
    absent, links, position = [], {}, 0
    for mode, _, name in wanted:
        end = content.index(b"\n", position)
        header, position = content[position:end].split(), end + 1
        if header[-1] == b"missing" or header[1] != b"blob":
            absent.append(name)
            position += 0 if header[-1] == b"missing" else int(header[2]) + 1
            continue
        data = content[position : position + int(header[2])]
        position += int(header[2]) + 1
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode == b"120000":
            links[target] = os.fsdecode(data)
        else:
            target.write_bytes(data)
    for target, destination in links.items():  # after all files, so that none is written through a link
        target.symlink_to(destination)
    return absent


def _follow_links(folder: Path, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """The files among `names`, with those that links inside `folder` lead to, and the links that were not followed.

    A link to a folder stands for what `names` has of that folder.
    """
    root = folder.resolve()
    files: list[str] = []
    links: dict[str, str] = {}

    def add(name: str, seen: tuple[str, ...]) -> None:
        path = folder / name
        if not path.is_symlink():
            if path.is_file() and path.resolve().is_relative_to(root):
                files.append(name)
            return
        try:
            real = path.resolve(strict=True)
            place = real.relative_to(root).as_posix()
        except (OSError, RuntimeError, ValueError):  # it leads nowhere, in a circle or outside
            links[name] = os.readlink(path)
            return
        inside = [other for other in names if other.startswith(f"{place}/")]
        if real.is_file() and not LEFT_OUT & set(place.split("/")):
            files.append(name)
        elif place in seen or name.startswith(f"{place}/") or not inside:  # it holds itself, or nothing of the fork
            links[name] = os.readlink(path)
        else:
            for other in inside:
                add(name + other.removeprefix(place), (*seen, place))

    for name in names:
        add(name, ())
    return sorted(files), links


def _list_folder(folder: Path) -> list[str]:
    """Files and symbolic links."""
    names = []
    for parent, directories, files in os.walk(folder):
        directories[:] = [name for name in directories if name not in LEFT_OUT and not name.endswith(BUILT)]
        found = [name for name in files if not name.endswith(BUILT)]
        found += [name for name in directories if Path(parent, name).is_symlink()]
        names += [Path(parent, name).relative_to(folder).as_posix() for name in found]
    return sorted(names)


def _list_checkout(folder: Path) -> list[str]:
    """A checkout's files and links without those that git ignores: data sets, weights, builds."""
    done = subprocess.run(
        ["git", "-C", folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True
    )
    if done.returncode:
        return _list_folder(folder)
    names = {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
    return sorted(n for n in names if not n.endswith(BUILT) and "__pycache__" not in n)


def _find_packages(names: list[str]) -> list[PurePosixPath]:
    """Folders of a fork's modules: those that hold MARK, then those of changed files alone, the least nested first."""
    front = f"{upstream.NAME}/"
    known = {
        path.removeprefix(front) for path in upstream.versions() if path.startswith(front) and path.endswith(".py")
    }
    known -= {path for path in known if path.endswith("__init__.py")}
    held: dict[PurePosixPath, set[str]] = {}
    for name in names:
        parts = name.split("/")
        for start in range(1, len(parts)):
            if (rest := "/".join(parts[start:])) in known:
                held.setdefault(PurePosixPath(*parts[:start]), set()).add(rest)
    found = [p for p, has in held.items() if MARK in has or len(has) >= (1 if p.name == upstream.NAME else TELLING)]
    return sorted(
        (p for p in found if p.name.isidentifier()),
        key=lambda path: (MARK not in held[path], len(path.parts), str(path)),
    )
