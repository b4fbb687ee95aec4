"""The page of `mrb web` and its limits: images come in as the bodies of requests, detections go out; nothing is kept."""

import asyncio
import contextlib
import mimetypes
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import anyio
import torch
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image
from starlette.middleware.trustedhost import TrustedHostMiddleware

from maskrcnn_benchmark.data.pictures import decode_upright
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.web import answers
from maskrcnn_benchmark.web.jobs import Cancelled, Jobs

# Browsers run scripts of this type alone; what a machine's registry says of the ending may differ.
mimetypes.add_type("text/javascript", ".js")
PAGE = Path(__file__).with_name("page")
MAX_BYTES = 64 << 20  # of an image's file
MAX_BYTES_TOGETHER = 256 << 20  # of the files of all requests at a time
MAX_SECONDS = 60  # for a file to arrive
Tiles = Annotated[int | None, Query(ge=0, le=4096)]
Scale = Annotated[float, Query(ge=0.25, le=8)]
Name = Annotated[str, Query(max_length=64)]
LOCAL = ("127.0.0.1", "localhost")
# The browser itself refuses whatever is not of this server.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; base-uri 'none'; frame-ancestors 'none'"
)


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
                raise HTTPException(408, f"The image did not arrive within {MAX_SECONDS} seconds.") from None
            yield bytes(content)
        finally:
            self.held -= len(content)

    def _check(self, size: int, more: int) -> None:
        if size > MAX_BYTES:
            raise HTTPException(413, f"The image is larger than {MAX_BYTES >> 20} MB.")
        if self.held + more > MAX_BYTES_TOGETHER:
            raise HTTPException(
                503, "Too many images are being looked at; try again in a moment.", {"Retry-After": "5"}
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
    lock = asyncio.Lock()  # one image at a time: each uses all cores, and memory
    bodies, jobs = Bodies(), Jobs()

    @app.middleware("http")
    async def add_policy(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def work(request: Request, name: str, job_name: str, function: Any, **arguments: Any) -> dict:
        if name not in models:
            raise HTTPException(404, f"There is no model {name!r}; there are {', '.join(models)}.")
        with jobs.add(job_name) as job:
            async with bodies.read(request) as content, lock:
                try:
                    job.advance(0, 0)
                    return await run_in_threadpool(
                        lambda: function(models[name], decoded(content), job=job, **arguments)
                    )
                except Cancelled:
                    raise HTTPException(409, "The detection was stopped.") from None
                except ValueError as error:
                    raise HTTPException(400, str(error)) from None
                except (MemoryError, torch.OutOfMemoryError):
                    raise HTTPException(413, "This machine has not enough memory for the image.") from None

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/api/models")
    def list_models() -> dict:
        described = [answers.describe(name, predictor) for name, predictor in models.items()]
        return {"models": described, "floor": answers.FLOOR, "most_bytes": MAX_BYTES}

    @app.post("/api/detect")
    async def answer_detect(
        request: Request,
        model: str,
        tiles: Tiles = None,
        scale: Scale = 1.0,
        context: bool = True,
        preview: bool = False,
        job: Name = "",
    ) -> dict:
        wishes = {"tiles": tiles, "scale": scale, "context": context, "preview": preview}
        return await work(request, model, job, answers.detect, **wishes)

    @app.post("/api/context")
    async def answer_context(request: Request, model: str, x: float, y: float, module: str, job: Name = "") -> dict:
        return await work(request, model, job, answers.context, point=(x, y), module=module)

    @app.get("/api/jobs/{name}")
    def describe_job(name: str) -> dict:
        return jobs.running[name].describe() if name in jobs.running else {"state": "none", "done": 0, "total": 0}

    @app.delete("/api/jobs/{name}")
    def cancel_job(name: str) -> dict:
        if name in jobs.running:
            jobs.running[name].is_cancelled = True
        return describe_job(name)

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app
