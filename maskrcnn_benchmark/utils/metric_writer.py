"""What a training measures, as lines of JSON and for TensorBoard."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

from maskrcnn_benchmark.utils.files import write_atomically


class MetricWriter:
    """Appends one JSON object a line to a file and, if asked to, scalars to TensorBoard.

    Args:
        start: the iteration that a run goes on from. Lines of later ones, of a run that ended without a checkpoint of them, go.
    """

    def __init__(self, path: str, tensorboard_dir: str | None = None, start: int = 0):
        kept = [line for line in read_metrics(path) if line["iteration"] <= start] if os.path.exists(path) else []
        write_atomically(path, lambda f: f.write("".join(json.dumps(line) + "\n" for line in kept).encode()))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed in close)
        self._failed = False
        self._tensorboard = None
        if tensorboard_dir is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ImportError("TENSORBOARD is True, but the package is missing: pip install tensorboard.") from None
            self._tensorboard = SummaryWriter(tensorboard_dir, purge_step=start + 1)

    def write(self, iteration: int, values: dict[str, Any]) -> None:
        """Write numbers by name. A disk that is full costs the line and a message, not the training."""
        with self._surviving(self._file.name):
            self._file.write(json.dumps({"iteration": iteration, **values}) + "\n")
            self._file.flush()
        if self._tensorboard is not None:
            with self._surviving("TensorBoard's file"):
                for name, value in values.items():
                    if isinstance(value, (int, float)):
                        self._tensorboard.add_scalar(name, value, iteration)

    @contextlib.contextmanager
    def _surviving(self, file: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._failed:
                logging.getLogger(__name__).error("%s is not complete: %s.", file, error)
            self._failed = True

    def picture(self, iteration: int, name: str, image: Any) -> None:
        """An image for TensorBoard: uint8 array [H, W, 3], RGB."""
        if self._tensorboard is not None:
            with self._surviving("TensorBoard's file"):
                self._tensorboard.add_image(name, image, iteration, dataformats="HWC")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written was said before
            self._file.close()
        if self._tensorboard is not None:
            with contextlib.suppress(OSError):
                self._tensorboard.close()


def read_metrics(path: str) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; one that a kill or a full disk cut off is left out."""
    lines = []
    with open(path, encoding="utf-8", errors="replace") as f:
        for text in f:
            line = parse_metrics(text)
            if line is not None:
                lines.append(line)
    return lines


def parse_metrics(text: str) -> dict[str, Any] | None:
    """A line of a metrics.jsonl; None if it is none."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_whole = isinstance(line, dict) and type(line.get("iteration")) is int and 0 <= line["iteration"] < 2**53
    return line if is_whole else None
