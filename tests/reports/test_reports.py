"""Reports of real short runs: what they say is what the files of the run say, and they ask nothing of any other place."""

from __future__ import annotations

import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult
from maskrcnn_benchmark.data.datasets.facts import groundtruth
from maskrcnn_benchmark.engine import reporting
from maskrcnn_benchmark.reports import charts, page, setting, testing, training, worst
from tests.support.helpers import CONFIG, options, write_coco

TOOLS = Path(__file__).parents[2] / "tools"


class Outline(HTMLParser):
    """The tables, headings and addresses of a page; fails on what is not closed."""

    VOID = ("meta", "img", "line", "circle", "polyline", "br", "link", "input")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.images: list[dict] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.addresses += [given[name] for name in ("src", "href") if name in given]
        if tag == "img":
            self.images.append(given)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")
        if tag not in self.VOID or tag == "polyline":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in self.VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if any(tag in self.open for tag in ("td", "th")):
            self.rows[-1][-1] += data
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data


def read(path: Path) -> tuple[str, Outline]:
    text = path.read_text()
    assert len(text) < page.MOST_BYTES
    outline = Outline(text)
    outside = [a for a in outline.addresses if not a.startswith(("data:", "inference/"))]
    assert not outside and not re.search(r"<script|@import|url\(", text)
    return text, outline


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A training of four iterations with a test in between and one at its end."""
    root = tmp_path_factory.mktemp("run")
    write_coco(root, images=6)
    keys = {"SOLVER.MAX_ITER": 4, "SOLVER.LOG_PERIOD": 1, "SOLVER.TEST_PERIOD": 2, "TEST.COCO_AREAS": "coco"}
    words = [
        *options(root),
        *(str(word) for pair in keys.items() for word in pair),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TOOLS.parent)}
    command = [sys.executable, TOOLS / "train_net.py", "--config-file", CONFIG, *words]
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root / "run"


def test_a_training_has_its_report(run):
    text, outline = read(run / "report.html")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    facts = {row[0]: row[1] for row in outline.rows if len(row) == 2}
    assert facts["iterations"].startswith("4 of 4")
    assert facts["loss"] == f"{losses[0]:.4g} at first, {losses[-1]:.4g} at last"
    assert outline.headings[:3] == ["Training run", "Summary", "Curves"]
    for name in (n for n in lines[0] if n.startswith("loss")):
        assert f"<b>{name}</b>" in text
    assert "<b>set/bbox, percent</b>" in text and "<b>learning rate</b>" in text

    # The results and the worst errors of the test after it, as its own report has them, and where that is.
    assert "inference/set/report.html" in outline.addresses and "Test on set, in percent" in outline.headings
    assert "per_class_metrics" not in outline.headings
    test = read(run / "inference" / "set" / "report.html")[1]
    for head in (["AP", "AP50", "AP75"], ["Size of objects", "AP", "AR"], ["Kind of error", "How many"]):
        (place, there) = ([row[: len(head)] for row in o.rows].index(head) for o in (outline, test))
        assert outline.rows[place + 1] == test.rows[there + 1]
    assert outline.images == test.images and len(outline.images) > 0

    # What differs from the defaults, and everything.
    changed = {row[0]: row[1:] for row in outline.rows if len(row) == 3}
    assert changed["SOLVER.MAX_ITER"] == ["4", "40000"] and changed["MODEL.NON_LOCAL.TOP_DOWN.TYPE"][0] == "enl"
    assert "SOLVER.GAMMA" not in changed and "GAMMA: 0.1" in text
    assert "train_net.py" in facts["command"] and "torch" in facts["versions"]


def test_a_test_has_its_report(run):
    text, outline = read(run / "inference" / "set" / "report.html")
    measured = json.loads((run / "inference" / "set" / "metrics.json").read_text())
    for task in ("bbox", "segm"):
        row = outline.rows[[r[:3] for r in outline.rows].index(["AP", "AP50", "AP75"]) + 1]
        assert task != "bbox" or row[0] == (f"{100 * measured[task]['AP']:.2f}" if measured[task]["AP"] >= 0 else "–")
    sizes = [row for row in outline.rows if row[0] in ("small", "medium", "large") and len(row) == 3]
    assert [row[0] for row in sizes[:3]] == ["small", "medium", "large"]
    ap = {"small": "APs", "medium": "APm", "large": "APl"}
    for size, value, _ in sizes[:3]:
        expected = measured["bbox"][ap[size]]
        assert value == (f"{100 * expected:.2f}" if expected >= 0 else "–")
    assert {row[0] for row in outline.rows} >= {"red", "blue", "classification", "missed"}
    assert "Errors" in outline.headings and len(outline.images) > 0
    assert all(image["src"].startswith("data:image/jpeg;base64,") and image["alt"] for image in outline.images)


@pytest.fixture
def dataset(tmp_path) -> COCODataset:
    write_coco(tmp_path, images=6, empty=(2,))
    return COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), False)


def found_exactly(dataset) -> list:
    predictions = []
    for i in range(len(dataset)):
        prediction = groundtruth(dataset, i).copy_with_fields(["labels"])
        prediction.add_field("labels", prediction.get_field("labels").clone())
        prediction.add_field("scores", torch.full((len(prediction),), 0.5))
        predictions.append(prediction)
    return predictions


AREAS = (("s", 0, 32**2), ("m", 32**2, 96**2), ("l", 96**2, 1e10))


def test_errors_are_those_that_were_made(dataset):
    """One object is left out, one is called by the other's name, and one is found where there is nothing."""
    predictions = found_exactly(dataset)
    perfect = worst.worst_errors(dataset, predictions, AREAS)
    assert perfect and "<img" not in perfect
    rows = {row[0]: row[1] for row in Outline(perfect).rows}
    assert {rows[kind] for kind in ("missed", "classification", "background")} == {"0"}
    predictions[0] = predictions[0][1:]
    predictions[5].get_field("labels")[0] = 3 - predictions[5].get_field("labels")[0]
    predictions[5].get_field("scores")[0] = 0.9
    predictions[2] = predictions[0].copy_with_fields(["labels", "scores"])
    outline = Outline(worst.worst_errors(dataset, predictions, AREAS))
    rows = {row[0]: row[1] for row in outline.rows}
    assert (rows["classification"], rows["background"]) == ("1", "1")
    captions = [image["alt"] for image in outline.images]
    assert any(", classification," in text for text in captions) and any("background" in text for text in captions)
    assert sum("missed" in text for text in captions) >= 1


def test_without_something_to_compare_there_is_no_section(dataset, tmp_path):
    predictions = found_exactly(dataset)
    assert worst.worst_errors(dataset, [], AREAS) is None
    content = json.loads((tmp_path / "set.json").read_text())
    del content["annotations"]
    (tmp_path / "bare.json").write_text(json.dumps(content))
    bare = COCODataset(str(tmp_path / "bare.json"), str(tmp_path / "set"), False)
    assert worst.worst_errors(bare, predictions, AREAS) is None
    for prediction in predictions:
        prediction.extra_fields.pop("labels")
    assert worst.worst_errors(dataset, predictions, AREAS) is None


def test_images_that_cannot_be_had_cost_their_crops_alone(dataset, tmp_path, monkeypatch, log):
    predictions = found_exactly(dataset)
    predictions[0], predictions[1] = predictions[0][1:], predictions[1][1:]
    (tmp_path / "set" / "0.jpg").write_bytes(b"broken")
    images = Outline(worst.worst_errors(dataset, predictions, AREAS)).images
    assert [image["alt"].split()[0] for image in images] == ["blue"] and not log.records
    monkeypatch.setattr(worst, "SECONDS", -1.0)
    assert "<img" not in worst.worst_errors(dataset, predictions, AREAS)


def test_a_sample_is_spread_and_bounded(dataset):
    predictions = found_exactly(dataset) * 200
    assert len(worst._sample(predictions)) == worst.SAMPLE
    assert worst._sample(predictions)[-1] > 1100
    crowded = [p[torch.zeros(5000, dtype=torch.long)] for p in predictions[:20] if len(p)]
    assert len(worst._sample(crowded)) == 4


def test_sizes_of_ones_own_and_what_could_not_be_measured():
    values = {"AP": 0.5, "APtiny": 0.25, "APhuge": float("nan"), "ARtiny": 0.75, "AP@300": 0.6, "APtiny@300": 0.3}
    areas = (("tiny", 0, 9.0), ("huge", 9.0, 1e10))
    rows = Outline(testing.metrics(EvaluationResult({"bbox": values}), areas)).rows
    assert rows == [
        ["AP", "AP@300"],
        ["50.00", "60.00"],
        ["Size of objects", "AP", "AR", "AP@300"],
        ["tiny", "25.00", "75.00", "30.00"],
        ["huge", "–", "–", "–"],
    ]
    classes = testing.classes(EvaluationResult(per_class={"bbox": {"a<b": 0.5, "c": -1.0}}))
    assert Outline(classes).rows[1][:2] == ["a<b", "50.00"] and "1 class has no objects" in classes


def test_values_that_are_no_fractions_are_shown_as_they_are(tmp_path):
    result = EvaluationResult({"count": {"mae": 91.5, "bias": -2.0}}, {"count": {"a": -1.5, "b": 2.0, "c": math.nan}})
    outline = Outline(testing.metrics(result, ()))
    assert outline.headings[0] == "Results" and outline.rows == [["mae", "bias"], ["91.5", "-2"]]
    classes = testing.classes(result)
    assert Outline(classes).rows[1:] == [["b", "2"], ["a", "-1.5"]] and "1 class has no objects" in classes
    folder = tmp_path / "inference" / "mine"
    folder.mkdir(parents=True)
    result.write(str(folder))
    (written,) = training.tests_of(str(tmp_path), ())
    assert Outline(written).headings == ["Test on mine", "count"] and Outline(written).rows == outline.rows
    result.fractions = ("count",)
    assert Outline(testing.metrics(result, ())).rows[1] == ["9150.00", "–"]
    charts = training.curves({"test/set/count/mae": ([1, 2], [3.0, 2.0]), "test/set/bbox/AP": ([1, 2], [0.1, 0.2])})
    assert 'aria-label="set/count: mae from 3 to 2"' in charts
    assert 'aria-label="set/bbox, percent: AP from 10 to 20"' in charts


def test_what_users_name_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>\"'&"
    series = {"loss": ([1, 2], [1.0, 2.0]), evil: ([1, 2], [1.0, 2.0]), f"test/{evil}/bbox/AP": ([1], [0.1])}
    path = tmp_path / "x.html"
    cfg = defaults.clone()
    cfg.merge_from_list(["OUTPUT_DIR", f"/{evil}"])
    parts = [training.curves(series), setting.configuration(cfg), page.picture(np.zeros((4, 4, 3), np.uint8), evil)]
    page.write_page(str(path), evil, evil, parts)
    text, outline = read(path)
    assert "<script" not in text and outline.headings[0] == evil and html.escape(evil) in text


def test_a_chart_shows_its_values():
    chart = charts.chart("loss", [("loss", [0, 10, 20], [4.0, 2.0, 0.0])])
    (points,) = re.findall(r'<polyline points="([^"]+)"', chart)
    x, y = np.array([point.split(",") for point in points.split()], float).T
    np.testing.assert_allclose(np.diff(x), [149, 149], atol=0.1)
    np.testing.assert_allclose(np.diff(y), [79, 79], atol=0.1)
    assert 'aria-label="loss: loss from 4 to 0"' in chart
    long = charts.chart("loss", [("loss", range(10_000), np.linspace(3, 1, 10_000))], is_noisy=True)
    assert len(long) < 20_000 and long.count("<polyline") == 2


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 7.9), (0.0001, 0.00017), (1e5, 3e6), (99.5, 100.5)])
def test_ticks_are_round_and_inside(low, high):
    found = charts.ticks(low, high)
    assert 2 <= len(found) <= 6 and low - 1e-9 <= found[0] and found[-1] <= high + 1e-9
    steps = np.diff(found)
    assert np.allclose(steps, steps[0]) and f"{steps[0]:.0e}"[0] in "125"


def test_a_page_that_is_too_large_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="The page would have"):
        page.write_page(str(tmp_path / "x.html"), "x", "", [page.Markup("x" * page.MOST_BYTES)])
    assert not list(tmp_path.iterdir())
    assert len(page.long_text("all", "y" * 10**7)) < 10**6


def test_a_report_that_fails_is_a_warning(tmp_path, log, monkeypatch, dataset):
    cfg = defaults.clone()
    cfg.merge_from_list(["OUTPUT_DIR", str(tmp_path / "run")])
    (tmp_path / "run").mkdir()
    reporting.report_training(cfg)  # nothing was measured, which is said in it
    assert "Nothing was measured" in (tmp_path / "run" / "report.html").read_text()

    def fail(*args: object) -> str:
        raise KeyError("a fork's own")

    monkeypatch.setattr(training, "write_training_report", fail)
    monkeypatch.setattr(testing, "write_test_report", fail)
    log.clear()
    reporting.report_training(cfg)
    reporting.report_test(cfg, "set", str(tmp_path), EvaluationResult(), dataset, [])
    warnings = [record.getMessage() for record in log.records if record.levelname == "WARNING"]
    assert len(warnings) == 2 and "The report of the training could not be written" in warnings[0]

    # Off, on another process, and where there is no result or no folder.
    log.clear()
    reporting.report_test(cfg, "set", None, EvaluationResult(), dataset, [])
    reporting.report_test(cfg, "set", str(tmp_path), None, dataset, [])
    monkeypatch.setattr(reporting.distributed, "is_main_process", lambda: False)
    reporting.report_training(cfg)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").mkdir()
    cfg.REPORT = False
    reporting.report_training(cfg)
    reporting.report_test(cfg, "set", str(tmp_path / "run"), EvaluationResult(), dataset, [])
    assert not list((tmp_path / "run").iterdir()) and not log.records


def test_a_forks_data_set_gets_its_tables(tmp_path, dataset):
    """With upstream's methods alone, and an evaluation that tells no classes."""

    class Theirs:
        def __len__(self) -> int:
            return 6

        def get_img_info(self, index: int) -> dict:
            return dataset.get_img_info(index)

        def get_groundtruth(self, index: int):
            return groundtruth(dataset, index)

    cfg = defaults.clone()
    result = EvaluationResult({"bbox": {"AP": 0.5}})
    path = testing.write_test_report(cfg, "theirs", str(tmp_path), result, Theirs(), found_exactly(dataset))
    _, outline = read(Path(path))
    assert ["50.00"] in outline.rows and "By class, in percent" not in outline.headings and not outline.images


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_everyone_can_read_them(run, scheme, width):
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-playwright-python").Axe()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no chromium on the PATH")
    standards = [f"wcag{version}{level}" for version in ("2", "21", "22") for level in ("a", "aa")]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for path in (run / "report.html", run / "inference" / "set" / "report.html"):
            opened = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
            asked: list[str] = []
            opened.on("request", lambda request, asked=asked: asked.append(request.url))
            opened.goto(path.as_uri())
            opened.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
            options = {"runOnly": [*standards, "best-practice"], "resultTypes": ["violations"]}
            found = axe.run(opened, options=options).response["violations"]
            assert not [(v["id"], v["nodes"][0]["html"][:100]) for v in found]
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
            assert all(url.startswith(("file:", "data:")) for url in asked)
        browser.close()
