import json
import os
from collections.abc import Callable, Iterable
from typing import IO, Any

from maskrcnn_benchmark.utils.comm import is_main_process


def mkdir(path: str) -> None:
    os.makedirs(path, exist_ok=True)


def write_atomically(path: str, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a file that appears under its name only when it is complete and on the disk."""
    partial = f"{path}.partial"
    try:
        with open(partial, "wb") as f:
            write(f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise


def write_text(path: str, text: str) -> None:
    write_atomically(path, lambda f: f.write(text.encode()))


def write_json(path: str, content: Any) -> None:
    write_text(path, json.dumps(content))


def save_config(cfg, path: str) -> None:
    if is_main_process():
        write_atomically(path, lambda f: f.write(cfg.dump().encode()))


def save_labels(dataset_list: Iterable[Any], output_dir: str) -> None:
    """Write the label names of the data sets that have them, as labels.json."""
    if is_main_process():
        names = {type(d).__name__: d.class_names() for d in dataset_list if hasattr(d, "class_names")}
        if names:
            write_json(os.path.join(output_dir, "labels.json"), names)
