"""What some forms of annotations have to be told, as options of the commands that read them."""

import argparse
from typing import Any

OPTIONS = ("first_pixel", "attribute")  # in DATASETS.DEFINITIONS: FIRST_PIXEL, ATTRIBUTE


def add_form_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--first-pixel", type=int, choices=(0, 1), help="of VOC's files: the number of the first pixel (default: 1)"
    )
    parser.add_argument("--attribute", metavar="NAME", help="of VIA's files: the attribute that holds the class")


def form_options(args: argparse.Namespace) -> dict[str, Any]:
    """Those that were given."""
    return {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
