"""What the command lines that predict share: which model, and what of its detections counts."""

import os
from argparse import ArgumentParser, Namespace
from typing import Any

from maskrcnn_benchmark.config.command_line import KeyParser
from maskrcnn_benchmark.engine.command_line import argument_parser
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.utils import shipped


def shipped_model() -> tuple[str, str]:
    """Configuration and weights of the model that comes with the package. Raises FileNotFoundError."""
    config, weights = (str(shipped.MODEL.with_suffix(ending)) for ending in (".yaml", ".pth"))
    for path in (config, weights):
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"No model was named, and the one that comes with the package, {path}, is not there: name a configuration "
                "and its weights."
            )
    return config, weights


def add_weights(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--ckpt",
        "--weights",
        default="",
        metavar="FILE",
        help="weights (default: the last checkpoint in OUTPUT_DIR, or MODEL.WEIGHT; without --config-file the model that comes "
        "with the package)",
    )


def predictor_parser(description: str | None) -> KeyParser:
    """The options of `make_predictor`."""
    parser = argument_parser(description)
    add_weights(parser)
    parser.add_argument("--threshold", type=float, default=0.5, help="least score of a detection (0.5)")
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="only these: names, or ids of the data set")
    parser.add_argument("--top-k", type=int, metavar="N", help="at most so many detections in a picture, the best")
    parser.add_argument("--batch-size", type=int, metavar="N", help="pictures that go through the model together")
    return parser


def model_files(args: Namespace) -> tuple[str, str]:
    """Configuration and weights (perhaps empty) that a command line names, or the package's model."""
    if not args.config_file and not args.ckpt:
        return shipped_model()
    return args.config_file or _only_config(args.ckpt), args.ckpt


def make_predictor(args: Namespace, **options: Any) -> Predictor:
    """A predictor of the configuration, weights and changes that a command line names, or of the repository's model."""
    config, weights = model_files(args)
    return Predictor(config, weights, opts=args.opts, **options)


def _only_config(weights: str) -> str:
    """The configuration beside weights that were named alone: NAME.yaml, or a training's config.yml."""
    beside = (f"{os.path.splitext(weights)[0]}.yaml", os.path.join(os.path.dirname(weights), "config.yml"))
    found = next((path for path in beside if os.path.isfile(path)), None)
    if found is None:
        raise FileNotFoundError(
            f"{weights} was named without --config-file, and there is neither {' nor '.join(beside)}."
        )
    return found
