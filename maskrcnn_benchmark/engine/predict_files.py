"""Detection in files: pictures and videos go in; pictures, videos and COCO results come out."""

import glob
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from maskrcnn_benchmark.data.datasets.annotated_images import AnnotatedImages, size_of
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.datasets.images import IMAGE_ENDINGS, UNREAD_ENDINGS, BrokenImageError, unread_images
from maskrcnn_benchmark.data.large_images import LargeImage
from maskrcnn_benchmark.engine.prediction_results import Results
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.engine.shards import share
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.files import files_below
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.video import Video, VideoError, VideoWriter, is_video
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger(__name__)

# A video that ends before this share of the frames that its header promises is taken for a broken one.
COMPLETE = 0.95


def find_inputs(words: Iterable[str], out: str = "") -> list[str]:
    """Files and addresses of what is named: files, folders with all below them, patterns, addresses of streams. Images of kinds
    that are not read are left out of folders, with a warning.

    Args:
        out: the folder for results; where it lies in a folder that is looked through, what is below it is no input.

    Raises FileNotFoundError for a name that stands for nothing.
    """
    found: list[str] = []
    unread: list[str] = []
    for word in words:
        if os.path.isfile(word) or ("://" in word and not os.path.exists(word)):
            found.append(word)
            continue
        if os.path.isdir(word):
            files = files_below(word)
            below = [path for path in files if path.lower().endswith(IMAGE_ENDINGS) or is_video(path)]
            below = _without_results(below, word, out)
            others = [path for path in files if path.lower().endswith(UNREAD_ENDINGS)]
            if not below:
                said = " ".join(
                    filter(None, (f"There is no picture and no video in the folder {word}.", unread_images(others)))
                )
                raise FileNotFoundError(said)
            unread += others
        else:
            below = sorted(path for path in glob.glob(_literal_folders(word), recursive=True) if os.path.isfile(path))
            below = _without_results(below, _literal_part(word)[0], out)
            if not below:
                raise FileNotFoundError(f"There is no file, folder or pattern {word} to predict on.")
        found += below
    if unread and distributed.is_main_process():
        logger.warning("Left out: %s", unread_images(unread))
    return list(dict.fromkeys(found))


def _without_results(files: list[str], folder: str, out: str) -> list[str]:
    """The files of a folder without what an earlier run wrote to `out`, which lies in it."""
    results, searched = Path(out).resolve(), Path(folder).resolve()
    if not out or results == searched or not results.is_relative_to(searched):
        return files
    return [path for path in files if not Path(path).parent.resolve().is_relative_to(results)]


def _literal_folders(pattern: str) -> str:
    """A pattern in which the folders that are there stand for themselves, whatever characters their names have."""
    folder, rest = _literal_part(pattern)
    return os.path.join(glob.escape(folder), *rest) if folder and rest else pattern


def _literal_part(pattern: str) -> tuple[str, list[str]]:
    """The longest beginning of a pattern that is a folder, "" for none, and the names behind it."""
    rest: list[str] = []
    folder = pattern
    while folder and not os.path.isdir(folder):
        folder, last = os.path.split(folder)
        if not last:
            break
        rest.insert(0, last)
    return folder, rest


class AnnotatedInputs:
    """The pictures among `inputs` that an annotation file in COCO format names, read as they were annotated; `categories` are the
    file's.

    Raises FileNotFoundError or ValueError with a sentence for the annotation file.
    """

    def __init__(self, ann_file: str, inputs: Sequence[str]):
        coco = load_coco(ann_file)
        self.categories = list(coco.cats.values())
        self._entries = {e["file_name"]: e for e in coco.imgs.values() if e["file_name"]}
        found = [(path, entry) for path in inputs if (entry := self._find(path)) is not None]
        first: dict[str, str] = {}
        for path, entry in found:
            if (other := first.setdefault(entry["file_name"], path)) != path:
                raise ValueError(
                    f"{other} and {path} would both be the image {entry['file_name']} of {ann_file}. Name the one folder that it "
                    "belongs to."
                )
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


def predict_pictures(predictor: Predictor, paths: Sequence[str], results: Results, bar: tqdm) -> None:
    """Predict on picture files."""
    waiting: deque[tuple[str, Any]] = deque()

    def add(path: str, image_id: Any, picture: Any, found: BoxList) -> None:
        if results.draw:
            results.write_picture(path, picture, found)
        results.add(path, found, image_id)
        bar.update()

    def readable() -> Iterator[Any]:
        for path in paths:
            try:
                image_id, picture = results.read(path)
                if isinstance(picture, LargeImage):  # by itself: that pixels cannot be read shows when they are needed
                    add(path, image_id, picture, predictor(picture))
                    continue
            except BrokenImageError as error:
                results.end(path, str(error))
                bar.update()
                continue
            waiting.append((path, image_id))
            yield picture

    for picture, found in predictor.stream(readable()):
        add(*waiting.popleft(), picture, found)


def predict_video(predictor: Predictor, source: str, results: Results, limit: int | None = None) -> None:
    """Predict on the frames of a video or stream, the first `limit` ones."""
    count = 0
    writer: VideoWriter | None = None
    wrong = ""
    try:
        with Video(source) as video:
            frames: Iterator[np.ndarray] = islice(video, limit)
            total = min(video.frames or limit or 0, limit or video.frames) or None
            name = os.path.basename(source) or source
            with progress_bar(total=total, desc=name, unit="frame", leave=False) as bar:
                for frame, found in predictor.stream(frames):
                    if results.draw:
                        writer = writer or VideoWriter(results.path_for(source, ".mp4"), video.fps)
                        writer.write(predictor.draw(frame, found))
                    results.add(source, found, last=False, frame=count)
                    count += 1
                    bar.update()
            if limit is None and count < COMPLETE * video.frames - 1:
                wrong = f"The video {source} ends after {count} of {counted(video.frames, 'frame')}."
    except VideoError as error:
        wrong = str(error)
    finally:
        if writer is not None:
            writer.close()
    results.end(source, wrong)


def predict_files(predictor: Predictor, results: Results, frames: int | None = None) -> None:
    """Predict on this process's part of the inputs that are not done yet; each video's first `frames` ones."""
    inputs = share(results.waiting)
    with progress_bar(total=len(inputs), desc="predicting", unit="file") as bar:
        for video, group in groupby(inputs, key=is_video):
            if not video:
                predict_pictures(predictor, list(group), results, bar)
                continue
            for source in group:
                predict_video(predictor, source, results, frames)
                bar.update()
