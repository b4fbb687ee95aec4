"""A whole small fork, made here, through tools/port.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("libcst")

from maskrcnn_benchmark.porting import assembling, importing, losses, rewriting, trial, upstream  # noqa: E402
from maskrcnn_benchmark.porting.dead_names import Dead  # noqa: E402
from maskrcnn_benchmark.porting.fork import ForkError, open_fork  # noqa: E402
from maskrcnn_benchmark.porting.native import Missing  # noqa: E402
from maskrcnn_benchmark.porting.porting import port  # noqa: E402
from maskrcnn_benchmark.porting.report import Outcome, left_alone, needs_person, write_report  # noqa: E402

ROOT = Path(__file__).parents[2]
# Stands for a file of upstream's: its blob id is made known below.
BOXES = "# tiny_core, an old version\nclass BoxList:\n    pass\n\ndef cat(boxes):\n    return boxes\n"
FORK = {
    "setup.py": "raise SystemExit\n",
    "README.md": "a fork\n",
    "configs/small.yaml": "MODEL:\n  DEVICE: cpu\n",
    "tools/train_net.py": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--local_rank', type=int, default=0)\n",
    "helpers/__init__.py": "import tiny_core.extra\n",
    "tiny_core/__init__.py": "",
    "tiny_core/structures/__init__.py": "",
    "tiny_core/structures/bounding_box.py": BOXES,
    "tiny_core/extra/__init__.py": "",
    "tiny_core/extra/names.json": "[1]",
    "tiny_core/extra/swish.py": "import numpy as np\r\n\r\nKIND = np.float  # as in 2018\r\n",
    "tiny_core/extra/head.py": (
        "from apex import amp\n"
        "from tiny_core.structures.bounding_box import BoxList\n"
        "from torch._six import PY3\n"
        "@amp.float_function\n"
        "def double(x):\n"
        "    return x * 2\n"
    ),
    "tiny_core/extra/native.py": "from tiny_core import _C\nown, nms = _C.own_pool, _C.nms\n",
    "tiny_core/extra/python2.py": "x = 1\nprint 'old'\n",
    "tiny_core/extra/lacking.py": "import no_such_package_anywhere\n",
    "tiny_core/extra/dead.py": "import numpy as np\ndef f():\n    return np.no_such_function(1)\n",
    "tiny_core/csrc/vision.cpp": (
        'PYBIND11_MODULE(T, m) {\n  m.def("nms", &nms);\n  // m.def("gone", &gone);\n  m.def("own_pool", &p);\n}\n'
    ),
}


@pytest.fixture
def known(monkeypatch):
    """Makes BOXES a version of upstream's."""
    text = BOXES.replace("tiny_core", upstream.NAME)
    path = "maskrcnn_benchmark/structures/bounding_box.py"
    known = {**upstream.versions(), path: frozenset({upstream.blob_id(text.encode())})}
    monkeypatch.setattr(upstream, "versions", lambda: known)


def write_fork(folder: Path, **more: str) -> Path:
    for name, text in {**FORK, **more}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")
    return folder


def state_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def git(folder: Path, *words: str) -> None:
    settings = (
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.c",
        "-c",
        "core.autocrlf=false",
        "-c",
        "init.defaultBranch=main",
    )
    subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def ported(tmp_path, known):
    """The fork, ported: (OUT, outcome, what the fork's folder held before)."""
    fork = write_fork(tmp_path / "fork")
    before = state_of(fork)
    outcome = port(fork, tmp_path / "out", say=lambda sentence: None)
    assert state_of(fork) == before
    assert sorted(os.listdir(tmp_path)) == ["fork", "out"]
    return tmp_path / "out", outcome


@pytest.mark.slow
def test_the_whole_of_a_small_fork(ported):
    out, outcome = ported
    assert not outcome.broken and not outcome.failed
    assert set(outcome.control_failures) == {"tiny_core.extra.python2", "tiny_core.extra.lacking"}
    # The fork's own files, rewritten, with their line ends; upstream's are ours under the fork's name.
    assert (
        out / "tiny_core/extra/swish.py"
    ).read_bytes() == b"import numpy as np\r\n\r\nKIND = float  # as in 2018\r\n"
    ours = (ROOT / "maskrcnn_benchmark/structures/bounding_box.py").read_text()
    assert (out / "tiny_core/structures/bounding_box.py").read_text() == upstream.renamed(ours, "tiny_core")
    assert (out / "tiny_core/extra/names.json").read_text() == "[1]"
    assert (out / "tiny_core/extra/python2.py").read_text() == FORK["tiny_core/extra/python2.py"]
    assert not (out / "tiny_core/csrc/vision.cpp").exists() and (out / "tiny_core/csrc/library.cpp").exists()
    assert "LOCAL_RANK" in (out / "tools/train_net.py").read_text()
    program = (
        "import torch, tiny_core.layers as l, tiny_core.extra.head as h, tiny_core.extra.native as n\n"
        "assert l.nms(torch.tensor([[0., 0, 9, 9], [0, 0, 9, 9]]), torch.tensor([1., 2]), 0.5).tolist() == [1]\n"
        "assert h.double(torch.ones(1)).item() == 2\n"
        "try: n.own(1)\n"
        "except NotImplementedError as error: print('own_pool' in str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=out,
        env=dict(os.environ, PYTHONPATH=str(out)),
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["True"], done.stderr


@pytest.mark.slow
def test_the_report_says_all(ported):
    out, outcome = ported
    report = (out / "PORT.md").read_text()
    assert report == write_report(outcome)
    for said in (
        "tiny_core/extra/python2.py:2: not Python 3",
        "tiny_core/extra/dead.py:3: dead name without a rule: `numpy.no_such_function`",
        "\nunknown: no_such_package_anywhere (",
        "- native function that is missing: `_C.own_pool` (a call raises NotImplementedError), for tiny_core/extra/native",
        "`no_such_package_anywhere`: imported in tiny_core/extra/lacking.py:1",
        "| `own_pool` | _C | tiny_core/csrc/vision.cpp | tiny_core/extra/native.py:2 |",
        "| 3 | numpy aliases | `np.float` | `float` |",
        "| 3 | torch._six | `from torch._six import PY3` | `PY3 = True` |",
        "- tiny_core/structures/bounding_box.py",
        "| tiny_core.extra.lacking | needs `no_such_package_anywhere`, which is not installed |",
        "pip install --no-build-isolation -e .",
        "    python tools/train_net.py --config-file",
        "    python -m tiny_core test --config-file",  # the fork has no tools/test_net.py
    ):
        assert said in report, said
    assert "gone" not in report
    pyproject = (out / "pyproject.toml").read_text()
    assert 'name = "tiny_core"' in pyproject and '"helpers"' in pyproject


@pytest.mark.slow
def test_a_module_that_imports_in_the_fork_alone_fails_the_port(tmp_path, known):
    own = {
        "tiny_core/extra/old.py": "import tiny_core.structures.bounding_box as b\nassert not hasattr(b.BoxList, 'resize')\n"
    }
    fork = write_fork(tmp_path / "fork", **own)
    program = [sys.executable, "-c", _PORT_WITH_BOXES, str(fork), str(tmp_path / "out")]
    done = subprocess.run(program, env=dict(os.environ, PYTHONPATH=_path()), capture_output=True, text=True)
    assert done.returncode == 1 and "does not import: tiny_core.extra.old" in done.stdout, done.stderr
    assert "\n1 native function is called and missing.\n3 things need a person. See " in done.stdout
    assert (
        "**1 module that imports in the fork by itself does not import here.**"
        in (tmp_path / "out/PORT.md").read_text()
    )


# The command line with BOXES known as upstream's.
_PORT_WITH_BOXES = f"""
import runpy, sys
from maskrcnn_benchmark.porting import upstream
path = "maskrcnn_benchmark/structures/bounding_box.py"
blob = upstream.blob_id({BOXES.replace("tiny_core", upstream.NAME).encode()!r})
known = {{**upstream.versions(), path: frozenset([blob])}}
upstream.versions = lambda: known
sys.argv = ["port.py", *sys.argv[1:]]
runpy.run_path({str(ROOT / "tools/port.py")!r}, run_name="__main__")
"""


@pytest.mark.slow
def test_an_extension_of_the_forks_own_is_told_apart(tmp_path, known):
    own = {
        "tiny_core/dcn/__init__.py": "",
        "tiny_core/dcn/setup.py": "setup(ext_modules=[CUDAExtension(\n    'deform_cuda', ['src/deform.cpp'])])\n",
        "tiny_core/dcn/src/deform.cpp": 'PYBIND11_MODULE(T, m) {\n  m.def("nms", &nms);\n  m.def("idle", &i);\n}\n',
        "tiny_core/dcn/conv.py": "from . import deform_cuda\n\ndef f(x):\n    return deform_cuda.nms(x)\n",
        "tiny_core/extra/plain.py": "import deform_cuda\n",
    }
    outcome = port(write_fork(tmp_path / "fork", **own), tmp_path / "out", say=lambda sentence: None)
    assert set(outcome.unbuilt) == {"tiny_core.dcn.conv", "tiny_core.extra.plain"} and not outcome.broken
    assert outcome.failed and set(outcome.third_party) == {"no_such_package_anywhere"}
    report = write_report(outcome)
    for said in (
        "`deform_cuda.nms` (an extension of the fork's own, not built), for tiny_core/dcn/conv.py:4",
        "nothing calls: `deform_cuda.idle`",
        "| `nms` | deform_cuda | tiny_core/dcn/src/deform.cpp | tiny_core/dcn/conv.py:4 |",
        "**2 modules need an extension of the fork's own",
    ):
        assert said in report, said
    assert (
        "tiny_core.dcn.conv" not in report.partition("do not import in the fork by itself either")[2].partition("#")[0]
    )


def test_what_needs_a_person_is_counted_and_fails_no_port(tmp_path):
    outcome = Outcome(open_fork(write_fork(tmp_path / "fork"), tmp_path / "scratch"), assembling.Assembly())
    assert "The fork has no configs/: copy this package's" in write_report(outcome)
    outcome.dead = [Dead("a.py", 1, "numpy.gone", "NumPy has none.")]
    outcome.native = [Missing("idle", "a.cpp", ())]
    assert len(needs_person(outcome)) == 2
    outcome.native.append(Missing("own_pool", "a.cpp", ("a.py:2",)))
    assert len(needs_person(outcome)) == 3 and not outcome.failed


def _path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, sys.path)])


@pytest.mark.slow
def test_a_name_of_an_older_upstream_brings_the_forks_module(tmp_path, known):
    fork = write_fork(
        tmp_path / "fork", **{"tiny_core/extra/old.py": "from tiny_core.structures.bounding_box import cat\n"}
    )
    outcome = port(fork, tmp_path / "out", say=lambda sentence: None)
    assert "tiny_core.extra.old" not in outcome.out_failures
    assert (tmp_path / "out/tiny_core/structures/bounding_box.py").read_text() == BOXES
    assert (
        "tiny_core/structures/bounding_box.py: an older upstream's, for cat" in (tmp_path / "out/PORT.md").read_text()
    )


@pytest.mark.parametrize(
    ("code", "sign"),
    [
        ("import torch as t\ny = t.floor_divide(3, 2)\n", "2 has `floor_divide`, which came with torch 1.5"),
        ("y = x.true_divide(2)\n", "1 has `true_divide`, which came with torch 1.5"),
        ("from torch.cuda.amp import autocast\n", "1 has `torch.cuda.amp`, which came with torch 1.6"),
        ("import torch\n\nf = torch.amp.autocast\n", "3 has `torch.amp`, which came with torch 1.6"),
        ("y = div(x,\n  rounding_mode='floor')\n", "2 has `rounding_mode=`, which came with torch 1.8"),
        ("import numpy as np\ny = np.true_divide(3, 2)  # torch.floor_divide\n'weights_only, torch.cuda.amp'\n", ""),
    ],
)
def test_what_the_age_of_a_forks_torch_rests_on(code, sign, tmp_path, known):
    older = "def f(x):\n    return x.topk(3)[1] / 10, F.grid_sample(x, x), torch.load(x)\n"
    own = {"tiny_core/a.py": code, "tiny_core/b.py": f"import torch\nimport torch.nn.functional as F\n{older}"}
    fork = open_fork(write_fork(tmp_path / "fork", **own), tmp_path / "scratch")
    outcome = Outcome(fork, assembling.survey(fork))
    report = write_report(outcome)
    divides = "x.topk(3)[1] // 10" in outcome.assembly.texts["tiny_core/b.py"]
    assert divides != bool(sign) and "weights_only=False" in outcome.assembly.texts["tiny_core/b.py"]
    assert [(path, change.line) for path, change in outcome.left] == [("tiny_core/b.py", 4)] * 2 * bool(sign)
    if sign:
        assert f"torch 1.5 or later: tiny_core/a.py:{sign}." in report
        assert "2 pieces of code stay as they are because" in left_alone(outcome)
        assert "| tiny_core/b.py:4 | integer division | `x.topk(3)[1] / 10` | `x.topk(3)[1] // 10` |" in report
    else:
        assert "taken to be of torch 1.4 or earlier" in report and not left_alone(outcome)


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("tiny_core/structures/bounding_box.py", "upstream"),
        ("tiny_core/structures/segmentation_mask.py", "changed"),
        ("tiny_core/engine/predictor.py", "new"),
    ],
)
def test_only_the_same_file_of_upstream_is_upstreams(path, state, known):
    assert upstream.state(path, BOXES.encode(), "tiny_core") == state


def rewritten(tmp_path, data: bytes):
    """A file of the fork's through `rewrite_file` and `write`: (Rewritten, fork, what was written)."""
    folder = write_fork(tmp_path / "fork")
    path = "tiny_core/extra/swish.py"
    (folder / path).write_bytes(data)
    fork = open_fork(folder, tmp_path / "scratch")
    done = assembling.rewrite_file(fork, path, False)
    assembling.write(tmp_path / "new.py", fork, assembling.Taken(path, "new", "the fork's", done))
    return done, fork, (tmp_path / "new.py").read_bytes()


def test_a_file_keeps_the_encoding_of_its_coding_line(tmp_path):
    text = "# -*- coding: latin-1 -*-\nimport numpy as np\nname, kind = 'caf\u00e9', np.float\n"
    done, _, data = rewritten(tmp_path, text.encode("latin-1"))
    assert done.error is None and data == text.replace("np.float", "float").encode("latin-1")
    done, _, data = rewritten(tmp_path, b"# nothing said\nname = 'caf\xe9'\n")
    assert done.error == (2, "the file's text is not encoded as UTF-8") and data.endswith(b"\xe9'\n")


@pytest.mark.parametrize("source", ["a = 1\n\nprint 'old'\n\n\nb = 2\n", "a = 1\n\nx = (1 2)\nb = 2\n"])
def test_the_line_of_what_is_no_python_3(source, tmp_path):
    assert rewritten(tmp_path, source.encode())[0].error[0] == 3


def test_lines_are_those_of_the_forks_file(tmp_path):
    source = "a = 1\nb = 2\nc = 3\n"
    _, fork, _ = rewritten(tmp_path, source.encode())
    place = assembling.lines_in_fork(fork, "tiny_core/extra/swish.py", "import os\nimport sys\na = 1\nb = 20\nc = 3\n")
    assert [place(line) for line in (3, 4, 5)] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["checkout", "git directory", "bare", "edited checkout"])
def test_forms_of_a_fork(kind, tmp_path):
    fork = write_fork(tmp_path / "fork", **{"inner/.keep": "", ".gitignore": "data/\n", "data/big.bin": "0"})
    git(fork, "init")
    git(fork, "add", ".")
    git(fork, "commit", "-m", "a")
    path = fork
    if kind == "git directory":
        path = fork / ".git"
    elif kind == "bare":
        path = tmp_path / "bare"
        git(tmp_path, "clone", "--bare", str(fork), str(path))
    elif kind == "edited checkout":
        (fork / "tiny_core/extra/swish.py").write_text("NEW = 1\n")
    found = open_fork(path, tmp_path / "scratch")
    assert (
        found.package == "tiny_core" and "data/big.bin" not in found.files and "tiny_core/extra/head.py" in found.files
    )
    edited = kind == "edited checkout"
    assert (found.read("tiny_core/extra/swish.py") == b"NEW = 1\n") == edited
    assert ", branch main, commit " in found.origin and not found.branches


def test_other_branches_are_named_with_what_to_clone(tmp_path):
    fork = write_fork(tmp_path / "fork")
    git(fork, "init")
    git(fork, "add", ".")
    git(fork, "commit", "-m", "a")
    git(fork, "branch", "other")
    git(tmp_path, "clone", str(fork), str(tmp_path / "clone"))
    assert open_fork(fork, tmp_path / "scratch").branches == {f"git clone -b NAME {fork} FOLDER": ["other"]}
    found = open_fork(tmp_path / "clone/.git", tmp_path / "scratch2")
    assert (
        found.branches == {f"git clone -b NAME {fork} FOLDER": ["other"]} and ", branch main, commit " in found.origin
    )
    report = write_report(Outcome(found, assembling.Assembly()))
    assert "other branches, other." in report and f"git clone -b NAME {fork} FOLDER" in report


@pytest.mark.parametrize("kind", ["folder", "checkout", "git directory"])
def test_links_are_followed_inside_the_fork_only(kind, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.txt").write_text("outside")
    fork = write_fork(tmp_path / "fork")
    extra = {
        "models": "tiny_core/extra",
        "tiny_core/up": "..",
        "one.json": "tiny_core/extra/names.json",
        "data": str(tmp_path / "secret"),
        "key.txt": "../secret/key.txt",
        "gone": "nowhere",
    }
    for name, to in extra.items():
        (fork / name).symlink_to(to)
    if kind != "folder":
        git(fork, "init")
        git(fork, "add", ".")
        git(fork, "commit", "-m", "a")
    found = open_fork(fork / ".git" if kind == "git directory" else fork, tmp_path / "scratch")
    assert set(found.links) == {"tiny_core/up", "data", "key.txt", "gone"} and found.links["gone"] == "nowhere"
    assert {"models/names.json", "models/swish.py", "one.json"} < set(found.files)
    assert found.read("models/names.json") == b"[1]" and not any("key" in path for path in found.files)
    assert "- gone: not taken over: link to nowhere" in write_report(Outcome(found, assembling.Assembly()))


def test_a_package_deeper_in_the_repository(tmp_path):
    write_fork(tmp_path / "fork/detection")
    (tmp_path / "fork/paper.txt").write_text("outside")
    found = open_fork(tmp_path / "fork", tmp_path / "scratch")
    assert found.root == tmp_path / "fork/detection" and "paper.txt" not in found.files and found.elsewhere == 1


@pytest.mark.parametrize(
    ("files", "package"),
    [
        (["maskrcnn_benchmark/engine/trainer.py"], "maskrcnn_benchmark"),
        (["x/maskrcnn_benchmark/config/defaults.py"], "maskrcnn_benchmark"),
        (["core/engine/trainer.py", "core/config/defaults.py", "core/modeling/rpn/rpn.py"], "core"),
        (["core/engine/trainer.py", "core/config/defaults.py", "core/engine/__init__.py", "core/new.py"], None),
        (["a/engine/trainer.py", "a/solver/build.py", "a/data/build.py", "b/c/structures/bounding_box.py"], "c"),
    ],
)
def test_a_fork_of_changed_files_alone_is_told_by_upstreams_paths(files, package, tmp_path):
    for file in files:
        (tmp_path / "fork" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fork" / file).write_text("x = 1\n")
    if package is None:
        with pytest.raises(ForkError, match=r"has the file structures/bounding_box.py, or 3 others at paths of"):
            open_fork(tmp_path / "fork", tmp_path / "scratch")
        return
    found = open_fork(tmp_path / "fork", tmp_path / "scratch")
    assert found.package == package and len(found.modules()) == sum(f"{package}/" in file for file in files)
    gone = [f"{package}.layers", f"{package}.layers.nms", "numpy.float"]
    reasons = [f"No module named '{name}'" for name in gone] + [f"cannot import name 'nms' from '{package}.layers' (x)"]
    assert [importing.Failure(reason).lacks_upstreams(found) for reason in reasons] == [True, True, False, True]


def test_a_package_that_lacks_a_module_is_not_missing(tmp_path):
    (tmp_path / "scratch").mkdir()
    modules = {
        "a": "import json.gone\n",
        "b": "import no_such_package_anywhere.gone\n",
        "c": "import a.gone\n",
        "d": "",
    }
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
    failures = importing.import_all(tmp_path, list(modules), ("a",), tmp_path / "scratch")
    found = {name: failure.third_party for name, failure in failures.items()}
    assert found == {"a": "", "b": "no_such_package_anywhere", "c": ""}


@pytest.mark.parametrize("case", ["no folder", "no package", "an empty git directory"])
def test_what_is_no_fork_gets_a_sentence(case, tmp_path):
    fork = tmp_path / "fork"
    if case != "no folder":
        fork.mkdir()
        (fork / "a.py").write_text("")
    if case == "an empty git directory":
        git(fork, "init")
        fork = fork / ".git"
    with pytest.raises(ForkError, match="no folder" if case == "no folder" else "holds no fork"):
        port(fork, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_out_that_exists_is_refused(tmp_path):
    fork = write_fork(tmp_path / "fork")
    (tmp_path / "out").mkdir()
    with pytest.raises(ForkError, match="exists already"):
        port(fork, tmp_path / "out")
    with pytest.raises(ForkError, match="inside the fork"):
        port(fork, fork / "out")
    (tmp_path / "link").symlink_to(fork)
    with pytest.raises(ForkError, match="inside the fork"):
        port(fork, tmp_path / "link" / "out")
    with pytest.raises(ForkError, match="inside the fork"):  # beside the package, in the folder that was named
        port(write_fork(tmp_path / "whole/detection").parent, tmp_path / "whole/out")
    with pytest.raises(ForkError, match="no folder"):
        port(fork, tmp_path / "nowhere" / "out")
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("words", [["", "out"], ["fork", ""]])
def test_an_empty_word_is_no_folder(words, tmp_path):
    program = [sys.executable, str(ROOT / "tools/port.py"), *words]
    done = subprocess.run(
        program, cwd=tmp_path, env=dict(os.environ, PYTHONPATH=_path()), capture_output=True, text=True
    )
    assert done.returncode == 2 and "is empty: name a folder" in done.stderr and not os.listdir(tmp_path)


def test_without_libcst(monkeypatch, capsys, tmp_path):
    import maskrcnn_benchmark
    from maskrcnn_benchmark.cli.port import main

    monkeypatch.setattr(maskrcnn_benchmark, "porting", maskrcnn_benchmark.porting)  # as it was, afterwards
    for name in [name for name in sys.modules if name.startswith("maskrcnn_benchmark.porting")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libcst", None)
    monkeypatch.setattr(sys, "argv", ["port", str(tmp_path / "fork"), str(tmp_path / "out")])
    assert main() == 1
    assert "pip install libcst" in capsys.readouterr().err


@pytest.mark.parametrize("lost", [False, True])
def test_an_error_after_ctrl_c_is_ctrl_c(lost, tmp_path, monkeypatch):
    def interrupted(*_):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if not lost:
                raise KeyError("of a library") from None
        return rewriting.Rewritten("")

    monkeypatch.setattr(assembling, "rewrite_file", interrupted)
    fork, before = write_fork(tmp_path / "fork"), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        port(fork, fork / ".." / "out", say=lambda sentence: None)
    assert os.listdir(tmp_path) == ["fork"] and signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_nothing_is_left_of_a_port_that_stops(error, tmp_path, monkeypatch):
    def stop(*_):
        raise error

    monkeypatch.setattr(importing, "import_all", stop)
    fork = write_fork(tmp_path / "fork")
    with pytest.raises(error):
        port(fork, tmp_path / "out", say=lambda sentence: None)
    assert os.listdir(tmp_path) == ["fork"]


def test_the_smallest_configuration_comes_first():
    names = [
        "configs/e2e_mask_rcnn_X_101_FPN.yaml",
        "configs/mine/net_R-50-FPN_1x.yaml",
        "configs/e2e_mask_rcnn_R_101_FPN.yaml",
    ]
    assert min(names, key=trial.size_of) == names[1] and max(names, key=trial.size_of) == names[0]


@pytest.mark.parametrize("tools", [("train_net.py", "test_net.py"), ("train_net.py",), ("test_net.py",)])
@pytest.mark.parametrize("apart", [False, True])
def test_a_check_runs_the_tools_that_are_there(tools, apart, tmp_path, monkeypatch):
    ran = []

    def run(words, out):
        ran.append(" ".join(words[1:3]))
        (tmp_path / "trial/output/model.pth").touch()
        return 0, "loss: 1.5"

    chosen = {"file": "a.yaml", "keys": {}, "catalog": "c.py", "set": "s"}
    monkeypatch.setattr(trial, "_choose", lambda *_: chosen)
    monkeypatch.setattr(trial, "_run", run)
    monkeypatch.setattr(losses, "compare", lambda *_: ("- compared", apart))
    (tmp_path / "out/tools").mkdir(parents=True)
    for tool in tools:
        (tmp_path / "out/tools" / tool).write_text("--skip-test")
    fork = open_fork(write_fork(tmp_path / "fork"), tmp_path / "scratch")
    lines, failed = trial.run(fork, assembling.Assembly(), tmp_path / "out", tmp_path, tmp_path, lambda sentence: None)
    assert failed == apart and lines[-1] == "- compared" and len(ran) == 1 + ("test_net.py" in tools)
    said = [line for line in lines if "the fork has no" in line]
    assert len(said) == 2 - len(tools) and all(tool not in "".join(said) for tool in tools)


def test_settings_have_the_types_of_the_forks_keys(tmp_path):
    keys = {
        "INPUT.MIN_SIZE_TRAIN": [800],
        "INPUT.MAX_SIZE_TRAIN": 1333,
        "DATASETS.SOURCE_TRAIN": ["a"],
        "MODEL.WEIGHT": "x",
        "MODEL.MINE.INFERENCE_TH": 0.05,
        "MODEL.MINE.SCORE_THRESH": 0.05,
    }
    words = trial.settings(keys, tmp_path / "c.py", tmp_path)
    given = dict(zip(words[::2], words[1::2], strict=True))
    expected = {"INPUT.MIN_SIZE_TRAIN": "(128,)", "INPUT.MAX_SIZE_TRAIN": "192", "MODEL.WEIGHT": ""}
    expected |= {"MODEL.MINE.INFERENCE_TH": "1e-06", "MODEL.MINE.SCORE_THRESH": "-1.0"}  # all that is found
    assert given == {**expected, "DATASETS.SOURCE_TRAIN": f"('{trial.TRAIN_SET}',)"}


def test_scenes_are_read_by_pycocotools(tmp_path):
    from pycocotools.coco import COCO

    root, file = trial.make_scenes(tmp_path / "set", images=2, classes=80, seed=0)
    coco = COCO(file)
    assert len(coco.getImgIds()) == 2 and len(coco.getCatIds()) == 80 and max(coco.getCatIds()) == 90
    for annotation in coco.loadAnns(coco.getAnnIds()):
        x, y, width, height = annotation["bbox"]
        mask = coco.annToMask(annotation)
        assert mask.sum() == width * height and mask[y : y + height, x : x + width].all()
    assert all((root / image["file_name"]).is_file() for image in json.loads(file.read_text())["images"])


@pytest.mark.parametrize(
    ("theirs", "differs"),
    [
        ({"a": 1.0, "b": 2.0}, False),
        ({"a": 1.00005, "b": 2.0}, False),
        ({"a": 1.001, "b": 2.0}, True),
        ({"a": 1.0}, True),
    ],
)
def test_losses_beside_the_forks(theirs, differs):
    assert losses.verdict({"a": 1.0, "b": 2.0}, theirs)[1] == differs
    assert losses.verdict({"a": float("nan"), "b": 2.0}, {"a": 1.0, "b": 2.0})[1]


FORKS = os.environ.get("MRB_TEST_FORKS")


@pytest.mark.slow
@pytest.mark.skipif(not FORKS, reason="MRB_TEST_FORKS names no folder of git directories")
def test_public_forks(tmp_path):
    paths = [
        p if (p / "HEAD").is_file() else p.parent for p in sorted(Path(FORKS or "").rglob("*")) if p.name == ".git"
    ]
    paths += [
        p.parent
        for p in sorted(Path(FORKS or "").rglob("HEAD"))
        if (p.parent / "objects").is_dir() and p.parent.name != ".git"
    ]
    assert paths
    broken = {}
    for number, path in enumerate(paths):
        outcome = port(path, tmp_path / str(number), say=lambda sentence: None)
        if outcome.broken:
            broken[str(path)] = outcome.broken
    assert not broken
