"""Every benchmark runs, at sizes so small that its figures mean nothing; and every other program is run by some test."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.support.helpers import write_coco
from tests.support.tiny import write_model

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("bench_*.py"))
PROGRAMS = sorted(
    path.relative_to(ROOT)
    for folder in ("benchmarks", "demo", "tools", "projects")
    for path in (ROOT / folder).rglob("*.py")
    if "__main__" in path.read_text()
)
NUMBER = r"\d+(?:\.\d+)?(?:e[-+]\d+)?"


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """What benchmarks set for their whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture
def bench(run_program):
    def call(name: str, *words: object) -> str:
        code, printed = run_program(ROOT / "benchmarks" / f"bench_{name}.py", *words)
        assert code == 0, printed
        assert f"torch {torch.__version__}" in printed
        return printed

    return call


def rows(printed: str, pattern: str) -> int:
    """Lines that are `pattern`, where # stands for a number."""
    return len(re.findall(f"^{pattern.replace('#', f' *{NUMBER}')} *$", printed, re.MULTILINE))


@pytest.mark.slow
def test_model(bench):
    printed = bench("model", "--models", "faster", "--size", "96x128", "--repeat", 1)
    assert rows(printed, "faster   (inference|training) # # # # #") == 2


@pytest.mark.slow
@pytest.mark.no_cover
def test_cpu_inference(bench, tmp_path):
    table = tmp_path / "table.md"
    has_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # else it is emulated, which takes minutes
    words = ("--size", "96x128", "--repeat", 1, "--compile", "none", "--markdown", table)
    words = words if has_bfloat16 else (*words, "--float32")
    printed = bench("cpu_inference", *words)
    assert rows(printed, r"\| torchvision, plain \|# \|# \|# \|  \|  \|") == 1
    assert (
        rows(printed, r"\| (this package, plain|folded|folded, bfloat16) \|# \|# \|# \|# \|#,# \|") == 2 + has_bfloat16
    )
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnxscript"):
        assert rows(printed, r"\| ONNX Runtime \|# \|# \|# \|  \|  \|") == 1
    assert table.read_text().strip() == printed.strip()


@pytest.mark.slow
@pytest.mark.no_cover
def test_first_result(bench):
    printed = bench("first_result", "--size", "128x96", "--repeat", 1)
    assert rows(printed, r"\| (import torch.*|torchvision, .*|mrb predict, .*) \|# \|") == 5


def test_non_local_scaling(bench, tmp_path):
    plot = tmp_path / "plot.png"
    pytest.importorskip("matplotlib")
    printed = bench("non_local", "scaling", "--sides", 6, 8, 10, "--budget", 0.001, "--plot", plot)
    assert rows(printed, r"\| E?NL(, literal|, attention)? \|# \|# \|# \|# \|# \|# \|") == 12
    assert plot.stat().st_size > 10_000


def test_non_local_maps(bench):
    printed = bench("non_local", "maps", "--repeat", 1, "--divide", 10)
    assert rows(printed, r"\| \d+ x \d+ \| (inference|training) \|# \|# \|# \|# \|# \|# \|# \|# \|# \|") == 4
    assert rows(printed, r"\| 10 x 13 \| (inference|training) \|# \|  \|  \|# \|# \|  \|  \|# \|# \|") == 2


@pytest.mark.slow
def test_non_local_model(bench):
    printed = bench("non_local", "model", "--repeat", 1, "--size", "96x128")
    assert rows(printed, r"\| (inference|training step) \|# \|# \|# \|# \|# % \|") == 2


def test_ops(bench):
    printed = bench("ops", "--repeat", 1, "--divide", 10)
    assert rows(printed, r"[a-z_]+ .{10,36} # # # #") == 28


@pytest.mark.slow
@pytest.mark.no_cover
def test_export(bench, tmp_path):
    pytest.importorskip("onnxruntime")
    config, weights = write_model(tmp_path, INPUT__MIN_SIZE_TEST=96)
    table = tmp_path / "table.md"
    words = ("--config-file", config, "--ckpt", weights, "--forms", "program", "--repeat", 1, "--markdown", table)
    printed = bench("export", *words)
    assert rows(printed, r"\| (plain \(batch norms folded\)|torch.export program) \|# \|# \|# \|# px \|# \|") == 2
    assert table.read_text().strip() == printed[printed.index("| detector") :].strip()


def test_loader(bench, tmp_path, monkeypatch):
    write_coco(tmp_path, "train2017", images=8)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017.json").rename(tmp_path / "annotations" / "instances_train2017.json")
    monkeypatch.setenv("MRB_TEST_COCO", str(tmp_path))
    printed = bench("loader", "--turns", 1, "--images", 8)
    assert rows(printed, r"\| [a-z, ]+ \|# \|") == 8
    assert rows(printed, "ratio#") == 1 and len(re.findall("images a second and core", printed)) == 2


def test_tiles(bench, tmp_path):
    printed = bench("tiles", "merge", "--counts", 20, 50, "--sets", 2, "--boxes", 30)
    assert rows(printed, r"\| \d+ \|# \|# \|# \|") == 2
    for line in re.findall(r"is (?:SAHI|supervision)'s in (\d+ of \d+)", printed):
        assert line == "2 of 2"
    config, weights = write_model(tmp_path, INPUT__TILES__SIZE=64)
    words = ("--config-file", config, "--ckpt", weights, "--size", "150x100", "--batch", 2)
    printed = bench("tiles", "--repeat", 1, "network", *words)
    assert rows(printed, "(batched|tile by tile):# s") == 2 and rows(printed, "ratio#") == 1


def test_small_objects(bench, tmp_path, monkeypatch):
    config, weights = write_model(tmp_path, MODEL__MASK_ON=False)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (90, 60), (90, 90, 90)).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.3 0.3\n")
    (tmp_path / "val.txt").write_text("images/a.png\n")
    monkeypatch.setenv("MRB_AERIAL_CARS", str(tmp_path))
    files = ("--config-file", config, "--ckpt", weights)
    printed = bench("small_objects", "table", *files, "--ways", "as configured", "merged by SAHI's greedy IoS")
    assert len(re.findall(r"^\| (?:as configured|merged .*) \|(?: +(?:nan|[\d.]+) \|){8}$", printed, re.MULTILINE)) == 2
    printed = bench("small_objects", "mosaic", *files, "--copies", 2, "--out", tmp_path / "mosaic")
    assert "180 x 60 pixels, 2 vehicles" in printed
    assert rows(printed, r"\| (limits of the configuration|suggested for it) \|# \|# \|# \|# \|# \|") == 2


@pytest.mark.slow
def test_annotations(bench, tmp_path):
    words = ("--folder", tmp_path, "--images", 30, "--repeat", 1, "--workers", 1)
    printed = bench("annotations", *words, "--ranks")
    assert rows(printed, "build, (without|making|with) the kept index:# s, peak# MB") == 3
    content = json.loads((tmp_path / "set_30.json").read_text())
    assert len(content["images"]) == 30 and len(content["annotations"]) > 60


def test_every_benchmark_is_above():
    own = Path(__file__).read_text()
    assert [name for name in BENCHMARKS if f'bench("{name.removeprefix("bench_")}"' not in own] == []


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.parts[0] != "benchmarks"], ids=str)
def test_every_program_is_named_by_a_test(program):
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    assert re.search(rf"""["/]{program.stem}(\.py)?["']""", tests), f"No test runs {program}."
