"""What several processes find, each in a file of its own that grows line by line: a run that is killed goes on where it was."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from typing import IO, Any

from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.files import write_json

FOLDER, SETTINGS = "shards", "settings.json"


@dataclasses.dataclass
class Attempt:
    """What one process wrote of one input: the shard's path and where its lines begin; `last` is the line that ends it."""

    shard: str
    places: list[int] = dataclasses.field(default_factory=list)
    last: dict | None = None

    @property
    def rank(self) -> int:
        """A complete attempt counts more than one that ended in an error, and that more than one that was cut off."""
        return 0 if self.last is None else 1 if self.last.get("error") else 2

    def lines(self) -> Iterator[dict]:
        with open(self.shard, "rb") as file:
            for place in self.places:
                file.seek(place)
                yield json.loads(file.readline())


class Shards:
    """The shards in the folder of a run's results, of this start and of earlier ones.

    A line is an object with "input" (the file or address that it is of); the last line of an input has "last", and "error" with a
    sentence where the input could not be used. Every process makes one; the main one reads what is there for all.

    Args:
        folder: of the results, which all processes share.
        settings: what results depend on. They must be those of the run that is gone on with.

    Attributes:
        done: the last line of each input that is complete, without those that ended in an error and those whose file was written
            since, which are tried again.

    Raises ValueError with a sentence for other settings than the unfinished run's.
    """

    def __init__(self, folder: str, settings: dict[str, Any]):
        self.folder = os.path.join(folder, FOLDER)
        done = {}
        if distributed.is_main_process():
            self._check(settings)
            done = {
                n: a.last
                for n, a in self.attempts().items()
                if a.last and a.rank == 2 and a.last.get("of") == _state(n)
            }
        self.done: dict[str, dict] = distributed.broadcast_object(done)
        self._file: IO[bytes] | None = None

    def _check(self, settings: dict[str, Any]) -> None:
        shutil.rmtree(f"{self.folder}.old", ignore_errors=True)
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, SETTINGS)
        settings = json.loads(json.dumps(settings))
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                before = json.load(file)
            other = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
            if other:
                said = ", ".join(f"{key} {before.get(key)!r}, now {settings.get(key)!r}" for key in other)
                raise ValueError(
                    f"{self.folder} holds an unfinished run of other settings ({said}): take the same again to finish it, remove "
                    "that folder to begin anew, or name another folder for the results."
                )
        write_json(path, settings)

    def append(self, line: dict) -> None:
        """Write a line, which a killed process leaves behind too. An input's last line has the state of its file."""
        if line.get("last"):
            line = {**line, "of": _state(line["input"])}
        if self._file is None:
            name = f"{distributed.get_rank():05d}-{uuid.uuid4().hex}.jsonl"
            os.makedirs(self.folder, exist_ok=True)
            self._file = open(os.path.join(self.folder, name), "ab", buffering=0)
        self._file.write(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def attempts(self) -> dict[str, Attempt]:
        """The best attempt at each input, the last of several, whichever process made it; a line that was cut off counts for
        nothing."""
        best: dict[str, Attempt] = {}
        for entry in sorted(os.scandir(self.folder), key=lambda e: (e.stat().st_mtime_ns, e.name)):
            if entry.name == SETTINGS:
                continue
            for name, attempt in _attempts_of(entry.path).items():
                if name not in best or attempt.rank >= best[name].rank:
                    best[name] = attempt
        return best

    def remove(self) -> None:
        """All at once: a process that is killed meanwhile leaves no part that would be gone on with."""
        os.replace(self.folder, f"{self.folder}.old")
        shutil.rmtree(f"{self.folder}.old")


def _state(name: str) -> list[int] | None:
    """Bytes of a file and when it was written; None for an address."""
    try:
        state = os.stat(name)
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns]


def _attempts_of(shard: str) -> dict[str, Attempt]:
    found: dict[str, Attempt] = {}
    place = 0
    with open(shard, "rb") as file:
        for content in file:
            if not content.endswith(b"\n"):
                break
            line = json.loads(content)
            attempt = found.setdefault(line["input"], Attempt(shard))
            attempt.places.append(place)
            if line.get("last"):
                attempt.last = {key: value for key, value in line.items() if key not in ("image", "found")}
            place += len(content)
    return found


def share(inputs: Iterable[str]) -> list[str]:
    """This process's part."""
    return list(inputs)[distributed.get_rank() :: distributed.get_world_size()]
