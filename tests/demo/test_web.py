"""`mrb web` and demo/web.py: what they answer, and within which limits. The page itself is tested in test_web_page.py."""

import asyncio
import base64
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import pytest

from maskrcnn_benchmark.analysis.context import context_weights
from maskrcnn_benchmark.engine import Predictor, predictor_options
from tests.engine.test_predictor import Sees
from tests.support.tiny import write_model

pytest.importorskip("fastapi", reason="the web page needs FastAPI: the extra 'web'")
pytest.importorskip("uvicorn", reason="the web page needs uvicorn: the extra 'web'")

from maskrcnn_benchmark.web import answers  # noqa: E402  # it needs FastAPI
from maskrcnn_benchmark.web import app as web_app  # noqa: E402

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


def a_client(app):
    testclient = pytest.importorskip("fastapi.testclient", reason="the test client needs httpx")
    return testclient.TestClient(app, base_url="http://127.0.0.1")


@pytest.fixture
def client(app):
    return a_client(app)


def decoded(url: str) -> np.ndarray:
    assert url.startswith("data:image/jpeg;base64,")
    return cv2.imdecode(np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)


def test_the_models_to_choose_from(client):
    answer = client.get("/api/models").json()
    enl, plain = answer["models"]
    assert answer["floor"] == 0.05 and answer["most_bytes"] == web_app.MAX_BYTES
    assert enl["name"] == "enl" and [(c["label"], c["id"], c["name"]) for c in enl["classes"]] == [
        (1, 1, "red"),
        (2, 2, "blue"),
    ]
    assert enl["modules"] == ["fpn.non_local_res3", "fpn.non_local_res4", "fpn.non_local_res5"] and enl["can_compare"]
    assert plain["modules"] == [] and not plain["can_compare"]
    assert [c["name"] for c in plain["classes"]] == ["class 1", "class 2"]
    colours = [c["colour"] for c in plain["classes"]]
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours) and len(set(colours)) == 2


def found_by(predictor: Predictor, image: np.ndarray = IMAGE) -> list[dict]:
    """COCO's entries of what a predictor finds, with its masks as RLE."""
    return predictor.coco(predictor(image))


def ask(client, content: bytes = PNG, **parameters) -> dict:
    response = client.post("/api/detect", params={"model": "enl", **parameters}, content=content)
    assert response.status_code == 200, response.text
    return response.json()


def test_detections_are_the_predictors(client, tiny):
    answer = ask(client)
    expected = found_by(Predictor(*tiny, threshold=answers.FLOOR))
    assert len(expected) > 5 and (answer["width"], answer["height"]) == (90, 60) and "picture" not in answer
    for found, entry in zip(answer["detections"], expected, strict=True):
        assert found["bbox"] == entry["bbox"] and found["score"] == entry["score"]
        assert found["category_id"] == entry["category_id"] and found["name"] in ("red", "blue")
        rles = mask_utils.frPyObjects(found["polygons"], 60, 90) if found["polygons"] else []
        assert bool(rles) == bool(mask_utils.area(entry["segmentation"]))
        if rles:  # holes are lost, and the corners of pixels are rounded
            outline = mask_utils.merge(rles)
            outside = mask_utils.merge([outline, entry["segmentation"]], intersect=True)
            assert mask_utils.area(outside) >= 0.98 * mask_utils.area(entry["segmentation"])


def test_outlines_cover_their_masks(client, models, monkeypatch):
    monkeypatch.setattr(models["enl"], "model", Sees().eval())
    first, *_ = ask(client)["detections"]
    (polygon,) = first["polygons"]
    corners = np.array(polygon).reshape(-1, 2)
    x, y, width, height = first["bbox"]
    np.testing.assert_allclose([*corners.min(0), *corners.max(0)], [x, y, x + width, y + height], atol=1.5)


def test_without_context_is_the_model_without_modules(client, tiny):
    """The same weights in a configuration that has none."""
    bare = Predictor(*tiny, threshold=answers.FLOOR, opts=["MODEL.NON_LOCAL.TOP_DOWN.TYPE", ""])
    found = ask(client, context=False)["detections"]
    assert [d["bbox"] for d in found] == [entry["bbox"] for entry in found_by(bare)]
    whole = ask(client)["detections"]
    assert [d["bbox"] for d in whole] != [d["bbox"] for d in found]
    assert [d["bbox"] for d in ask(client)["detections"]] == [d["bbox"] for d in whole]  # and back


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_tiles_are_those_of_the_configuration(client, tiny, scale):
    keys = ["INPUT.TILES.SIZE", 40, "INPUT.TILES.SCALE", scale]
    expected = found_by(Predictor(*tiny, threshold=answers.FLOOR, opts=keys))
    found = ask(client, tiles=40, scale=scale)["detections"]
    assert [d["bbox"] for d in found] == [entry["bbox"] for entry in expected[: len(found)]]
    assert len(found) == min(len(expected), answers.MOST_DETECTIONS)
    assert [d["bbox"] for d in ask(client, tiles=0)["detections"]] != [d["bbox"] for d in found]


def test_the_tiles_of_a_model_are_used_unless_none_are_wanted(tiny):
    predictor = Predictor(*tiny, opts=["INPUT.TILES.SIZE", 40])
    client = a_client(web_app.create_app({"enl": predictor}))
    assert client.get("/api/models").json()["models"][0]["tiles"] == 40
    plain = found_by(Predictor(*tiny, threshold=answers.FLOOR))
    tiled = found_by(Predictor(*tiny, threshold=answers.FLOOR, opts=["INPUT.TILES.SIZE", 40]))
    assert [d["bbox"] for d in ask(client, tiles=0)["detections"]] == [entry["bbox"] for entry in plain]
    assert [d["bbox"] for d in ask(client)["detections"]] == [entry["bbox"] for entry in tiled]


def test_progress_and_an_end_before_the_end(app):
    """While tiles are looked at, the page is told how many; a request that is given up ends at the next one."""
    httpx = pytest.importorskip("httpx")

    async def run() -> tuple[list[dict], int, dict]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
            url = "/api/detect?model=enl&tiles=8&job=mine"
            task, seen = asyncio.create_task(client.post(url, content=PNG)), []
            while not task.done():
                seen.append((await client.get("/api/jobs/mine")).json())
                if seen[-1]["done"] > 8:
                    await client.delete("/api/jobs/mine")
            after = (await client.get("/api/jobs/mine")).json()
            return seen, (await task).status_code, after

    seen, status, after = asyncio.run(run())
    assert status == 409 and after["state"] == "none"
    working = [entry for entry in seen if entry["state"] == "working" and entry["total"]]
    done = [entry["done"] for entry in working]
    assert done == sorted(done) and 8 < done[-1] < working[-1]["total"]


def test_the_best_detections_count(client, monkeypatch):
    whole = ask(client)
    monkeypatch.setattr(answers, "MOST_DETECTIONS", 3)
    monkeypatch.setattr(answers, "MOST_OUTLINED", 2)
    answer = ask(client)
    assert answer["left_out"] == len(whole["detections"]) - 3 and len(answer["detections"]) == 3
    assert ["polygons" in d for d in answer["detections"]] == [True, True, False]


def test_outlines_have_a_bound():
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    radius = 500 + 20 * np.sin(200 * angle)
    star = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    reduced = answers.simplified(star.flatten().tolist())
    assert 3 <= len(reduced) <= answers.MOST_POINTS
    away = np.linalg.norm(reduced[:, None] - star, axis=2).min(axis=1)
    assert away.max() < 0.01  # corners of the original
    square = [0.0, 0.0, 9.0, 0.0, 9.0, 9.0, 0.0, 9.0]
    assert answers.simplified(square).flatten().tolist() == square


def test_keypoints_and_their_lines(tmp_path):
    scales = (0.25, 0.125, 0.0625, 0.03125)
    keys = {"MODEL__KEYPOINT_ON": True, "MODEL__MASK_ON": False, "MODEL__ROI_BOX_HEAD__NUM_CLASSES": 2}
    keys |= {"MODEL__ROI_KEYPOINT_HEAD__POOLER_SCALES": scales, "MODEL__ROI_KEYPOINT_HEAD__CONV_LAYERS": (8,)}
    keys |= {"MODEL__ROI_KEYPOINT_HEAD__POOLER_RESOLUTION": 14}
    keys |= {"MODEL__ROI_KEYPOINT_HEAD__SHARE_BOX_FEATURE_EXTRACTOR": False}
    files = write_model(tmp_path, labels=False, **keys)
    answer = ask(a_client(web_app.create_app({"enl": Predictor(*files)})))
    expected = Predictor(*files, threshold=answers.FLOOR)(IMAGE).get_field("keypoints")
    assert answer["connections"] == [list(pair) for pair in expected.CONNECTIONS] and len(expected) > 0
    points = np.array([d["keypoints"] for d in answer["detections"]])
    np.testing.assert_allclose(points[..., :2], expected.keypoints[..., :2], atol=0.06)
    assert ((expected.get_field("logits").numpy() > 2) == (points[..., 2] > 0)).all()


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


def test_a_preview_for_browsers_that_cannot_decode_the_file(client):
    """16 bits of grey, and a file so large that it is shown smaller."""
    grey = np.repeat(np.linspace(0, 65535, 90).astype(np.uint16)[None], 60, axis=0)
    shown = decoded(ask(client, cv2.imencode(".tiff", grey)[1].tobytes(), preview=True)["picture"])
    assert shown.shape == (60, 90, 3) and (np.diff(shown[30, ::10, 0].astype(int)) > 10).all()
    large = cv2.imencode(".jpg", np.zeros((30, 4000, 3), np.uint8))[1].tobytes()
    answer = ask(client, large, preview=True)
    assert answer["width"] == 4000 and decoded(answer["picture"]).shape[1] == 1800


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (1, 1), (2, 3000)])
def test_pictures_of_every_shape_are_answered_within_bounds(client, size):
    """Of a few hundred bytes as PNG; height and width."""
    content = cv2.imencode(".png", np.full((*size, 3), 90, np.uint8))[1].tobytes()
    began = time.process_time()
    context = client.post("/api/context", params={"model": "enl", "x": 0, "y": 0, "module": "res3"}, content=content)
    detected = client.post("/api/detect", params={"model": "enl", "preview": True}, content=content)
    assert time.process_time() - began < 20
    for answer in (context, detected):
        assert answer.status_code == 200 and len(answer.content) < 8e6
    pictures = [detected.json()["picture"], *(panel["picture"] for panel in context.json()["panels"])]
    assert all(max(decoded(picture).shape[:2]) <= 1800 for picture in pictures)
    boxes = np.array([d["bbox"] for d in detected.json()["detections"]]).reshape(-1, 4)
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
            url = "/api/detect?model=enl"
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


def test_one_image_is_looked_at_at_a_time(app, monkeypatch):
    httpx = pytest.importorskip("httpx")
    working: list[int] = []

    def detect(*_: object, **__: object) -> dict:
        working.append(len(working) + 1)
        most = len(working)
        time.sleep(0.05)
        working.pop()
        return {"most": most}

    monkeypatch.setattr(answers, "detect", detect)

    async def ask_all() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
            found = await asyncio.gather(*(client.post("/api/detect?model=enl", content=PNG) for _ in range(5)))
        return [answer.json()["most"] for answer in found]

    assert asyncio.run(ask_all()) == [1] * 5


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
                assert json.load(answer)["models"][0]["name"] == "tiny"
        finally:
            program.terminate()


@pytest.mark.parametrize(
    ("path", "parameters", "content", "status", "said"),
    [
        ("detect", {"model": "none"}, PNG, 404, "There is no model 'none'; there are enl, plain."),
        ("detect", {"model": "enl"}, b"no picture", 400, "The image that was sent cannot be read"),
        ("detect", {"model": "enl"}, PNG[:500], 400, "The image that was sent cannot be read"),
        ("detect", {"model": "enl"}, b"", 400, "The image that was sent cannot be read"),
        ("detect", {"model": "enl", "tiles": "70000"}, PNG, 422, "less than or equal to 4096"),
        ("detect", {"model": "enl", "tiles": "800", "scale": "4"}, PNG, 400, "enlarged 4 times are larger than 2048"),
        ("detect", {"model": "enl", "tiles": "2"}, PNG, 400, "tiles of 2 pixels, and at most 400 are looked at here"),
        ("detect", {"model": "plain", "context": "false"}, PNG, 400, "has no non-local module"),
        ("detect", {"model": "enl", "job": "x" * 65}, PNG, 422, "at most 64 characters"),
        ("context", {"model": "enl", "x": 95, "y": 2, "module": "res3"}, PNG, 400, "is outside the image of 90 x 60"),
        ("context", {"model": "enl", "x": "nan", "y": 2, "module": "res3"}, PNG, 400, "is outside the image"),
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
    headers = client.get("/").headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
    assert client.get("/page/main.js").headers["content-type"].startswith("text/javascript")


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
