"""tools/analyze_model.py and the sizes of images that it takes."""

from __future__ import annotations

import json

import pytest

from maskrcnn_benchmark.analysis import sizes
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.modeling.registries import ROI_HEADS
from tests.analysis.helpers import CONFIGS, DEMO, call_tool
from tests.extending.test_head import TwoBranches
from tests.support.helpers import write_coco

TOOL = "tools/analyze_model.py"


@pytest.fixture(autouse=True)
def fresh_configuration(monkeypatch):
    """The command line changes the package's own configuration."""
    monkeypatch.setattr("maskrcnn_benchmark.cli.analyze.cfg", cfg.clone())


def test_whole_analysis(tmp_path, monkeypatch, capsys):
    out = tmp_path / "costs.json"
    assert call_tool(monkeypatch, TOOL, "--config-file", DEMO, "--size", "120x160", "--repeat", 2, "--json", out) == 0
    printed = capsys.readouterr().out
    content = json.loads(out.read_text())
    modules = {module["name"]: module for module in content["modules"]}
    assert modules[""]["parameters"] == 13_955_421  # sum of the state dict's shapes, without buffers
    assert modules[""]["flops"] == pytest.approx(
        modules["backbone"]["flops"] + modules["rpn"]["flops"] + modules["roi_heads"]["flops"]
    )
    assert "13,955,421" in printed and f"{modules['']['flops'] / 2e9:.3f}" in printed
    assert content["sizes"] == [{"size": [240, 320], "flops": modules[""]["flops"]}]  # resized as INPUT says
    measured = content["measured"]
    assert len(measured["seconds"]) == 2 and measured["peak_bytes"] > measured["weight_bytes"] > 4 * 13_955_421
    assert "median of 2 runs" in printed and "non_local_res3" in printed and "theta" not in printed


def test_depth_and_shapes_alone(monkeypatch, capsys):
    config = CONFIGS / "rpn_R_50_FPN_1x.yaml"
    words = ("--repeat", 0, "--depth", 1, "--size", "480x640", "--size", "500x500", "--padded")
    assert call_tool(monkeypatch, TOOL, "--config-file", config, *words, "INPUT.MIN_SIZE_TEST", 400) == 0
    printed = capsys.readouterr().out
    assert "416 x 544: " in printed and "416 x 416: " in printed
    assert "latency" not in printed and "\n  rpn " in printed and "head" not in printed.split("\n\n")[1]


def test_a_head_of_ones_own(monkeypatch, capsys):
    monkeypatch.setitem(ROI_HEADS, "TwoBranches", TwoBranches)
    words = ("--size", "120x160", "--repeat", 1, "MODEL.ROI_BOX_HEAD.NAME", "TwoBranches", "MODEL.MASK_ON", False)
    assert call_tool(monkeypatch, TOOL, "--config-file", DEMO, *words) == 0
    printed = capsys.readouterr().out
    assert "roi_heads.box (TwoBranches) is counted as a whole" in printed and "latency" in printed


def test_images_of_a_data_set(tmp_path, monkeypatch, capsys):
    write_coco(tmp_path, images=3)
    named = ("DATASETS.DEFINITIONS.mine.IMG_DIR", tmp_path, "DATASETS.DEFINITIONS.mine.ANN_FILE", tmp_path / "set.json")
    words = ("--config-file", DEMO, "--repeat", 0)
    assert call_tool(monkeypatch, TOOL, *words, "--dataset", "mine", *named) == 0
    by_name = capsys.readouterr().out
    assert "the 3 images of mine" in by_name and "256 x 320: " in by_name and "256 x 256: " in by_name
    monkeypatch.setattr("maskrcnn_benchmark.cli.analyze.cfg", cfg.clone())
    assert call_tool(monkeypatch, TOOL, *words, "--ann-file", tmp_path / "set.json") == 0
    assert capsys.readouterr().out.split("\n", 1)[1] == by_name.split("\n", 1)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--config-file", "none.yaml"), "There is no configuration file 'none.yaml'"),
        (
            ("--config-file", DEMO, "--size", "800"),
            "An image size is written HEIGHTxWIDTH, such as 800x1120; got ['800']",
        ),
        (("--config-file", DEMO, "--size", "0x10"), "got ['0', '10']"),
        (("--config-file", DEMO, "--size", "10x1000001"), "got ['10', '1000001']"),
        (("--config-file", DEMO, "--size", "8x8", "--dataset", "mine"), "Give the images once"),
        (("--config-file", DEMO, "--dataset", "mine"), "There is no data set 'mine'"),
        (("--config-file", DEMO, "--sizes", DEMO), "is not a JSON file"),
        (
            ("--config-file", DEMO, "MODEL.NON_LOCAL.TOP_DOWN.TYPE", "all"),
            "'all' is not one of enl, linear_attention, nl, nl_dot",
        ),
    ],
)
def test_mistakes_end_in_one_sentence(words, said, monkeypatch, capsys):
    assert call_tool(monkeypatch, TOOL, *words) == 1
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and "Traceback" not in error


@pytest.mark.parametrize(
    ("content", "read", "said"),
    [
        ({"sizes": []}, sizes.read_sizes, "holds no image sizes"),
        ({"images": [[1, 2]]}, sizes.read_sizes, "holds no image sizes"),
        ({"sizes": [[480, 640], [480]]}, sizes.read_sizes, r"got \[480\]"),
        ([[480, "wide"]], sizes.read_sizes, r"got \[480, 'wide'\]"),
        ({"sizes": [[1, 2]]}, sizes.read_annotation_sizes, "not in COCO format"),
        ({"images": [{"height": 3}]}, sizes.read_annotation_sizes, r"got \[3, None\]"),
        ({"images": ["a.jpg"]}, sizes.read_annotation_sizes, "got 'a.jpg'"),
    ],
)
def test_files_of_sizes(content, read, said, tmp_path):
    path = tmp_path / "sizes.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said):
        read(str(path))


def test_typical_size():
    assert sizes.typical([(10, 10), (20, 20), (16, 16), (10, 10)]) == (16, 16)  # of a mean area of 214
