"""Detection in an archive with Ray Data, for who has a Ray cluster: https://docs.ray.io/en/latest/data/data.html

    python demo/with_ray.py --config-file FILE --weights FILE --input archive/ --out found --workers 4

Every worker holds a Predictor. `out` gets JSON lines, an image each: its path and COCO results. Without Ray `torchrun
tools/predict.py` does the same, and goes on after a kill.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import ray
import torch

from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.predict_files import find_inputs
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.engine.predictor_options import model_files, predictor_parser
from maskrcnn_benchmark.utils.video import is_video
from maskrcnn_benchmark.utils.wording import counted


class Detect:
    """Called with a batch of rows with "path"; adds "found", JSON of COCO results, and "error", a sentence or "".

    Args:
        arguments: of the Predictor, which every worker makes for itself.
    """

    def __init__(self, config: str, weights: str, arguments: dict[str, Any]):
        self.predictor = Predictor(config, weights, **arguments)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        found, errors = [], []
        for path in batch["path"].tolist():
            try:
                found.append(json.dumps(self.predictor.coco(self.predictor(path), path)))
                errors.append("")
            except BrokenImageError as error:
                found.append("[]")
                errors.append(str(error))
        return {"path": batch["path"], "found": np.array(found), "error": np.array(errors)}


def detect(
    paths: list[str], config: str, weights: str, workers: int, batch_size: int = 8, **arguments: Any
) -> ray.data.Dataset:
    """A data set of rows "path", "found" and "error", made when it is asked for."""
    rows = ray.data.from_items([{"path": os.path.abspath(path)} for path in paths])
    return rows.map_batches(
        Detect,
        fn_constructor_args=(os.path.abspath(config), os.path.abspath(weights), arguments),
        concurrency=workers,
        batch_size=batch_size,
        num_gpus=1 if torch.cuda.is_available() else 0,
    )


def main() -> None:
    parser = predictor_parser(__doc__)
    parser.add_argument("--input", nargs="+", required=True, metavar="NAME", help="pictures, folders, patterns")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for JSON lines")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="Predictors at work (default 1)")
    args = parser.parse_args()
    with command_line():
        paths = [path for path in find_inputs(args.input) if not is_video(path)]
        arguments = {"threshold": args.threshold, "classes": args.classes, "top_k": args.top_k, "opts": args.opts}
        done = detect(paths, *model_files(args), workers=args.workers, batch_size=args.batch_size or 8, **arguments)
        done.write_json(os.path.abspath(args.out))
        print(f"{counted(len(paths), 'picture')}: {args.out}")


if __name__ == "__main__":
    main()
