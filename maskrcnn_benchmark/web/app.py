"""The pages and answers of `mrb web`: pictures come in as the bodies of requests, drawings go out; nothing is kept."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import anyio
import cv2
import numpy as np
import torch
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
MAX_BYTES_TOGETHER = 256 << 20  # of the files of all requests at a time
MAX_SECONDS = 60  # for a file to arrive
MAX_SHOWN = 1800  # pixels of a drawing's longer side
Share = Annotated[float, Query(ge=0, le=1)]
LOCAL = ("127.0.0.1", "localhost")
# The browser itself refuses whatever is not of this server.
POLICY = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; frame-ancestors 'none'"


def as_url(image: np.ndarray) -> str:
    """A BGR image as a data URL that a page can show, scaled down if it is very large."""
    longer = max(image.shape[:2])
    if longer > MAX_SHOWN:
        image = cv2.resize(image, shown_size(image.shape[1], image.shape[0]), interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return "data:image/jpeg;base64," + base64.b64encode(cv2.imencode(".jpg", image, options)[1].tobytes()).decode(
        "ascii"
    )


def shown_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of what is shown of a picture of this size."""
    scale = min(MAX_SHOWN / max(width, height), 1)
    return max(round(width * scale), 1), max(round(height * scale), 1)


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
    found = predictor.finish(raw.copy_with_fields(["scores", "labels"]), picture.size)
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
    # What costs with the size of the picture, masks above all, is made for the size that is shown.
    shown = picture.resize(shown_size(*picture.size), Image.Resampling.BILINEAR)
    drawn = as_url(predictor.draw(shown, predictor.finish(raw, shown.size)))
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
    shown = picture.resize(shown_size(*picture.size), Image.Resampling.BILINEAR)
    point = (x * shown.width / picture.width, y * shown.height / picture.height)
    image, panels = to_bgr(shown), []
    for kind, part in zip(weights._fields, weights, strict=True):
        limit = float(part.abs().quantile(0.995))
        panels.append(
            {"kind": kind, "limit": limit, "picture": as_url(draw_weights(image, part.cpu().numpy(), point, limit))}
        )
    return {"module": module, "panels": panels}


class Bodies:
    """Reads the bodies of requests; all of them together have a bound."""

    def __init__(self) -> None:
        self.held = 0  # bytes

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, which counts as held until the block ends. Raises HTTPException."""
        content = bytearray()
        announced = request.headers.get("content-length", "")
        size = int(announced[:18]) if announced.isdecimal() else 0
        self._check(size, size)
        try:
            try:
                with anyio.fail_after(MAX_SECONDS):
                    async for part in request.stream():
                        self._check(len(content) + len(part), len(part))
                        content += part
                        self.held += len(part)
            except TimeoutError:
                raise HTTPException(408, f"The picture did not arrive within {MAX_SECONDS} seconds.") from None
            yield bytes(content)
        finally:
            self.held -= len(content)

    def _check(self, size: int, more: int) -> None:
        if size > MAX_BYTES:
            raise HTTPException(413, f"The picture is larger than {MAX_BYTES >> 20} MB.")
        if self.held + more > MAX_BYTES_TOGETHER:
            raise HTTPException(
                503, "Too many pictures are being looked at; try again in a moment.", {"Retry-After": "5"}
            )


def decoded(content: bytes) -> Image.Image:
    """Raises HTTPException."""
    try:
        return decode_upright(content, "that was sent")
    except OSError as error:
        raise HTTPException(400, str(error)) from None


def create_app(models: Mapping[str, Predictor], host: str = "127.0.0.1") -> FastAPI:
    """The application. A host other than this machine's own name answers to any name."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if host in LOCAL:  # a foreign page must not reach it by a name of its own that leads here
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL))
    lock = asyncio.Lock()  # one picture at a time: each uses all cores, and memory
    bodies = Bodies()

    @app.middleware("http")
    async def add_policy(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def work(request: Request, name: str, function: Any, *args: Any) -> dict:
        if name not in models:
            raise HTTPException(404, f"There is no model {name!r}; there are {', '.join(models)}.")
        async with bodies.read(request) as content, lock:
            try:
                return await run_in_threadpool(lambda: function(models[name], decoded(content), *args))
            except ValueError as error:
                raise HTTPException(400, str(error)) from None
            except (MemoryError, torch.OutOfMemoryError):
                raise HTTPException(413, "This machine has not enough memory for the picture.") from None

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/api/models")
    def list_models() -> list[dict]:
        return [describe(name, predictor) for name, predictor in models.items()]

    @app.post("/api/detect")
    async def answer_detect(request: Request, model: str, threshold: Share = 0.5) -> dict:
        return await work(request, model, detect, threshold)

    @app.post("/api/context")
    async def answer_context(request: Request, model: str, x: float, y: float, module: str) -> dict:
        return await work(request, model, context, (x, y), module)

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app
