"""`mrb web` and demo/web.py: their answers, and the page in a real browser with a camera that plays a file."""

import asyncio
import base64
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from maskrcnn_benchmark.analysis.context import context_weights
from maskrcnn_benchmark.engine import Predictor, predictor_options
from tests.support.tiny import write_model

pytest.importorskip("fastapi", reason="the web page needs FastAPI: the extra 'web'")
pytest.importorskip("uvicorn", reason="the web page needs uvicorn: the extra 'web'")

from maskrcnn_benchmark.web import app as web_app  # noqa: E402  # it needs FastAPI

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
PNG = cv2.imencode(".png", IMAGE)[1].tobytes()


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory) -> dict[str, Predictor]:
    """One with ENL, one without."""
    folder = tmp_path_factory.mktemp("plain")
    return {
        "enl": Predictor(*tiny),
        "plain": Predictor(*write_model(folder, labels=False, MODEL__NON_LOCAL__TOP_DOWN__TYPE="")),
    }


@pytest.fixture
def app(models):
    return web_app.create_app(models)


@pytest.fixture
def client(app):
    testclient = pytest.importorskip("fastapi.testclient", reason="the test client needs httpx")
    return testclient.TestClient(app, base_url="http://127.0.0.1")


def decoded(url: str) -> np.ndarray:
    assert url.startswith("data:image/jpeg;base64,")
    return cv2.imdecode(np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)


def test_the_models_to_choose_from(client):
    enl, plain = client.get("/api/models").json()
    assert enl["name"] == "enl" and enl["classes"] == ["red", "blue"]
    assert enl["modules"] == ["fpn.non_local_res3", "fpn.non_local_res4", "fpn.non_local_res5"]
    assert plain["modules"] == [] and plain["classes"] == ["class 1", "class 2"]


def test_detections_are_the_predictors(client, tiny):
    answer = client.post("/api/detect", params={"model": "enl", "threshold": 0.3}, content=PNG).json()
    predictor = Predictor(*tiny, threshold=0.3)
    expected = predictor(IMAGE)
    assert len(expected) > 0 and (answer["width"], answer["height"]) == (90, 60)
    assert [d["bbox"] for d in answer["detections"]] == [entry["bbox"] for entry in predictor.coco(expected)]
    assert {d["name"] for d in answer["detections"]} <= {"red", "blue"}
    assert all(re.fullmatch("#[0-9a-f]{6}", d["colour"]) for d in answer["detections"])
    drawn, shown = predictor.draw(IMAGE, expected), decoded(answer["picture"])
    assert shown.shape == drawn.shape and np.abs(shown.astype(int) - drawn).mean() < 8
    none = client.post("/api/detect", params={"model": "enl", "threshold": 1}, content=PNG).json()
    assert none["detections"] == []


def test_the_context_of_a_pixel(client, models):
    place = {"model": "enl", "x": 70.0, "y": 20.0, "module": "fpn.non_local_res3"}
    answer = client.post("/api/context", params=place, content=PNG).json()
    assert [panel["kind"] for panel in answer["panels"]] == ["appearance", "position", "total"]
    # The picture is 90 x 60, the network's input 96 x 64.
    tensor = models["enl"].network_input(IMAGE)
    weights = context_weights(models["enl"].model, tensor, (70 * 96 / 90, 20 * 64 / 60), "res3")
    for panel, part in zip(answer["panels"], weights, strict=True):
        assert panel["limit"] == pytest.approx(float(part.abs().quantile(0.995)), rel=1e-4)
    position = decoded(answer["panels"][1]["picture"]).astype(int)
    assert position.shape == (480, 720, 3)
    redness = (position[:, :, 2] - position[:, :, 0]).reshape(8, 60, 12, 60).mean((1, 3))
    assert np.unravel_index(redness.argmax(), redness.shape) == (2, 9)  # the cell that holds 160 of 480, 560 of 720


def test_a_very_large_picture_is_shown_smaller(client):
    large = cv2.imencode(".jpg", np.zeros((30, 4000, 3), np.uint8))[1].tobytes()
    answer = client.post("/api/detect", params={"model": "enl", "threshold": 1}, content=large).json()
    assert answer["width"] == 4000 and decoded(answer["picture"]).shape[1] == 1800


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (1, 1), (2, 3000)])
def test_pictures_of_every_shape_are_answered_within_bounds(client, size):
    """Of a few hundred bytes as PNG; height and width."""
    content = cv2.imencode(".png", np.full((*size, 3), 90, np.uint8))[1].tobytes()
    began = time.process_time()
    answers = [
        client.post("/api/detect", params={"model": "enl", "threshold": 0}, content=content),
        client.post("/api/context", params={"model": "enl", "x": 0, "y": 0, "module": "res3"}, content=content),
    ]
    assert time.process_time() - began < 20
    pictures = [answers[0].json()["picture"], *(panel["picture"] for panel in answers[1].json()["panels"])]
    for answer, picture in zip((answers[0], *[answers[1]] * 3), pictures, strict=True):
        assert answer.status_code == 200 and len(answer.content) < 8e6
        assert max(decoded(picture).shape[:2]) <= 1800
    boxes = np.array([d["bbox"] for d in answers[0].json()["detections"]]).reshape(-1, 4)
    assert (boxes[:, 0] + boxes[:, 2] <= size[1] + 1).all() and (boxes[:, 1] + boxes[:, 3] <= size[0] + 1).all()


def test_the_bodies_of_all_requests_have_a_bound(app, models, monkeypatch):
    """Of six requests at a time, three fit; while one is worked on, the page still answers."""
    httpx = pytest.importorskip("httpx")
    monkeypatch.setattr(web_app, "MAX_BYTES_TOGETHER", 3 * 10_000)
    body, held = PNG[:9_000].ljust(9_000, b"0"), threading.Event()
    monkeypatch.setattr(web_app, "decoded", lambda content: held.wait(30) and web_app.Image.new("RGB", (8, 8)))

    async def ask() -> tuple[list[int], int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
            url = "/api/detect?model=enl&threshold=1"
            waiting = [asyncio.create_task(client.post(url, content=body)) for _ in range(6)]
            while sum(task.done() for task in waiting) < 3:
                await asyncio.sleep(0.01)
            page = await client.get("/")
            held.set()
            answers = [await task for task in waiting]
            after = await client.post(url, content=body)
            assert all("try again" in a.json()["detail"] and a.headers["retry-after"] for a in answers if a.is_error)
            return sorted(answer.status_code for answer in answers), page.status_code + after.status_code

    assert asyncio.run(ask()) == ([200] * 3 + [503] * 3, 400)


def test_a_picture_that_does_not_arrive_is_given_up(app, monkeypatch):
    httpx = pytest.importorskip("httpx")
    monkeypatch.setattr(web_app, "MAX_SECONDS", 0.1)

    async def slowly():
        yield b"a"
        await asyncio.sleep(5)

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return (await client.post("/api/detect?model=enl", content=slowly())).status_code

    assert asyncio.run(ask()) == 408


def test_open_is_said_only_when_it_answers(tiny, demo_folder):
    words = [sys.executable, demo_folder / "web.py", "--port", "0", "--config-file", tiny[0], "--ckpt", tiny[1]]
    with subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True) as program:
        try:
            address = next(line for line in program.stdout if line.startswith("Open ")).split()[1]
            with urllib.request.urlopen(f"{address}/api/models", timeout=2) as answer:  # at once
                assert json.load(answer)[0]["name"] == "tiny"
        finally:
            program.terminate()


@pytest.mark.parametrize(
    ("path", "parameters", "content", "status", "said"),
    [
        ("detect", {"model": "none"}, PNG, 404, "There is no model 'none'; there are enl, plain."),
        ("detect", {"model": "enl"}, b"no picture", 400, "The image that was sent cannot be read"),
        ("detect", {"model": "enl"}, PNG[:500], 400, "The image that was sent cannot be read"),
        ("detect", {"model": "enl"}, b"", 400, "The image that was sent cannot be read"),
        ("detect", {"model": "enl", "threshold": "7"}, PNG, 422, "less than or equal to 1"),
        ("context", {"model": "enl", "x": 95, "y": 2, "module": "res3"}, PNG, 400, "is outside the picture of 90 x 60"),
        ("context", {"model": "enl", "x": "nan", "y": 2, "module": "res3"}, PNG, 400, "is outside the picture"),
        ("context", {"model": "enl", "x": 5, "y": 2, "module": "res9"}, PNG, 400, "are called 'res9'"),
        ("context", {"model": "plain", "x": 5, "y": 2, "module": "res3"}, PNG, 400, "has no non-local module"),
    ],
)
def test_bad_requests_get_a_sentence(client, path, parameters, content, status, said):
    response = client.post(f"/api/{path}", params=parameters, content=content)
    assert response.status_code == status and said in json.dumps(response.json()["detail"])


def test_too_large_a_file(client, app, monkeypatch):
    monkeypatch.setattr(web_app, "MAX_BYTES", 1000)
    response = client.post("/api/detect", params={"model": "enl"}, content=b"x" * 2000)
    assert response.status_code == 413


def test_only_this_machine_is_answered(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    policy = client.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")


def test_the_page_names_nothing_outside():
    text = "".join(path.read_text() for path in web_app.PAGE.iterdir())
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://127.0.0.1)"}


def test_said_in_a_sentence(run_demo, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor_options.shipped, "MODEL", tmp_path / "none")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, said in (
            (("--port", port), f"Cannot listen at 127.0.0.1, port {port}"),
            (("--port", 0), "No model was named"),
            (("--port", 0, "--model", tiny[0], "no.pth"), "There is no checkpoint 'no.pth'"),
            (("--host", "no.such.host.invalid"), "Cannot listen at no.such.host.invalid"),
        ):
            code, printed = run_demo("web", *words)
            assert code == 1 and said in printed.splitlines()[-1], printed
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, printed = run_demo("web", "--port", 0)
    assert code == 1 and "needs FastAPI and uvicorn" in printed and "extra 'web'" in printed


@pytest.fixture
def address(app) -> Iterator[str]:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def browser(tmp_path):
    """Chromium whose camera shows a red rectangle on grey, 320 x 240."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    chromium, ffmpeg = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("ffmpeg")
    if not chromium or not ffmpeg:
        pytest.skip("no chromium or no ffmpeg on the PATH")
    picture = np.full((240, 320, 3), 120, np.uint8)
    picture[60:180, 80:240] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "camera.png"), picture)
    command = [ffmpeg, "-loglevel", "error", "-loop", "1", "-framerate", "10", "-i", tmp_path / "camera.png"]
    command += ["-frames:v", "10", "-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p", tmp_path / "camera.mjpeg"]
    subprocess.run([str(word) for word in command], check=True)
    flags = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags.append(f"--use-file-for-fake-video-capture={tmp_path / 'camera.mjpeg'}")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()


@pytest.mark.slow
def test_in_a_browser(browser, address, tiny, tmp_path):
    from playwright.sync_api import expect

    counts = {threshold: len(Predictor(*tiny, threshold=threshold)(IMAGE)) for threshold in (0.3, 0.95)}
    assert counts[0.3] > counts[0.95]
    (tmp_path / "image.png").write_bytes(PNG)
    (tmp_path / "notes.txt").write_text("no picture")
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    status, rows = page.locator("#status"), page.locator("#detections li")
    expect(page.locator("#model option")).to_have_text(["enl", "plain"])

    # A picture, and fewer detections with a higher threshold.
    page.locator("#threshold").fill("0.3")
    page.set_input_files("#file", str(tmp_path / "image.png"))
    expect(status).to_contain_text("90 × 60 pixels", timeout=20_000)
    expect(rows).to_have_count(counts[0.3])
    page.locator("#threshold").fill("0.95")
    expect(rows).to_have_count(counts[0.95], timeout=20_000)

    # A pixel's context, in another module too.
    box = page.locator("#picture").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.505, box["y"] + box["height"] * 0.258)
    expect(page.locator("#panels figcaption b")).to_have_text(
        ["By appearance", "By position", "Together"], timeout=20_000
    )
    expect(status).to_have_text("Pixel 45, 15.")
    page.get_by_role("tab", name="fpn.non_local_res5").click()
    expect(page.get_by_role("tab", name="fpn.non_local_res5")).to_have_attribute(
        "aria-selected", "true", timeout=20_000
    )

    # The other model has no context to show.
    page.locator("#model").select_option("plain")
    expect(status).to_contain_text("90 × 60 pixels", timeout=20_000)
    expect(page.locator("#context")).to_be_hidden()
    assert "Click a pixel" not in status.inner_text()

    # The camera: its frames are detected in; a click holds the one that is shown.
    page.locator("#model").select_option("enl")
    page.locator("#camera").click()
    expect(status).to_contain_text("frames/s", timeout=20_000)
    time.sleep(0.5)
    box = page.locator("#picture").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(320 / 240, rel=0.02)
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    expect(page.locator("#camera")).to_have_text("Start the camera")
    expect(page.locator("#panels img")).to_have_count(3, timeout=20_000)
    shown = decoded(page.locator("#picture").get_attribute("src"))
    height, width = shown.shape[:2]
    blue, green, red = shown[height // 2, width // 2].tolist()
    assert red > 180 and blue < 80 and green < 80
    left = shown[height // 2, width // 16].astype(int)
    assert np.abs(left - 120).max() < 25

    # What is no picture gets a sentence.
    page.set_input_files("#file", str(tmp_path / "notes.txt"))
    expect(status).to_contain_text("cannot be read", timeout=20_000)
    assert not errors
    assert {url.split("/")[2] for url in asked if not url.startswith(("data:", "blob:"))} == {address.split("/")[2]}
    page.close()
