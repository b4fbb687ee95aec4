"""The folder that predictions on files go to."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from maskrcnn_benchmark.data.datasets.images import IMAGE_ENDINGS
from maskrcnn_benchmark.data.large_images import LargeImage
from maskrcnn_benchmark.data.pictures import free_name, write_picture
from maskrcnn_benchmark.engine import shards
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.engine.shards import Attempt, Shards
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.files import check_folder, whole_file, write_json
from maskrcnn_benchmark.utils.wording import counted


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


class Results:
    """The folder that results go to, of as many processes as there are.

    predictions.json is a list of COCO results; images.json names their images (a video's by "frame" too) and categories as a
    COCO annotation file does. Drawn pictures and videos have their input's name. All is in the order of the inputs, whatever
    the number of processes; what is found meanwhile is in shards, and a run that was stopped goes on from them.

    Args:
        inputs: files and addresses, the same on every process.
        annotated: AnnotatedInputs, which give the pictures and their image ids; without, images are numbered from 1.
        draw: whether pictures and videos are written.
        settings: what the results depend on beside the predictor, for `Shards`.
    """

    def __init__(
        self,
        folder: str,
        predictor: Predictor,
        inputs: Sequence[str],
        annotated: Any = None,
        draw: bool = True,
        settings: dict[str, Any] | None = None,
    ):
        if distributed.is_main_process():
            check_folder(folder, "The folder for results", ("predictions.json", "images.json"))
            if draw:
                _check_drawings(folder, inputs)
        self.folder, self.predictor, self.annotated, self.draw = folder, predictor, annotated, draw
        self.inputs = list(inputs)
        self.shards = Shards(folder, {**predictor_settings(predictor), "drawing": draw, **(settings or {})})
        self.waiting = [source for source in self.inputs if source not in self.shards.done]
        self._names = _drawing_names(self.inputs, self.shards.done)
        self.images: list[dict] = []
        self.detections = 0
        self.failures: list[str] = []

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        """What was found counts, also after an interruption, after which the shards stay for the next start."""
        self.shards.close()
        if kind is None:
            distributed.synchronize()
        if distributed.is_main_process():
            attempts = self.shards.attempts()
            missing = [source for source in self.inputs if source not in attempts]
            if kind is None and missing:
                raise OSError(
                    f"Nothing was written of {counted(len(missing), 'input')}, for example {missing[0]}: the folder for results, "
                    f"{self.folder}, must be one that all processes share."
                )
            self._join(attempts)
            if kind is None:
                self.shards.remove()

    def _join(self, attempts: dict[str, Attempt]) -> None:
        """Write predictions.json and images.json, from the shards of all processes."""
        whole = JsonList(os.path.join(self.folder, "predictions.json"))
        for source in self.inputs:
            attempt = attempts.get(source)
            for line in attempt.lines() if attempt else ():
                if line.get("error"):
                    self.failures.append(line["error"])
                if "image" in line:
                    image = line["image"]
                    image["id"] = len(self.images) + 1 if image["id"] is None else image["id"]
                    self.images.append(image)
                    whole.extend({**entry, "image_id": image["id"]} for entry in line["found"])
                    self.detections += len(line["found"])
        whole.close()
        content = {"images": self.images, "annotations": [], "categories": self.predictor.categories.as_coco()}
        write_json(os.path.join(self.folder, "images.json"), content)

    def read(self, path: str) -> tuple[Any, Image.Image | LargeImage]:
        """Image id, None to number it, and picture of a file. Raises BrokenImageError."""
        return (None, self.predictor.read(path)) if self.annotated is None else self.annotated.read(path)

    def add(self, source: str, found: BoxList, image_id: Any = None, last: bool = True, **more: Any) -> None:
        """Note what was found in an image; `last` says that it is all of this input."""
        width, height = (int(side) for side in found.size)
        image = {"id": image_id, "file_name": source, "width": width, "height": height, **more}
        line = {"input": source, "image": image, "found": self.predictor.coco(found, image_id)}
        self.shards.append(line | ({"last": True, **self._drawn(source)} if last else {}))

    def end(self, source: str, error: str = "") -> None:
        """Note that an input is done, without an image of its own; `error` says what was wrong with it."""
        self.shards.append({"input": source, "last": True, **({"error": error} if error else self._drawn(source))})

    def _drawn(self, source: str) -> dict[str, str]:
        return {"drawn": self._names[source]} if self.draw else {}

    def path_for(self, source: str, ending: str) -> str:
        """Where the drawing of an input goes; inputs of one name in different folders get different ones."""
        name = self._names[source]
        return os.path.join(self.folder, name if name.endswith(ending) else f"{name}{ending}")

    def write_picture(self, source: str, picture: Any, found: BoxList) -> None:
        path = self.path_for(source, _picture_ending(source))
        write_picture(path, self.predictor.draw(picture, found))


def predictor_settings(predictor: Predictor) -> dict[str, Any]:
    """What a predictor's detections depend on, for JSON."""
    cfg = predictor.cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE, cfg.OUTPUT_DIR = "", ""
    weights = os.path.abspath(predictor.weights) if predictor.weights else ""
    return {
        "configuration": hashlib.blake2b(cfg.dump().encode(), digest_size=8).hexdigest(),
        "weights": weights,
        "bytes of weights": os.path.getsize(weights) if os.path.isfile(weights) else 0,
        "threshold": predictor.threshold,
        "classes": None if predictor.classes is None else list(predictor.classes),
        "top_k": predictor.top_k,
    }


def _picture_ending(source: str) -> str:
    ending = Path(source).suffix.lower()
    return ending if ending in (".jpg", ".jpeg", ".png") else ".png"


def _check_drawings(folder: str, inputs: Sequence[str]) -> None:
    """Raise FileExistsError where a drawing would replace a file that is none: in a folder without results of before."""
    if any(os.path.exists(os.path.join(folder, name)) for name in ("images.json", shards.FOLDER)):
        return
    paths = (os.path.join(folder, name) for name in _drawing_names(inputs, {}).values())
    there = next((path for path in paths if os.path.exists(path)), None)
    if there is not None:
        raise FileExistsError(f"{there} is there already, and a drawing would replace it. Name another folder.")


def _drawing_names(inputs: Sequence[str], done: dict[str, dict]) -> dict[str, str]:
    """The name of each input's drawing, no two the same; those that are there keep theirs."""
    names = {source: line["drawn"] for source, line in done.items() if line.get("drawn")}
    taken = set(names.values())
    for source in inputs:
        if source in names:
            continue
        is_stream = "://" in source and not os.path.exists(source)
        ending = _picture_ending(source) if source.lower().endswith(IMAGE_ENDINGS) else ".mp4"
        names[source] = free_name("stream" if is_stream else source, ending, taken)
    return names
