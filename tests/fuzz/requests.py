"""Requests to the page of `mrb web`: odd pictures, odd parameters, odd headers."""

from __future__ import annotations

import asyncio
import functools
import io
import random
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.driver import Kind, folder
from tests.fuzz.mutations import ODD_FLOATS, ODD_NUMBERS, ODD_TEXTS, changed_bytes

SIZES = ((8, 8), (1, 1), (1, 3000), (3000, 1), (40, 60))
MODES = ("RGB", "L", "LA", "RGBA", "P", "1", "CMYK", "I;16", "F", "I")


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (90, 20, 10)).save(buffer, format="PNG")
    return buffer.getvalue()


PNG = _png()
NARROW = {"STEM_OUT_CHANNELS": 8, "RES2_OUT_CHANNELS": 16, "WIDTH_PER_GROUP": 4, "BACKBONE_OUT_CHANNELS": 8}


class RefusedError(Exception):
    """An answer that says why there is none."""


def picture(rng: random.Random) -> bytes:
    size, mode = rng.choice(SIZES), rng.choice(MODES)
    pixels = np.random.default_rng(rng.randrange(9)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    try:
        image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, format=rng.choice(("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")))
    except (OSError, ValueError):
        return b"no picture"
    content = buffer.getvalue()
    return changed_bytes(rng, content) if rng.random() < 0.6 else content


def request(rng: random.Random) -> dict[str, Any]:
    def odd() -> str:
        return str(rng.choice((*ODD_NUMBERS, *ODD_FLOATS, *ODD_TEXTS)))

    path = rng.choice(("/api/detect", "/api/detect", "/api/context"))
    parameters: dict[str, str] = {"model": "tiny", "job": "a"}
    if path == "/api/detect":
        parameters |= {"tiles": rng.choice(("", "0", "16")), "scale": "1", "context": "true", "preview": "true"}
        if not parameters["tiles"]:
            del parameters["tiles"]
    else:
        parameters |= {"x": "0", "y": "0", "module": rng.choice(("res3", "fpn.non_local_res4", "", "non_local"))}
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        name = rng.choice((*parameters, "other"))
        parameters[name] = odd()
        if rng.random() < 0.2:
            del parameters[name]
    headers = {}
    if rng.random() < 0.1:
        headers["content-length"] = rng.choice(("-1", "0", "99999999999999", "9" * 100, "x", "²"[:0]))
    if rng.random() < 0.1:
        headers["content-type"] = rng.choice(("multipart/form-data", "text/plain", "application/json"))
    if rng.random() < 0.05:
        path = rng.choice(
            (
                "/",
                "/api/models",
                "/page/../../setup.py",
                "/page/%00",
                "/api/nothing",
                "/page/index.html",
                "/api/jobs/a",
                "/api/jobs/%00",
            )
        )
    method = rng.choice(("POST",) * 12 + ("GET", "PUT", "DELETE", "HEAD"))
    return {"method": method, "url": path, "params": parameters, "headers": headers, "content": picture(rng)}


@functools.cache
def client() -> tuple[Any, Any]:
    """The page without a network, and the event loop that it lives in: one for all requests of this process."""
    import httpx

    from maskrcnn_benchmark.engine import Predictor
    from maskrcnn_benchmark.web.app import create_app
    from tests.support.tiny import write_model

    narrow = {f"MODEL__RESNETS__{key}": size for key, size in NARROW.items()}
    sizes = {"INPUT__MIN_SIZE_TEST": 32, "INPUT__MAX_SIZE_TEST": 128}
    files = write_model(folder() / "tiny", MODEL__ROI_HEADS__DETECTIONS_PER_IMG=5, **narrow, **sizes)
    models = {"tiny": Predictor(*files)}
    app = create_app(models)
    transport = httpx.ASGITransport(app)  # it raises what the page does not catch
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1"), asyncio.new_event_loop()


def ask(words: dict[str, Any]) -> None:
    page, loop = client()
    answer = loop.run_until_complete(page.request(**words))
    if answer.status_code >= 500 and answer.status_code != 503:
        raise AssertionError(f"status {answer.status_code}: {answer.text[:200]}")
    if answer.status_code >= 400 and words["method"] == "POST" and words["url"].startswith("/api/"):
        raise RefusedError(answer.text)
    assert len(answer.content) < 8e6


def prepare() -> None:
    ask({"method": "POST", "url": "/api/detect?model=tiny", "content": PNG})


REQUESTS = Kind("requests", request, ask, (RefusedError,), prepare)
