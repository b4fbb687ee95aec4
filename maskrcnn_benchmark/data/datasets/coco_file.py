"""A COCO annotation file that is read where it lies, and its index, kept between starts."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import logging
import os
import time
import weakref
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.coco_entries import annotation_entry, box_of, image_entry, matching_id
from maskrcnn_benchmark.data.datasets.coco_index import CocoIndex, scan
from maskrcnn_benchmark.utils.files import whole_file

# Smaller files are indexed in two seconds: nothing is kept for them.
MIN_BYTES_KEPT = 64_000_000
# A file changed as recently might change again within one tick of its clock, unseen.
SETTLED_S = 2.0
# Seconds to wait for another process that indexes the same file.
LOCK_S = 120.0
_VERSION = 4  # of what is kept


class CocoFile:
    """The entries of an annotation file, read one image at a time.

    Args:
        path: of the JSON file.
        cache: a folder for the index, which makes later starts quicker; it is made where it is missing. Without one (or
            one that cannot be written) every start indexes the file anew. An index is used only for the path, size and
            time of change that it was made for.

    Raises FileNotFoundError or ValueError with a sentence. Between processes it travels as the path and the index.
    """

    def __init__(self, path: str, cache: str = ""):
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"There is no annotation file {path!r}. Check ANN_FILE in DATASETS.DEFINITIONS, or for the built-in names "
                "the folder in the environment variable MRB_DATASETS."
            )
        self.path = path
        self._open()
        keep = cache and os.fstat(self._descriptor).st_size >= MIN_BYTES_KEPT
        self.index = self._kept_index(os.path.expanduser(cache)) if keep else self._scan()

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __getstate__(self) -> dict:
        return {"path": self.path, "index": self.index, "stamp": self._stamp()}

    def __setstate__(self, state: dict) -> None:
        self.path, self.index = state["path"], state["index"]
        self._open()
        if self._stamp() != state["stamp"]:
            raise self._changed()

    def _stamp(self) -> list:
        """What an index belongs to."""
        status = os.fstat(self._descriptor)
        return [_VERSION, os.path.abspath(self.path), status.st_size, status.st_mtime_ns]

    def _changed(self) -> ValueError:
        return ValueError(
            f"{self.path} was changed while it was in use. Start again; give new annotations a file of their own."
        )

    def _scan(self) -> CocoIndex:
        stamp = self._stamp()
        with open(self._descriptor, "rb", closefd=False) as f:
            f.seek(0)
            index = scan(f.read(), self.path)
        if self._stamp() != stamp:
            raise self._changed()
        return index

    def _kept_index(self, folder: str) -> CocoIndex:
        stamp = self._stamp()
        digest = hashlib.blake2b(stamp[1].encode(), digest_size=8).hexdigest()
        kept = os.path.join(folder, f"{os.path.splitext(os.path.basename(self.path))[0]}-{digest}.npz")
        index = load_index(kept, stamp)
        if index is not None:
            return index
        with _alone(kept):
            index = load_index(kept, stamp)  # another process may have made it meanwhile
            if index is None:
                index = self._scan()
                if time.time_ns() - stamp[3] > SETTLED_S * 1e9:
                    save_index(kept, index, stamp)
        return index

    def check_count(self, annotations: int) -> None:
        """Raise ValueError if the file read again holds another number of annotations."""
        if annotations != self.index.meta["annotations"]:
            raise self._changed()

    def _entries(self, spans: np.ndarray) -> list:
        """The JSON values at the places int64 [N, 2]."""
        parts = [os.pread(self._descriptor, end - start, start) for start, end in spans.tolist()]
        encoding = self.index.meta["encoding"]
        try:
            if encoding != "utf-8":
                parts = [part.decode(encoding).encode() for part in parts]
            entries = json.loads(b"[" + b",".join(parts) + b"]")
        except ValueError:
            raise self._changed() from None
        if len(entries) != len(parts):
            raise self._changed()
        return entries

    def image(self, row: int) -> dict:
        """The image's entry, made sound (see coco_entries.py)."""
        (entry,) = self._entries(self.index.image_spans[row : row + 1])
        image_id = self.index.image_ids[row].item()
        if not isinstance(entry, dict):
            raise self._changed()
        if entry.get("id") != image_id and matching_id(entry.get("id")) != matching_id(image_id):
            raise self._changed()
        entry = image_entry(entry)
        return entry if entry["id"] == image_id else {**entry, "id": image_id}

    def annotations(self, row: int) -> list[dict]:
        """The usable annotations of an image, in the file's order, made sound but for areas, masks and keypoints."""
        first, last = self.index.first[row : row + 2].tolist()
        entries = self._entries(self.index.spans[first:last])
        image_id = self.index.image_ids[row].item()
        sound, category_ids, key = [], self.category_ids, matching_id(image_id)
        for entry, label in zip(entries, self.index.labels[first:last].tolist(), strict=True):
            box = box_of(entry.get("bbox")) if isinstance(entry, dict) else None
            if box is None or entry.get("image_id") != image_id and matching_id(entry.get("image_id")) != key:
                raise self._changed()
            sound.append(annotation_entry(entry, box, image_id, category_ids[label - 1]))
        return sound

    @functools.cached_property
    def category_ids(self) -> list:
        """Of label 1, 2, ..."""
        return sorted({c["id"] for c in self.index.meta["categories"]})


def load_index(path: str, stamp: list) -> CocoIndex | None:
    """A kept index, None where there is none for this state of the annotation file or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            head = json.loads(bytes(stored["head"]))
            if head["stamp"] != stamp:
                return None
            arrays = {f.name: stored[f.name] for f in dataclasses.fields(CocoIndex) if f.name != "meta"}
        return CocoIndex(**arrays, meta=head["meta"])
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        logging.getLogger(__name__).warning("The index %s cannot be used (%s); the file is read anew.", path, error)
        return None


def save_index(path: str, index: CocoIndex, stamp: list) -> None:
    """Write it whole or not at all; a folder that cannot be written is no error."""
    arrays = {f.name: getattr(index, f.name) for f in dataclasses.fields(CocoIndex) if f.name != "meta"}
    head = json.dumps({"stamp": stamp, "meta": index.meta}).encode()
    content = io.BytesIO()
    np.savez(content, head=np.frombuffer(head, np.uint8), **arrays)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with whole_file(path, shared=True) as f:
            f.write(content.getbuffer())
    except OSError as error:
        logging.getLogger(__name__).info("The index of the annotations is not kept: %s", error)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Of several processes on the machine one is inside the block at a time, unless that takes too long or cannot be had."""
    lock: Any = None
    try:
        import fcntl

        os.makedirs(os.path.dirname(path), exist_ok=True)
        lock = open(path + ".lock", "a")
        deadline = time.monotonic() + LOCK_S
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
    except (OSError, ImportError):
        pass  # no folder, or no locks on it: each indexes by itself
    try:
        yield
    finally:
        if lock is not None:
            lock.close()
