"""The rule of replaceable files: every file that maskrcnn-benchmark has can be a fork's, which knows upstream's names alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.api.test_surface import entries
from tests.forks import hiding, smoke
from tests.forks.names import own_names_used
from tests.support.once import once

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STUBS = HERE / "stubs"
OLDER = STUBS / "older"  # other versions of some of them
FILES = sorted(p.relative_to(STUBS).as_posix() for p in STUBS.rglob("*.py") if OLDER not in p.parents)
# What tools/train_net.py and tools/test_net.py run with.
WITH_TOOLS = {
    "trainer": STUBS / "engine/trainer.py",
    "older trainer": OLDER / "engine/trainer.py",
    "checkpoint": STUBS / "utils/checkpoint.py",
    "defaults": STUBS / "config/defaults.py",
}


def module_of(stub: Path) -> str:
    path = stub.relative_to(OLDER if OLDER in stub.parents else STUBS).with_suffix("")
    return ".".join(("maskrcnn_benchmark", *path.parts)).removesuffix(".__init__")


def make_tree(folder: Path, stub: Path) -> Path:
    """The package with a stub in place of our file, as links."""
    package = folder / "maskrcnn_benchmark"
    shutil.copytree(
        ROOT / "maskrcnn_benchmark",
        package,
        ignore=shutil.ignore_patterns("csrc", "__pycache__"),
        copy_function=os.symlink,
    )
    place = package / stub.relative_to(OLDER if OLDER in stub.parents else STUBS)
    place.unlink()
    place.symlink_to(stub)
    return folder


def job(folder: Path, program: Path, words: list, tree: Path, modules: list[str], results: Sequence[Path] = ()) -> dict:
    """A run of a program on a tree; see forked.py."""
    values = {
        "program": program,
        "words": words,
        "tree": tree,
        "modules": modules,
        "results": results,
        "folder": folder,
    }
    return {
        k: [str(v) for v in value] if isinstance(value, (list, tuple)) else str(value) for k, value in values.items()
    }


def command_lines(folder: Path, stub: Path) -> list[dict]:
    """Train and test a small Mask R-CNN by keys that upstream has, in folder/run."""
    folder.mkdir(parents=True)
    smoke.write_data(folder, keypoints=False)
    config, keys, _ = smoke.MODELS["mask"]
    paths = ["PATHS_CATALOG", folder / "catalog.py", "OUTPUT_DIR", folder / "run"]
    words = ["--config-file", ROOT / "configs" / config, *smoke.SMALL, *keys, *paths]
    tree = make_tree(folder / "tree", stub)
    metrics = [folder / "run" / "inference" / "mine" / "metrics.json"]
    return [
        job(folder / name, ROOT / "tools" / f"{name}.py", words, tree, [module_of(stub)], metrics)
        for name in ("train_net", "test_net")
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """The folder of what all programs left that are run here: smoke/NAME, tools/NAME."""
    return once(tmp_path_factory, "forks", lambda: run_all(tmp_path_factory.mktemp("forks")))


def run_all(root: Path) -> Path:
    jobs = [
        job(root / "smoke/hidden", HERE / "smoke.py", ["--hide"], ROOT, []),
        job(root / "smoke/planted", HERE / "planted.py", [], ROOT, []),
    ]
    for name in FILES:
        tree = make_tree(root / "trees" / name, STUBS / name)
        jobs.append(job(root / "smoke" / name, HERE / "smoke.py", [], tree, [module_of(STUBS / name)]))
    for name, stub in WITH_TOOLS.items():
        jobs += command_lines(root / "tools" / name, stub)
    (root / "jobs.json").write_text(json.dumps(jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    subprocess.run([sys.executable, HERE / "forked.py", root / "jobs.json"], env=environment, check=True)
    return root


def outcome(folder: Path) -> tuple[int, str]:
    """The exit status of a program and what it printed."""
    return int((folder / "status.txt").read_text()), (folder / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_the_package_runs_with_a_forks_version_of(name, runs):
    status, printed = outcome(runs / "smoke" / name)
    assert status == 0 and len(re.findall("^ok ", printed, re.MULTILINE)) == len(smoke.MODELS), printed


@pytest.mark.slow
def test_the_package_runs_where_only_upstreams_names_are_seen(runs):
    status, printed = outcome(runs / "smoke" / "hidden")
    assert status == 0, printed


@pytest.mark.slow
def test_a_name_that_upstream_lacks_is_hidden(runs):
    status, printed = outcome(runs / "smoke" / "planted")
    assert status == 1 and "cannot import name 'ROIAlign'" in printed, printed


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_TOOLS)
def test_the_command_lines_run_with_a_forks(name, runs):
    folder = runs / "tools" / name
    status, printed = outcome(folder / "train_net")
    assert status == 0, printed
    assert ("fork's loop" in printed) == ("trainer" in name) and ("Fork saves" in printed) == (name == "checkpoint")
    last = (folder / "run" / "last_checkpoint").read_text().strip()
    saved = torch.load(folder / "run" / last, weights_only=True)
    # maskrcnn-benchmark counted from 0 in 2018.
    assert saved["iteration"] == (1 if name == "older trainer" else 2)
    assert {"model", "optimizer", "scheduler"} <= set(saved)
    status, printed = outcome(folder / "test_net")
    assert status == 0, printed
    metrics = [json.loads((folder / tool / "metrics.json").read_text()) for tool in ("train_net", "test_net")]
    assert set(metrics[0]) >= {"bbox", "segm"} and metrics[1] == metrics[0]


def test_stubs_are_there_for_the_modules_that_forks_replace_most():
    assert len(FILES) == 15
    assert {module_of(STUBS / name) for name in FILES} <= set(hiding.UPSTREAM)


# Module -> names of upstream's last version, which the stubs are written for.
LAST_VERSION = {module: set(names) for module, names in hiding.UPSTREAM.items()}
for entry in entries():
    LAST_VERSION[entry.module].add(entry.path)


@pytest.mark.parametrize("name", [*FILES, "older/engine/trainer.py"])
def test_a_stub_knows_upstreams_names_alone(name):
    stub = STUBS / name
    module = module_of(stub)
    package = module if stub.name == "__init__.py" else module.rpartition(".")[0]
    assert not list(own_names_used(stub, package, LAST_VERSION))
    imported = re.findall(r"^(?:from|import) (maskrcnn_benchmark[\w.]*)", stub.read_text(), re.MULTILINE)
    assert set(imported) <= set(LAST_VERSION)


@pytest.fixture(scope="module")
def uses() -> dict[str, list[str]]:
    """By upstream module: where a name that upstream's lacks is taken from it."""
    found: dict[str, list[str]] = {}
    for top in ("maskrcnn_benchmark", "tools", "demo"):
        for path in (ROOT / top).rglob("*.py"):
            place = path.relative_to(ROOT)
            package = ".".join(place.parent.parts) if top == "maskrcnn_benchmark" else ""
            for module, name, line in own_names_used(path, package, hiding.UPSTREAM):
                found.setdefault(module, []).append(f"{place}:{line} {name}")
    return found


@pytest.mark.parametrize("module", sorted(hiding.UPSTREAM))
def test_nothing_takes_more_than_upstreams_names_from(module, uses):
    assert uses.get(module, []) == []


def test_every_way_to_take_a_name_is_seen(tmp_path):
    path = tmp_path / "user.py"
    path.write_text(
        "import pkg.sub.shapes\n"
        "import pkg.sub.shapes as s\n"
        "from pkg.sub.shapes import Box, Own as Mine\n"
        "from pkg.sub import shapes, free\n"
        "from . import shapes as t\n"
        "from ..sub.shapes import Own\n"
        "print(pkg.sub.shapes.Own, s.Own, shapes.Own.more, t.Own, s.Box.Own, free.Own, shapes.__doc__)\n"
    )
    upstream = {"pkg": [], "pkg.sub": ["free"], "pkg.sub.shapes": ["Box"]}
    found = list(own_names_used(path, "pkg.sub", upstream))
    assert [line for _, _, line in found] == [3, 6, 7, 7, 7, 7]
    assert {(module, name) for module, name, _ in found} == {("pkg.sub.shapes", "Own")}
