"""The page of `mrb web` in a real browser: what a user does with a mouse and with keys, what is saved, and who can read it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from maskrcnn_benchmark.analysis.context import without_context
from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.engine import Predictor
from tests.demo.test_web import IMAGE, PNG
from tests.support.tiny import write_model

pytest.importorskip("fastapi", reason="the web page needs FastAPI: the extra 'web'")
uvicorn = pytest.importorskip("uvicorn", reason="the web page needs uvicorn: the extra 'web'")
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
expect = playwright.expect

from maskrcnn_benchmark.web.answers import FLOOR  # noqa: E402  # it needs FastAPI
from maskrcnn_benchmark.web.app import create_app  # noqa: E402

pytestmark = pytest.mark.slow
OTHER = np.random.default_rng(1).integers(0, 256, (70, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory) -> dict[str, Predictor]:
    """One with ENL, which finds both classes in noise, and one without."""
    folder = tmp_path_factory.mktemp("plain")
    plain = write_model(folder, labels=False, MODEL__NON_LOCAL__TOP_DOWN__TYPE="")
    enl = Predictor(*tiny)
    scores = enl.model.roi_heads.box.predictor.cls_score
    scores.weight.data.normal_(0, 0.02, generator=torch.Generator().manual_seed(0))
    scores.bias.data[2] = -6
    return {"enl": enl, "plain": Predictor(*plain)}


@pytest.fixture(scope="module")
def address(models) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(models), log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two images, one that no browser decodes, a video of 3 seconds, and a text."""
    path = tmp_path_factory.mktemp("files")
    (path / "image.png").write_bytes(PNG)
    cv2.imwrite(str(path / "other.png"), OTHER)
    cv2.imwrite(str(path / "grey.tiff"), np.full((50, 60), 30000, np.uint16))
    (path / "notes.txt").write_text("no picture")
    (path / "broken.mp4").write_bytes(b"no video")
    red = np.full((240, 320, 3), 120, np.uint8)
    red[60:180, 80:240] = (0, 0, 255)
    frame = cv2.imencode(".jpg", red, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    (path / "camera.mjpeg").write_bytes(frame * 10)
    video = cv2.VideoWriter(str(path / "clip.webm"), cv2.VideoWriter_fourcc(*"VP80"), 10, (320, 240))
    for _ in range(30):
        video.write(red)
    video.release()
    return path


@pytest.fixture(scope="module")
def browser(folder):
    """Chromium whose camera shows a red rectangle on grey, 320 x 240."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no chromium on the PATH")
    flags = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags.append(f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()


@pytest.fixture
def open_page(browser, address) -> Iterator[Any]:
    """A page; when it is closed it must have asked nobody else, and no script may have failed."""
    opened = []

    def call(**options: Any) -> Any:
        page = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options}).new_page()
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and page.errors.append(line.text))
        opened.append(page)
        page.goto(address)
        expect(page.locator("#model option")).to_have_text(["enl", "plain"])
        return page

    yield call
    for page in opened:
        hosts = {url.split("/")[2] for url in page.asked if not url.startswith(("data:", "blob:"))}
        assert hosts == {address.split("/")[2]}
        # A request that is answered with a sentence is an error to the console too.
        assert not [error for error in page.errors if "the server responded with a status of 4" not in error]
        page.context.close()


@pytest.fixture
def page(open_page, folder):
    """With two images, the first of them shown."""
    page = open_page()
    page.set_input_files("#file", [str(folder / "image.png"), str(folder / "other.png")])
    expect(page.locator("#position")).to_have_text("1 of 2: image.png")
    expect(page.locator("#strip button")).to_have_count(2)
    expect(page.locator("#status")).to_contain_text("90 × 60 pixels", timeout=20_000)
    expect(page.locator("#stop")).to_be_hidden(timeout=20_000)
    return page


def set_threshold(page, value: float) -> None:
    page.locator("#threshold").fill(f"{value:.2f}")


def found_in(image: np.ndarray, models, threshold: float, context: bool = True) -> list[dict]:
    predictor = models["enl"]
    predictor.threshold = threshold
    if context:
        return predictor.coco(predictor(image))
    with without_context(predictor.model):
        return predictor.coco(predictor(image))


def saved(page, name: str) -> tuple[str, bytes]:
    with page.expect_download() as info:
        page.locator(f"#{name}").click()
    return info.value.suggested_filename, Path(info.value.path()).read_bytes()


def test_filters_act_without_a_request(page, models):
    rows, asked = page.locator("#detections li"), len(page.asked)
    every = found_in(IMAGE, models, FLOOR)
    for threshold in (0.05, 0.35, 0.85):
        set_threshold(page, threshold)
        expect(rows).to_have_count(min(sum(d["score"] >= threshold for d in every), 100))
    set_threshold(page, 0.05)
    names = {1: "red", 2: "blue"}
    category = every[0]["category_id"]
    assert {d["category_id"] for d in every} == set(names)
    scores = [d["score"] for d in every if d["category_id"] == category]
    page.get_by_label(f"Least score of {names[category]}").fill("0.4")
    others = len(every) - len(scores)
    expect(rows).to_have_count(others + sum(score >= 0.4 for score in scores))
    page.locator("#classes").get_by_role("checkbox", name=names[category]).uncheck()
    expect(rows).to_have_count(others)
    page.locator("#no-class").click()
    expect(rows).to_have_count(0)
    page.locator("#all-classes").click()
    assert len(page.asked) == asked


def test_what_is_drawn_is_what_was_found(page, models):
    """The canvas has ink around the best object's box, and none with all filtered away."""
    best = found_in(IMAGE, models, FLOOR)[0]
    ink = """() => {
      const canvas = document.querySelector("#pane-on canvas");
      const { width, height } = canvas;
      const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      let [left, top, right, bottom, count] = [width, height, -1, -1, 0];
      for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
        if (!data[4 * (y * width + x) + 3]) continue;
        [left, top] = [Math.min(left, x), Math.min(top, y)];
        [right, bottom, count] = [Math.max(right, x), Math.max(bottom, y), count + 1];
      }
      return { width, height, left, top, right, bottom, count };
    }"""
    page.locator("#names").uncheck()
    page.locator("#masks").uncheck()
    set_threshold(page, best["score"] - 0.005)
    rows = page.locator("#detections li")
    if rows.count() > 1:
        pytest.skip("two detections have the same score")
    found = page.evaluate(ink)
    scale = min(found["width"] / 90, found["height"] / 60)
    x, y, w, h = best["bbox"]
    left, top = (found["width"] - 90 * scale) / 2 + x * scale, (found["height"] - 60 * scale) / 2 + y * scale
    expected = (left, top, left + w * scale, top + h * scale)
    limits = (found["width"], found["height"]) * 2
    for name, value, limit in zip(("left", "top", "right", "bottom"), expected, limits, strict=True):
        assert abs(found[name] - np.clip(value, 0, limit - 1)) < 8, name
    set_threshold(page, 1)
    assert page.evaluate(ink)["count"] == 0


def test_keys_do_what_the_mouse_does(page):
    position, status = page.locator("#position"), page.locator("#status")
    page.keyboard.press("ArrowRight")
    expect(position).to_have_text("2 of 2: other.png")
    expect(status).to_contain_text("80 × 70 pixels")
    page.keyboard.press("Home")
    expect(position).to_have_text("1 of 2: image.png")
    page.keyboard.press("End")
    expect(position).to_have_text("2 of 2: other.png")
    page.keyboard.press("]")
    expect(page.locator("#threshold-value")).to_have_text("0.55")
    page.keyboard.press("m")
    expect(page.locator("#masks")).not_to_be_checked()
    width = "() => document.querySelector('#pane-on img').getBoundingClientRect().width"
    before = page.evaluate(width)
    page.keyboard.press("+")
    assert page.evaluate(width) == pytest.approx(1.5 * before, rel=0.01)
    left = "() => document.querySelector('#pane-on img').getBoundingClientRect().left"
    at = page.evaluate(left)
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    assert page.evaluate(left) < at
    page.keyboard.press("0")
    assert page.evaluate(width) == pytest.approx(before, rel=0.01)
    page.keyboard.press("c")
    expect(page.locator("#panels img")).to_have_count(3, timeout=20_000)
    expect(status).to_contain_text("Pixel 40, 35")

    # In a slider arrows move it; with single keys switched off, only those of more letters act.
    page.locator("#threshold").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#threshold-value")).to_have_text("0.54")
    expect(position).to_have_text("2 of 2: other.png")
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.locator("#single-keys").uncheck()
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    page.locator("#threshold").evaluate("e => e.blur()")
    page.keyboard.press("]")
    expect(page.locator("#threshold-value")).to_have_text("0.54")
    page.keyboard.press("Delete")
    expect(position).to_have_text("1 of 1: image.png")


def test_every_control_is_reached_by_tab_and_shows_it(page):
    wanted = set(
        page.evaluate(
            """() => [...document.querySelectorAll("main button, main select, main input")]
              .filter((e) => e.checkVisibility() && !e.disabled).map((e, i) => (e.dataset.number = i, String(i)))"""
        )
    )
    reached, unseen = set(), []
    page.locator("#help").focus()
    for _ in range(len(wanted) + 20):
        page.keyboard.press("Tab")
        number, seen = page.evaluate(
            """() => {
              const e = document.activeElement;
              const shown = e.id === "file" ? document.querySelector("label[for=file]") : e;
              return [e.dataset.number || "", parseFloat(getComputedStyle(shown).outlineWidth) >= 2];
            }"""
        )
        reached.add(number)
        if not seen and number:
            unseen.append(number)
    assert wanted <= reached and not unseen


def test_context_on_and_off(page, models):
    set_threshold(page, 0.3)
    rows = page.locator("#detections li")
    on, off = (found_in(IMAGE, models, 0.3, context) for context in (True, False))
    expect(rows).to_have_count(len(on))
    page.locator("#mode").select_option("off")
    expect(page.locator("#status")).to_contain_text("90 × 60 pixels", timeout=20_000)
    expect(rows).to_have_count(len(off), timeout=20_000)
    expect(page.locator("#pane-on")).to_be_hidden()
    page.keyboard.press("x")  # where a select has the focus, keys are its own
    page.locator("h1").click()
    page.keyboard.press("x")
    expect(page.locator("#pane-off")).to_be_visible()
    expect(page.locator("#pane-on")).to_be_visible()
    expect(page.locator("#count")).to_contain_text(f"{len(on)} detections")

    # Both show the same part of the image.
    page.keyboard.press("+")
    boxes = [page.locator(f"#pane-{variant} img").bounding_box() for variant in ("on", "off")]
    assert boxes[0]["width"] == boxes[1]["width"] and boxes[0]["y"] == boxes[1]["y"]
    name, content = saved(page, "png")
    both = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert name == "image.png" and both.shape[:2] == (60 * 8, 2 * 90 * 8 + 8)

    # A model without modules has nothing to switch.
    page.locator("#model").select_option("plain")
    expect(page.locator("#mode-label")).to_be_hidden()
    expect(page.locator("#pane-off")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("90 × 60 pixels", timeout=20_000)
    assert "Click a pixel" not in page.locator("#status").inner_text()


def test_downloads_hold_what_is_shown(page, models, tmp_path):
    set_threshold(page, 0.3)
    name, content = saved(page, "coco")
    one = json.loads(content)
    expected = found_in(IMAGE, models, 0.3)
    assert name == "detections.json" and [i["file_name"] for i in one["images"]] == ["image.png"]
    assert [a["category_id"] for a in one["annotations"]] == [d["category_id"] for d in expected]
    np.testing.assert_allclose(
        [a["bbox"] for a in one["annotations"]], [d["bbox"] for d in expected], rtol=0, atol=1e-3
    )

    # All images; the package reads both forms, and they agree.
    page.locator("#scope").select_option("all")
    (tmp_path / "set.json").write_bytes(saved(page, "coco")[1])
    whole = json.loads((tmp_path / "set.json").read_text())
    counts = [sum(a["image_id"] == i["id"] for a in whole["annotations"]) for i in whole["images"]]
    assert counts == [len(expected), len(found_in(OTHER, models, 0.3))]
    name, content = saved(page, "yolo")
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None and name == "yolo.zip"
    assert sorted(archive.namelist()) == ["classes.txt", "labels/image.txt", "labels/other.txt"]
    archive.extractall(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "image.png").write_bytes(PNG)
    cv2.imwrite(str(tmp_path / "images" / "other.png"), OTHER)
    read = formats.read(str(tmp_path), "yolo")
    assert [c["name"] for c in read.categories] == ["red", "blue"]
    boxes = {i["id"]: i["file_name"] for i in read.images}
    names = {i["id"]: i["file_name"] for i in whole["images"]}
    from_coco, from_yolo = (
        {name: np.array([a["bbox"] for a in of if Path(named[a["image_id"]]).name == name]) for name in names.values()}
        for of, named in ((whole["annotations"], names), (read.annotations, boxes))
    )
    for name, expected_boxes in from_coco.items():
        assert len(from_yolo[name]) == len(expected_boxes) > 0
        away = np.abs(expected_boxes[:, None] - from_yolo[name]).max(axis=2)
        assert away.min(axis=0).max() < 0.6 and away.min(axis=1).max() < 0.6  # cut at the image's edge when read

    # Pictures: one, and all.
    name, content = saved(page, "png")
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert name == "pictures.zip" and archive.namelist() == ["image.png", "other.png"]
    drawn = cv2.imdecode(np.frombuffer(archive.read("image.png"), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (480, 720, 3)
    set_threshold(page, 1)
    page.locator("#scope").select_option("one")
    plain = cv2.imdecode(np.frombuffer(saved(page, "png")[1], np.uint8), cv2.IMREAD_COLOR)
    enlarged = cv2.resize(IMAGE, (720, 480), interpolation=cv2.INTER_LINEAR)
    assert np.abs(plain.astype(int) - enlarged).mean() < 6 and (plain != drawn).any()


def test_a_file_that_only_the_server_reads(open_page, folder):
    page = open_page()
    page.set_input_files("#file", str(folder / "grey.tiff"))
    expect(page.locator("#status")).to_contain_text("60 × 50 pixels", timeout=20_000)
    assert page.locator("#pane-on img").get_attribute("src").startswith("data:image/jpeg")
    level = cv2.imdecode(
        np.frombuffer(base64.b64decode(page.locator("#pane-on img").get_attribute("src").partition(",")[2]), np.uint8),
        cv2.IMREAD_GRAYSCALE,
    )
    assert level.shape == (50, 60)


def test_a_video_becomes_frames(open_page, folder):
    page = open_page()
    page.locator("#frames").select_option("8")
    page.set_input_files("#file", str(folder / "clip.webm"))
    status = page.locator("#status")
    expect(status).to_contain_text("8 frames of clip.webm, 3.0 s long: one each 0.38 s.", timeout=30_000)
    expect(page.locator("#strip button")).to_have_count(8)
    expect(page.locator("#position")).to_have_text("1 of 8: clip_0.19s.jpg")
    page.keyboard.press("End")
    expect(status).to_contain_text("320 × 240 pixels", timeout=20_000)


def test_tiles_are_looked_at_and_counted(page, models):
    set_threshold(page, 0.05)
    page.locator("#tiles").evaluate("e => e.append(new Option('8 pixels', '8'))")
    words: list[str] = []
    page.expose_function("note", lambda text: words.append(text))
    page.evaluate(
        """() => {
          const status = document.getElementById("status");
          new MutationObserver(() => note(status.textContent)).observe(status, { childList: true, subtree: true });
        }"""
    )
    page.locator("#tiles").select_option("8")
    expect(page.locator("#scale-label")).to_be_visible()
    expect(page.locator("#stop")).to_be_hidden(timeout=60_000)
    expect(page.locator("#status")).to_contain_text("90 × 60 pixels")
    assert any(re.search(r"tile \d+ of 1\d\d", text) for text in words), words
    assert page.locator("#detections li").count() == 100  # listed; more are drawn
    expect(page.locator("#more")).to_contain_text("more detection")


def test_a_stop_leaves_the_rest_for_later(page):
    page.locator("#tiles").evaluate("e => e.append(new Option('16 pixels', '16'))")
    page.locator("#tiles").select_option("16")
    page.locator("#stop").click()
    expect(page.locator("#status")).to_have_text("image.png: Stopped; choose the image again to detect in it.")
    page.locator("#tiles").select_option("0")
    expect(page.locator("#status")).to_contain_text("90 × 60 pixels", timeout=20_000)


def test_a_pixels_context(page):
    box = page.locator("#pane-on img").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.505, box["y"] + box["height"] * 0.258)
    expect(page.locator("#panels figcaption b")).to_have_text(
        ["By appearance", "By position", "Together"], timeout=20_000
    )
    expect(page.locator("#status")).to_contain_text("Pixel 45, 15:")
    page.get_by_role("tab", name="fpn.non_local_res3").focus()
    page.keyboard.press("ArrowRight")
    chosen = page.get_by_role("tab", name="fpn.non_local_res4")
    expect(chosen).to_have_attribute("aria-selected", "true", timeout=20_000)
    expect(chosen).to_be_focused()
    mark = page.locator("#pane-on .mark").bounding_box()
    assert mark["x"] + mark["width"] / 2 == pytest.approx(box["x"] + box["width"] * 0.505, abs=2)


def test_the_camera(open_page):
    """Its frames are detected in; a click holds the one that is shown."""
    page = open_page()
    page.locator("#camera").click()
    expect(page.locator("#status")).to_contain_text("frames/s", timeout=20_000)
    time.sleep(0.5)
    box = page.locator("#pane-on img").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(320 / 240, rel=0.02)
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    expect(page.locator("#camera")).to_have_text("Start the camera")
    expect(page.locator("#panels img")).to_have_count(3, timeout=20_000)
    colours = page.evaluate(
        """() => {
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [320, 240];
          const context = canvas.getContext("2d");
          context.drawImage(document.querySelector("#pane-on img"), 0, 0);
          return [[160, 120], [20, 120]].map(([x, y]) => [...context.getImageData(x, y, 1, 1).data]);
        }"""
    )
    assert colours[0][0] > 180 and max(colours[0][1:3]) < 80
    assert np.abs(np.array(colours[1][:3]) - 120).max() < 25


def test_what_cannot_be_used_gets_a_sentence(open_page, folder):
    page = open_page()
    status = page.locator("#status")
    page.set_input_files("#file", str(folder / "notes.txt"))
    expect(status).to_contain_text("cannot be read", timeout=20_000)
    expect(status).to_have_class("error")
    page.set_input_files("#file", str(folder / "broken.mp4"))
    expect(status).to_contain_text("The browser cannot play broken.mp4. Convert it", timeout=30_000)
    page.locator("#coco").evaluate("e => e.click()")
    expect(status).to_contain_text("There are no detections to download yet.")


def test_an_image_that_failed_does_not_show_another(page, folder):
    page.set_input_files("#file", str(folder / "notes.txt"))
    expect(page.locator("#status")).to_contain_text("cannot be read", timeout=20_000)
    pane = page.locator("#pane-on")
    expect(pane.locator(".nothing")).to_have_text("No image to show: notes.txt failed.")
    assert pane.locator("img").get_attribute("src") is None
    drawn = "e => e.getContext('2d').getImageData(0, 0, e.width, e.height).data.some((v) => v > 0)"
    assert not pane.locator("canvas").evaluate(drawn)
    page.keyboard.press("Home")
    expect(pane.locator(".nothing")).to_be_hidden()
    assert pane.locator("img").get_attribute("src") and pane.locator("canvas").evaluate(drawn)


def test_captions_do_not_overlap(open_page):
    page = open_page()
    boxes = [{"x": x, "y": y, "w": 30, "h": 30} for y in range(60, 500, 90) for x in range(20, 700, 110)]
    places = page.evaluate(
        """async (boxes) => (await import("/page/draw.js"))
          .placeCaptions(boxes, boxes.map(() => ({ w: 90, h: 18 })), 800, 600)""",
        boxes,
    )
    assert all(places)
    covered = np.zeros((600, 800), int)
    for place in places:
        covered[int(place["y"]) : int(place["y"]) + 18, int(place["x"]) : int(place["x"]) + 90] += 1
    assert covered.max() == 1
    for box in boxes:
        assert not covered[box["y"] : box["y"] + 30, box["x"] : box["x"] + 30].any()


def test_the_theme_is_remembered(open_page):
    page = open_page(color_scheme="dark")
    background = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.locator("#theme").select_option("light")
    light = page.evaluate(background)
    assert light != dark
    page.reload()
    assert page.evaluate(background) == light and page.locator("#theme").input_value() == "light"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_everyone_can_read_it(open_page, folder, scheme, width):
    """axe-core finds nothing: contrast and names of WCAG 2.2 AA; nothing is wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-playwright-python").Axe()
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    standards = [f"wcag{version}{level}" for version in ("2", "21", "22") for level in ("a", "aa")]
    options = {"runOnly": [*standards, "best-practice"], "resultTypes": ["violations"]}

    def check(state: str) -> None:
        found = axe.run(page, options=options).response
        said = [
            (v["id"], n["html"][:100], n.get("failureSummary", "")[:300])
            for v in found["violations"]
            for n in v["nodes"]
        ]
        assert not said, (state, said)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, state

    check("empty")
    page.set_input_files("#file", [str(folder / name) for name in ("image.png", "other.png", "notes.txt")])
    expect(page.locator("#status")).to_contain_text("90 × 60 pixels", timeout=20_000)
    expect(page.locator("#stop")).to_be_hidden(timeout=20_000)
    set_threshold(page, 0.05)
    page.locator("#mode").select_option("both")
    page.locator("#here").click()
    expect(page.locator("#panels img")).to_have_count(3, timeout=20_000)
    check("compared, with the context of a pixel")
    page.keyboard.press("End")
    page.locator("h1").click()
    page.keyboard.press("End")
    expect(page.locator("#status")).to_have_class("error")
    check("an error")
    page.locator("#help").click()
    check("the dialog")
