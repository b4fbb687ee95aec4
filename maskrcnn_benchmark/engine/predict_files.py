"""Detection in files: pictures and videos go in; pictures, videos and COCO results come out."""

import glob
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from maskrcnn_benchmark.data.datasets.annotated_images import AnnotatedImages, size_of
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.datasets.images import IMAGE_ENDINGS, BrokenImageError
from maskrcnn_benchmark.data.pictures import read_upright
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.files import check_folder, files_below, whole_file, write_json
from maskrcnn_benchmark.utils.video import Video, VideoError, VideoWriter, is_video
from maskrcnn_benchmark.utils.wording import counted

# A video that ends before this share of the frames that its header promises is taken for a broken one.
COMPLETE = 0.95


def find_inputs(words: Iterable[str]) -> list[str]:
    """Files and addresses of what is named: files, folders with all below them, patterns, addresses of streams.

    Raises FileNotFoundError for a name that stands for nothing.
    """
    found: list[str] = []
    for word in words:
        if os.path.isfile(word) or ("://" in word and not os.path.exists(word)):
            found.append(word)
            continue
        if os.path.isdir(word):
            below = [path for path in files_below(word) if path.lower().endswith(IMAGE_ENDINGS) or is_video(path)]
            if not below:
                raise FileNotFoundError(f"There is no picture and no video in the folder {word}.")
        else:
            below = sorted(path for path in glob.glob(_literal_folders(word), recursive=True) if os.path.isfile(path))
            if not below:
                raise FileNotFoundError(f"There is no file, folder or pattern {word} to predict on.{_hint(word)}")
        found += below
    return list(dict.fromkeys(found))


def _literal_folders(pattern: str) -> str:
    """A pattern in which the folders that are there stand for themselves, whatever characters their names have."""
    rest: list[str] = []
    folder = pattern
    while folder and not os.path.isdir(folder):
        folder, last = os.path.split(folder)
        if not last:
            break
        rest.insert(0, last)
    return os.path.join(glob.escape(folder), *rest) if folder and rest else pattern


def _hint(word: str) -> str:
    is_key = word.replace(".", "").replace("_", "").isupper() and "." in word
    return " Put KEY VALUE behind another option, such as --out FOLDER." if is_key else ""


class JsonList:
    """A JSON file of a list that is written entry by entry; it has its name once it is complete."""

    def __init__(self, path: str):
        self._whole, self._count = whole_file(path, "w"), 0
        self._file = self._whole.__enter__()

    def extend(self, entries: Iterable[dict]) -> None:
        for entry in entries:
            self._file.write(("[\n" if self._count == 0 else ",\n") + json.dumps(entry))
            self._count += 1

    def close(self) -> None:
        self._file.write("\n]\n" if self._count else "[]\n")
        self._whole.__exit__(None, None, None)


class AnnotatedInputs:
    """The pictures among `inputs` that an annotation file in COCO format names, read as they were annotated.

    Raises FileNotFoundError or ValueError with a sentence for the annotation file.
    """

    def __init__(self, ann_file: str, inputs: Sequence[str]):
        self._entries = {e["file_name"]: e for e in load_coco(ann_file).imgs.values() if e["file_name"]}
        found = [(path, entry) for path in inputs if (entry := self._find(path)) is not None]
        self._images = AnnotatedImages(ann_file, len(found), lambda i: (found[i][0], size_of(found[i][1])))

    def _find(self, path: str) -> dict | None:
        parts = Path(path).parts
        names = ("/".join(parts[start:]) for start in range(len(parts)))  # names in annotation files may hold folders
        return next((self._entries[name] for name in names if name in self._entries), None)

    def read(self, path: str) -> tuple[Any, Image.Image]:
        """Image id and picture. Raises BrokenImageError, also for one that is not named or of another size than annotated."""
        entry = self._find(path)
        if entry is None:
            raise BrokenImageError(f"The annotation file names no image {os.path.basename(path)}.")
        return entry["id"], self._images.read(path, size_of(entry))


class Results:
    """The folder that results go to.

    predictions.json is a list of COCO results; images.json names their images (a video's by "frame" too) and categories as a
    COCO annotation file does. Drawn pictures and videos have their input's name.

    Args:
        annotated: gives the pictures and their image ids; without, images are numbered from 1.
        draw: whether pictures and videos are written.
    """

    def __init__(self, folder: str, predictor: Predictor, annotated: AnnotatedInputs | None = None, draw: bool = True):
        check_folder(folder, "The folder for results", ("predictions.json", "images.json"))
        self.folder, self.predictor, self.annotated, self.draw = folder, predictor, annotated, draw
        self.images: list[dict] = []
        self.detections = 0
        self._names: set[str] = set()
        self._json = JsonList(os.path.join(folder, "predictions.json"))

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *error: object) -> None:
        """What was found counts, also after an interruption."""
        self._json.close()
        content = {"images": self.images, "annotations": [], "categories": self.predictor.categories.as_coco()}
        write_json(os.path.join(self.folder, "images.json"), content)

    def read(self, path: str) -> tuple[Any, Image.Image]:
        """Image id, None to number it, and picture of a file. Raises BrokenImageError."""
        return (None, read_upright(path)) if self.annotated is None else self.annotated.read(path)

    def add(self, file_name: str, found: BoxList, image_id: Any = None, **more: Any) -> None:
        image_id = len(self.images) + 1 if image_id is None else image_id
        width, height = (int(side) for side in found.size)
        self.images.append({"id": image_id, "file_name": file_name, "width": width, "height": height, **more})
        self._json.extend(self.predictor.coco(found, image_id))
        self.detections += len(found)

    def path_for(self, source: str, ending: str) -> str:
        """Where the drawing of an input goes; inputs of one name in different folders get different ones."""
        stem = "stream" if "://" in source and not os.path.exists(source) else Path(source).stem
        name, number = f"{stem}{ending}", 2
        while name in self._names:
            name, number = f"{stem}_{number}{ending}", number + 1
        self._names.add(name)
        return os.path.join(self.folder, name)

    def write_picture(self, source: str, picture: Any, found: BoxList) -> None:
        ending = Path(source).suffix.lower()
        path = self.path_for(source, ending if ending in (".jpg", ".jpeg", ".png") else ".png")
        if not cv2.imwrite(path, self.predictor.draw(picture, found)):
            raise OSError(f"Cannot write {path}.")


def predict_pictures(predictor: Predictor, paths: Sequence[str], results: Results, bar: tqdm) -> list[str]:
    """Predict on picture files; returns what was wrong with those that could not be read."""
    failures: list[str] = []
    waiting: deque[tuple[str, Any]] = deque()

    def readable() -> Iterator[Any]:
        for path in paths:
            try:
                image_id, picture = results.read(path)
            except BrokenImageError as error:
                failures.append(str(error))
                bar.update()
                continue
            waiting.append((path, image_id))
            yield picture

    for picture, found in predictor.stream(readable()):
        path, image_id = waiting.popleft()
        results.add(path, found, image_id)
        if results.draw:
            results.write_picture(path, picture, found)
        bar.update()
    return failures


def predict_video(predictor: Predictor, source: str, results: Results, limit: int | None = None) -> list[str]:
    """Predict on the frames of a video or stream, the first `limit` ones; returns what was wrong with it."""
    count = 0
    writer: VideoWriter | None = None
    try:
        with Video(source) as video:
            frames: Iterator[np.ndarray] = islice(video, limit)
            total = min(video.frames or limit or 0, limit or video.frames) or None
            name = os.path.basename(source) or source
            with tqdm(total=total, desc=name, unit="frame", leave=False, disable=None) as bar:
                for frame, found in predictor.stream(frames):
                    results.add(source, found, frame=count)
                    if results.draw:
                        writer = writer or VideoWriter(results.path_for(source, ".mp4"), video.fps)
                        writer.write(predictor.draw(frame, found))
                    count += 1
                    bar.update()
            if limit is None and count < COMPLETE * video.frames - 1:
                return [f"The video {source} ends after {count} of {counted(video.frames, 'frame')}."]
    except VideoError as error:
        return [str(error)]
    finally:
        if writer is not None:
            writer.close()
    return []


def predict_files(
    predictor: Predictor, inputs: Sequence[str], results: Results, frames: int | None = None
) -> list[str]:
    """Predict on all inputs in their order; returns a sentence for each that could not be read."""
    failures: list[str] = []
    with tqdm(total=len(inputs), desc="predicting", unit="file", disable=None) as bar:
        for video, group in groupby(inputs, key=is_video):
            if not video:
                failures += predict_pictures(predictor, list(group), results, bar)
                continue
            for source in group:
                failures += predict_video(predictor, source, results, frames)
                bar.update()
    return failures
