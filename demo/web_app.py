"""The pages and answers of web.py: pictures come in as the bodies of requests, drawings go out; nothing is kept."""

import base64
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image
from starlette.middleware.trustedhost import TrustedHostMiddleware

from maskrcnn_benchmark.analysis.context import context_weights, non_local_modules
from maskrcnn_benchmark.data.pictures import decode_upright, to_bgr
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.visualization import class_colour, draw_weights

PAGE = Path(__file__).with_name("page")
MAX_BYTES = 64 << 20  # of a picture's file
MAX_SHOWN = 1800  # pixels of a drawing's longer side
Share = Annotated[float, Query(ge=0, le=1)]
LOCAL = ("127.0.0.1", "localhost")
# The browser itself refuses whatever is not of this server.
POLICY = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; frame-ancestors 'none'"


def as_url(image: np.ndarray) -> str:
    """A BGR image as a data URL that a page can show, scaled down if it is very large."""
    longer = max(image.shape[:2])
    if longer > MAX_SHOWN:
        scale = MAX_SHOWN / longer
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return "data:image/jpeg;base64," + base64.b64encode(cv2.imencode(".jpg", image, options)[1]).decode("ascii")


def short(name: str) -> str:
    return name.removeprefix("backbone.")


def describe(name: str, predictor: Predictor) -> dict:
    return {
        "name": name,
        "classes": list(predictor.categories.names.values()),
        "modules": [short(module) for module in non_local_modules(predictor.model)][::-1],  # the finest first
    }


def detect(predictor: Predictor, picture: Image.Image, threshold: float) -> dict:
    """What is found in a picture, as a list and as a drawing."""
    began = time.perf_counter()
    (raw,) = predictor.detect([picture])
    predictor.threshold = threshold
    found = predictor.finish(raw, picture.size)
    seconds = time.perf_counter() - began
    labels = found.get_field("labels").tolist()
    entries = [
        {
            "name": predictor.categories.name(label),
            "score": entry["score"],
            "bbox": entry["bbox"],
            "colour": "#{2:02x}{1:02x}{0:02x}".format(*class_colour(label)),
        }
        for label, entry in zip(labels, predictor.coco(found), strict=True)
    ]
    drawn = as_url(predictor.draw(picture, found))
    return {
        "width": picture.width,
        "height": picture.height,
        "seconds": seconds,
        "detections": entries,
        "picture": drawn,
    }


def context(predictor: Predictor, picture: Image.Image, point: tuple[float, float], module: str) -> dict:
    """What a module takes from the whole picture for one pixel: drawings of the two terms and their sum."""
    x, y = point
    if not (0 <= x < picture.width and 0 <= y < picture.height):
        raise ValueError(
            f"The point ({x:g}, {y:g}) is outside the picture of {picture.width} x {picture.height} pixels."
        )
    tensor = predictor.network_input(picture)
    height, width = tensor.shape[-2:]
    scaled = (x * width / picture.width, y * height / picture.height)
    weights = context_weights(predictor.model, tensor.to(predictor.device), scaled, module)
    image, panels = to_bgr(picture), []
    for kind, part in zip(weights._fields, weights, strict=True):
        limit = float(part.abs().quantile(0.995))
        panels.append(
            {"kind": kind, "limit": limit, "picture": as_url(draw_weights(image, part.cpu().numpy(), point, limit))}
        )
    return {"module": module, "panels": panels}


async def picture_of(request: Request) -> Image.Image:
    """The picture in a request's body. Raises HTTPException."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_BYTES:
            raise HTTPException(413, f"The picture is larger than {MAX_BYTES >> 20} MB.")
    try:
        return await run_in_threadpool(decode_upright, bytes(content), "that was sent")
    except OSError as error:
        raise HTTPException(400, str(error)) from None


def create_app(models: Mapping[str, Predictor], host: str = "127.0.0.1") -> FastAPI:
    """The application. A host other than this machine's own name answers to any name."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if host in LOCAL:  # a foreign page must not reach it by a name of its own that leads here
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL))
    lock = threading.Lock()  # one picture at a time: each uses all cores

    @app.middleware("http")
    async def add_policy(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def work(name: str, function: Any, *args: Any) -> dict:
        if name not in models:
            raise HTTPException(404, f"There is no model {name!r}; there are {', '.join(models)}.")

        def alone() -> dict:
            with lock:
                return function(models[name], *args)

        try:
            return await run_in_threadpool(alone)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/api/models")
    def list_models() -> list[dict]:
        return [describe(name, predictor) for name, predictor in models.items()]

    @app.post("/api/detect")
    async def answer_detect(request: Request, model: str, threshold: Share = 0.5) -> dict:
        return await work(model, detect, await picture_of(request), threshold)

    @app.post("/api/context")
    async def answer_context(request: Request, model: str, x: float, y: float, module: str) -> dict:
        return await work(model, context, await picture_of(request), (x, y), module)

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app
