"""OUT/PORT.md: what came from where, what was rewritten, and what needs a person."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from maskrcnn_benchmark.utils.wording import counted

from .assembling import Assembly, moved_modules
from .dead_names import Dead
from .fork import Fork
from .importing import Failure
from .native import Missing
from .source import Change
from .torch_age import Sign

# Names of modules whose package on the index is called otherwise.
PIP_NAMES = {
    "cv2": "opencv-python",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "Polygon": "Polygon3",
    "cityscapesscripts": "cityscapesScripts",
    "google": "protobuf",
    "dateutil": "python-dateutil",
    "bs4": "beautifulsoup4",
    "git": "GitPython",
    "clip": "git+https://github.com/openai/CLIP",
    "panopticapi": "git+https://github.com/cocodataset/panopticapi",
    "onmt": "OpenNMT-py",
    "csHelpers": "cityscapesScripts",
}
# Modules that forks use and whose package is called likewise; of any other, who knows what the index has under its name.
SAME_NAMES = """
    albumentations cython dominate easydict editdistance einops ftfy gensim graphviz h5py imageio imgaug inflect ipdb
    jsonlines lmdb lvis matplotlib networkx nltk numba pandas prettytable pyclipper pycocotools requests scipy seaborn
    sentencepiece shapely simplejson spacy tabulate tensorboard tensorboardX tensorboard_logger tensorflow termcolor timm tqdm
    transformers visdom wandb yacs
""".split()


@dataclass
class Outcome:
    """Everything that a report says."""

    fork: Fork
    assembly: Assembly
    dead: list[Dead] = field(default_factory=list)
    third_party: dict[str, str] = field(default_factory=dict)  # module: the place that imports it
    native: list[Missing] = field(default_factory=list)
    extensions: set[str] = field(default_factory=set)  # native modules that only the fork's own build makes
    modules: int = 0
    out_failures: dict[str, Failure] = field(default_factory=dict)
    control_failures: dict[str, Failure] = field(default_factory=dict)
    check: list[str] = field(default_factory=list)  # what --check says; "" if it was not asked for
    check_failed: bool = False

    @property
    def broken(self) -> dict[str, Failure]:
        """Modules that import in the control and not in OUT."""
        return {name: why for name, why in self.out_failures.items() if name not in self.control_failures}

    @property
    def unbuilt(self) -> dict[str, Failure]:
        """Modules that import in neither, because an extension of the fork's own is not built."""
        return {
            name: why
            for name, why in self.out_failures.items()
            if name in self.control_failures and why.lacks(self.extensions)
        }

    @property
    def left(self) -> list[tuple[str, Change]]:
        """What would have been rewritten in a fork of an older torch, by file."""
        return [(file.path, change) for file in self.assembly.taken if file.rewritten for change in file.rewritten.left]

    @property
    def failed(self) -> bool:
        return bool(self.broken or self.unbuilt) or self.check_failed


def write_report(outcome: Outcome) -> str:
    fork = outcome.fork
    title = f"# {fork.package}, ported\n\nFrom {fork.origin}, by `tools/port.py`."
    for command, branches in fork.branches.items():
        title += f"\n\nNot brought over: other branches, {', '.join(branches)}. To port one of them:\n\n"
        title += f"    {command}\n    python tools/port.py FOLDER OUT"
    sections = [
        title,
        _summary(outcome),
        _running(outcome),
        _person(outcome),
        _third_party(outcome),
        _native(outcome),
        _imports(outcome),
        _check(outcome),
        _rewritten(outcome),
        _left(outcome),
        _files(outcome),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _summary(outcome: Outcome) -> str:
    taken = outcome.assembly.taken
    count = Counter(file.whose for file in taken)
    states = Counter(file.state for file in taken if file.whose == "the fork's")
    own = count["the fork's"]
    changes = sum(len(file.rewritten.changes) for file in taken if file.rewritten)
    verdict = "Every module of the fork that imports by itself imports here."
    if outcome.broken:
        said = counted(
            len(outcome.broken),
            "module that imports in the fork by itself does",
            "modules that import in the fork by itself do",
        )
        verdict = f"**{said} not import here.**"
    unbuilt = len(outcome.unbuilt)
    wanting = counted(unbuilt, "module needs", "modules need")
    sign = outcome.assembly.recent_torch
    reason = f"or later: {_said_of(sign)}" if sign else "or earlier: nothing in it needs a later one"
    age = f"Its code is taken to be of torch {'1.5' if sign else '1.4'} {reason}."
    return "\n".join(
        [
            "## Summary",
            "",
            f"- {verdict}",
            *([f"- **{wanting} an extension of the fork's own, which is not built.**"] if unbuilt else []),
            f"- {counted(count['ours'], 'file is', 'files are')} as some version of upstream's: this package's stand in "
            "their place.",
            f"- {own} files are the fork's own ({states['changed']} changed, {states['new']} new, "
            f"{states['upstream']} upstream's that this package has not); {changes} pieces of code in them were rewritten.",
            f"- {counted(count['left out'], 'file was', 'files were')} left out: native sources and the fork's build, in whose "
            "place are this package's.",
            f"- {age}",
            f"- Dead names without a rule: {len(outcome.dead)}; native functions that are missing: {len(outcome.native)}; "
            f"third-party packages that are missing: {len(outcome.third_party)}.",
        ]
    )


def _running(outcome: Outcome) -> str:
    paths = {file.path for file in outcome.assembly.taken}
    lines = ["## How to run", "", "In this folder:", ""]
    lines += ["    pip install --no-build-isolation -e .    # or: export PYTHONPATH=$PWD"]
    for tool, command in (("tools/train_net.py", "train"), ("tools/test_net.py", "test")):
        # A fork of changed files alone has no tools.
        words = tool if tool in paths else f"-m {outcome.fork.package} {command}"
        lines.append(f"    python {words} --config-file configs/....yaml")
    if "tools/train_net.py" in paths:
        lines.append("    torchrun --nproc_per_node=8 tools/train_net.py --config-file configs/....yaml")
    if not any(path.startswith("configs/") for path in paths):
        lines += [
            "",
            "The fork has no configs/: copy this package's from its repository (and demo/, to run its demo), or name your own.",
        ]
    return "\n".join(lines)


def needs_person(outcome: Outcome) -> list[str]:
    """What is left to a person, a line for each."""
    fork, lines = outcome.fork, list[str]()
    for file in outcome.assembly.taken:
        if file.rewritten is None:
            continue
        if file.rewritten.error is not None:
            line, message = file.rewritten.error
            lines.append(f"- {file.path}:{line}: not Python 3, brought over as it is: {message}")
        lines += [f"- {file.path}:{remark.line}: {remark.text}" for remark in file.rewritten.remarks]
    for dead in outcome.dead:
        guarded = " (inside a `try` that catches it)" if dead.guarded else ""
        lines.append(f"- {dead.path}:{dead.line}: dead name without a rule: `{dead.name}`: {dead.why}{guarded}")
    lines += _native_calls(outcome)
    lines += [
        f"- {fork.package}.{old} is the fork's new module; this package's own of that name is {fork.package}.{new} here"
        for old, new in moved_modules(fork, outcome.assembly).items()
    ]
    lines += [f"- {path}: git lists it, but this copy of the repository lacks it" for path in fork.absent]
    lines += [f"- {path}: not taken over: link to {to}" for path, to in fork.links.items()]
    if fork.elsewhere:
        lines.append(
            f"- {outcome.fork.elsewhere} files of the repository outside the package's folder were not brought over."
        )
    return lines


def _person(outcome: Outcome) -> str:
    return "\n".join(["## What needs a person", "", *(needs_person(outcome) or ["Nothing was found."])])


def _native_calls(outcome: Outcome) -> list[str]:
    """A line for each native function that is missing and called, and one for all those that nothing calls."""
    lines = []
    for m in outcome.native:
        if m.callers:
            what = (
                "a call raises NotImplementedError" if m.module == "_C" else "an extension of the fork's own, not built"
            )
            lines.append(
                f"- native function that is missing: `{m.module}.{m.name}` ({what}), for {', '.join(m.callers)}"
            )
    idle = [f"`{m.module}.{m.name}`" for m in outcome.native if not m.callers]
    return [*lines, f"- native functions that are missing and that nothing calls: {', '.join(idle)}"] if idle else lines


def _third_party(outcome: Outcome) -> str:
    if not outcome.third_party:
        return ""
    names = sorted(outcome.third_party)
    known = {name: PIP_NAMES.get(name, name) for name in names if name in PIP_NAMES or name in SAME_NAMES}
    unknown = [name for name in names if name not in known and name != "apex"]
    lines = ["## Third-party packages that are missing", ""]
    lines += [f"- `{name}`: imported in {outcome.third_party[name]}" for name in names]
    if known:
        lines += ["", f"    pip install {' '.join(sorted(set(known.values())))}"]
    if unknown:
        lines += ["", f"unknown: {' '.join(unknown)} (find out where the fork has them from)"]
    return "\n".join(lines)


def _native(outcome: Outcome) -> str:
    if not outcome.native:
        return ""
    rows = [(f"`{m.name}`", m.module, m.source or "-", ", ".join(m.callers) or "nothing") for m in outcome.native]
    text = (
        "The fork's C++ and CUDA sources export these, or its code calls them; this package has none of them. "
        "Those of `_C` can be imported; a call raises NotImplementedError."
    )
    if any(m.module != "_C" for m in outcome.native):
        text += " The other modules are extensions of the fork's own, which are not built: importing them fails."
    head = ("function", "module", "exported in", "called in")
    return "\n".join(["## Native functions that are missing", "", text, "", _table(head, rows)])


def _imports(outcome: Outcome) -> str:
    lines = ["## Modules that do not import", ""]
    if not outcome.out_failures:
        return "\n".join([*lines, f"All {outcome.modules} modules of the fork import."])
    lines.append(f"Of {outcome.modules} modules of the fork.")
    told = {**outcome.broken, **outcome.unbuilt}
    both = {name: why for name, why in outcome.out_failures.items() if name not in told}
    for title, failures in (
        ("These import in the fork by itself, as far as its own files go:", outcome.broken),
        ("These need an extension of the fork's own, which is built neither here nor in the fork:", outcome.unbuilt),
        ("These do not import in the fork by itself either:", both),
    ):
        if failures:
            rows = [(name, _reason(why)) for name, why in sorted(failures.items())]
            lines += ["", title, "", _table(("module", "reason"), rows)]
    return "\n".join(lines)


def _reason(failure: Failure) -> str:
    return f"needs `{failure.third_party}`, which is not installed" if failure.third_party else failure.reason


def _check(outcome: Outcome) -> str:
    return "\n".join(["## --check: two iterations and a test on the CPU", "", *outcome.check]) if outcome.check else ""


def _rewritten(outcome: Outcome) -> str:
    lines = ["## What was rewritten", "", "Lines are those of the fork's files."]
    reasons = {c.rule.name: c.rule.why for f in outcome.assembly.taken if f.rewritten for c in f.rewritten.changes}
    if not reasons:
        return "\n".join([*lines[:2], "Nothing."])
    lines += ["", _table(("rule", "why"), sorted(reasons.items()))]
    for file in outcome.assembly.taken:
        if file.rewritten is not None and file.rewritten.changes:
            rows = [(str(c.line), c.rule.name, _code(c.before), _code(c.after)) for c in file.rewritten.changes]
            lines += ["", f"### {file.path}", "", _table(("line", "rule", "before", "after"), rows)]
    return "\n".join(lines)


def left_alone(outcome: Outcome) -> str:
    """A sentence about what was not rewritten because of the torch that the fork was written for; "" if that changed nothing."""
    sign, count = outcome.assembly.recent_torch, len(outcome.left)
    if sign is None or not count:
        return ""
    kept = counted(count, "piece of code stays as it is", "pieces of code stay as they are")
    return f"{kept} because the fork was taken to be written for torch 1.5 or later: {_said_of(sign)}."


def _said_of(sign: Sign) -> str:
    return f"{sign.path}:{sign.line} has `{sign.code}`, which came with torch {sign.since}"


def _left(outcome: Outcome) -> str:
    if not outcome.left:
        return ""
    text = (
        f"{left_alone(outcome)} If a file of these was last run with an earlier torch, rewrite it as the last column says: "
        "it divided whole numbers without a fraction, and sampled and scaled by other defaults."
    )
    rows = [(f"{path}:{c.line}", c.rule.name, _code(c.before), _code(c.after)) for path, c in outcome.left]
    head = ("line", "rule", "as it is", "of an earlier torch")
    return "\n".join(["## What an earlier torch would have meant", "", text, "", _table(head, rows)])


def _files(outcome: Outcome) -> str:
    groups: dict[str, list[str]] = defaultdict(list)
    for file in outcome.assembly.taken:
        reason = f": an older upstream's, for {', '.join(file.needed)}" if file.needed else ""
        groups[{"the fork's": f"the fork's, {file.state}"}.get(file.whose, file.whose)].append(f"{file.path}{reason}")
    lines = ["## What came from where"]
    for title, paths in sorted(groups.items()):
        lines += ["", f"### {title[0].upper()}{title[1:]} ({len(paths)})", "", *(f"- {path}" for path in paths)]
    return "\n".join(lines)


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    pad = " " if fence == "``" else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])
