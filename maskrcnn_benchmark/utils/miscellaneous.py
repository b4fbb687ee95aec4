import os
from collections.abc import Iterable
from typing import Any

from maskrcnn_benchmark.utils.distributed import is_main_process
from maskrcnn_benchmark.utils.files import write_atomically, write_json


def mkdir(path: str) -> None:
    os.makedirs(path, exist_ok=True)


def save_config(cfg, path: str) -> None:
    if is_main_process():
        write_atomically(path, lambda f: f.write(cfg.dump().encode()))


def save_labels(dataset_list: Iterable[Any], output_dir: str) -> None:
    """Write labels.json: the names of the data sets' categories by the ids that the data sets give them."""
    from maskrcnn_benchmark.data.datasets.facts import category_names  # data/build.py imports this module

    if is_main_process():
        names = {id: name for dataset in dataset_list for id, name in category_names(dataset).items()}
        if names:
            mkdir(output_dir)
            write_json(os.path.join(output_dir, "labels.json"), names)
