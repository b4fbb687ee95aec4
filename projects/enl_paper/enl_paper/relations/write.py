"""Writing Relations to a folder in COCO's layout."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import threading
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path

import cv2
import numpy as np

from maskrcnn_benchmark.utils.files import write_json
from maskrcnn_benchmark.utils.progress_bar import progress_bar

from .render import generate_scene
from .spec import RELATIONS_CATEGORIES, RelationsSpec

MANIFEST = "relations.json"
_VERSION = 1  # to be raised when the same parameters begin to give other images
_JPEG_QUALITY = 93
_AT_ONCE = 1000  # scenes given to the processes: Ctrl-C waits until they all are
_Job = tuple[RelationsSpec, int, int, str]


def split_seed(seed: int, split: str) -> int:
    """The seed of a split's own stream of scenes: train and val never share one."""
    return int(np.random.SeedSequence([seed, zlib.crc32(split.encode())]).generate_state(1, np.uint64)[0])


def _write_scene(job: _Job) -> tuple[dict, list[dict]]:
    """Make one scene and store its image; returns its COCO image record and annotations."""
    spec, index, seed, folder = job
    image, annotations = generate_scene(spec, index, seed)
    name = f"{index + 1:012d}.{spec.image_format}"
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if spec.image_format == "jpg" else []
    encoded, data = cv2.imencode(f".{spec.image_format}", image, options)
    if not encoded:
        raise OSError(f"OpenCV could not encode a {spec.image_format} image")
    Path(folder, name).write_bytes(data.tobytes())  # unlike cv2.imwrite it says when the disk is full
    height, width = image.shape[:2]
    return {"id": index + 1, "file_name": name, "height": height, "width": width}, annotations


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    cv2.setNumThreads(1)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started in here, and what they fork, are deaf to Ctrl-C from their first instruction on."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it is interrupted
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _process_context() -> BaseContext:
    """Workers fork from a server that has imported this package once, where the system has such a thing.

    To fork this process itself is not safe: OpenCV and PyTorch may have started threads in it.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with _interrupts_ignored():
        forkserver.ensure_running()
    return context


@contextmanager
def _interrupts_held() -> Iterator[Callable[[], None]]:
    """Ctrl-C is raised by what this yields, when that is called: raised anywhere, it can leave a lock of an executor taken for
    ever. A second one does not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    is_interrupted = False

    def note(*_: object) -> None:
        nonlocal is_interrupted
        if is_interrupted:
            raise KeyboardInterrupt
        is_interrupted = True

    def check() -> None:
        if is_interrupted:
            raise KeyboardInterrupt

    handler = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, handler)


def _mapped(jobs: list[_Job], workers: int) -> Generator[tuple[dict, list[dict]], None, None]:
    """What `_write_scene` gives for each job, in order, made here or in ``workers`` processes."""
    if workers <= 1:
        yield from map(_write_scene, jobs)
        return
    executor = ProcessPoolExecutor(workers, _process_context(), _start_worker)
    with _interrupts_held() as check:
        try:
            for begin in range(0, len(jobs), _AT_ONCE):
                for result in executor.map(_write_scene, jobs[begin : begin + _AT_ONCE], chunksize=4):
                    check()
                    yield result
        finally:
            executor.shutdown(cancel_futures=True)
        check()


def _annotation_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}.json"


def _complete(root: Path, split: str) -> bool:
    """Whether a split's annotations and every image that they name are there."""
    path = _annotation_file(root, split)
    if not path.is_file():
        return False
    try:
        images = json.loads(path.read_text(encoding="utf-8"))["images"]
    except (ValueError, KeyError):
        return False
    folder = root / split
    present = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return all(image["file_name"] in present for image in images)


def _prepare(root: Path, parameters: dict, overwrite: bool) -> None:
    """Make the folder ready for these parameters; refuse one that holds anything else."""
    manifest = root / MANIFEST
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file; name a folder to write Relations to")
    if manifest.is_file():
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found == parameters:
            return
        if not overwrite:
            raise ValueError(
                f"{root} holds Relations made with other parameters ({_difference(found, parameters)}); "
                "choose another folder, or ask for it to be overwritten"
            )
        old = found.get("split_sizes", {}) if isinstance(found, dict) else {}
        for split in {*old, *parameters["split_sizes"]}:
            _annotation_file(root, split).unlink(missing_ok=True)
            shutil.rmtree(root / split, ignore_errors=True)
    elif root.is_dir() and any(root.iterdir()):
        raise ValueError(
            f"{root} is not empty and has no {MANIFEST}, so it is not a Relations folder; choose an empty or a new one"
        )
    root.mkdir(parents=True, exist_ok=True)
    write_json(str(manifest), parameters)


def _difference(found: object, wanted: dict) -> str:
    """Which parameters differ, as "name: there, here"."""
    if not isinstance(found, dict):
        return f"{MANIFEST} cannot be read"
    old = {**found, **found.get("spec", {})}
    new = {**wanted, **wanted["spec"]}
    names = [name for name in new if name != "spec" and old.get(name) != new[name]]
    return "; ".join(f"{name}: {old.get(name)} there, {new[name]} asked for" for name in names)


def _write_split(root: Path, split: str, jobs: list[_Job], workers: int, progress: bool) -> None:
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images: list[dict] = []
    annotations: list[dict] = []
    with closing(_mapped(jobs, workers)) as scenes:
        for image, found in progress_bar(scenes, desc=split, total=len(jobs), unit="image", disable=not progress):
            images.append(image)
            annotations.extend(found)
    info = {"description": "Relations, generated scenes", "version": str(_VERSION)}
    content = {
        "info": info,
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": list(RELATIONS_CATEGORIES),
    }
    write_json(str(_annotation_file(root, split)), content)


def write_relations(
    root: str | Path,
    split_sizes: Mapping[str, int],
    spec: RelationsSpec,
    seed: int = 0,
    workers: int = 1,
    progress: bool = True,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write ``root/<split>/*.jpg`` and ``root/annotations/instances_<split>.json`` for every split.

    split_sizes: number of images by split, for example {"train": 2000, "val": 200}.  workers: processes; the bytes
    written do not depend on it.  Returns the annotation files by split.

    A split that is complete is kept, so a second run with the same parameters costs nothing and an interrupted one
    can be run again. A folder with other parameters is refused with ValueError unless ``overwrite``, which removes
    its splits first; a folder that holds something else is always refused.
    """
    root = Path(root)
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    for split, size in split_sizes.items():
        if size < 1 or not split.isidentifier() or split == "annotations":
            raise ValueError(f"a split needs a plain name and at least one image, got {split!r} with {size}")
    parameters = json.loads(
        json.dumps({"version": _VERSION, "seed": seed, "split_sizes": dict(split_sizes), "spec": asdict(spec)})
    )
    _prepare(root, parameters, overwrite)
    for split, size in split_sizes.items():
        if not _complete(root, split):
            stream = split_seed(seed, split)
            jobs = [(spec, index, stream, str(root / split)) for index in range(size)]
            _write_split(root, split, jobs, workers, progress)
    return {split: _annotation_file(root, split) for split in split_sizes}
