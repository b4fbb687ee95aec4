"""Make the data set Relations: generated scenes in which small objects need the rest of the image.

mrb scenes --out datasets/relations --preset demo --train 2000 --val 200
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from enl_paper.relations import CONTEXTS, PRESETS, ROLES, write_relations
from maskrcnn_benchmark.config.command_line import CommandParser

_SMALL = 32 * 32  # COCO's limit of a small object, pixels of mask
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="demo", help="kind of scenes (default: demo)")
    parser.add_argument("--train", type=int, default=2000, metavar="N", help="training images (default: 2000)")
    parser.add_argument("--val", type=int, default=200, metavar="M", help="validation images (default: 200)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, other scenes (default: 0)")
    parser.add_argument(
        "--context",
        choices=CONTEXTS,
        default="true",
        help="whether large objects tell the class of small ones; the others are controls",
    )
    parser.add_argument("--format", choices=("jpg", "png"), default="jpg", help="of the images (default: jpg)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="W", help="processes to use")
    parser.add_argument("--overwrite", action="store_true", help="replace Relations made with other parameters")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def summary(path: Path) -> str:
    """A table of what a split holds: per category its role, objects, crowds and share of small ones."""
    content = json.loads(path.read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    objects, small, crowds = Counter[str](), Counter[str](), Counter[str]()
    roles, small_roles = Counter[str](), Counter[str]()
    for annotation in content["annotations"]:
        name, role = names[annotation["category_id"]], annotation["role"]
        if annotation["iscrowd"]:
            crowds[name] += 1
            continue
        is_small = annotation["area"] < _SMALL
        objects[name] += 1
        roles[role] += 1
        small[name] += is_small
        small_roles[role] += is_small
    empty = len(content["images"]) - len({annotation["image_id"] for annotation in content["annotations"]})
    lines = [
        f"{path}: {len(content['images'])} images, {empty} without objects",
        f"  {'category':<12}{'role':<10}{'objects':>8}{'small':>8}{'crowds':>8}",
    ]
    for category in content["categories"]:
        name = category["name"]
        lines.append(
            f"  {name:<12}{category['role']:<10}{objects[name]:>8}{_share(small[name], objects[name]):>8}"
            f"{crowds[name]:>8}"
        )
    lines += [f"  {'all':<12}{role:<10}{roles[role]:>8}{_share(small_roles[role], roles[role]):>8}" for role in ROLES]
    total = sum(objects.values())
    lines.append(f"  {'all':<12}{'':<10}{total:>8}{_share(sum(small.values()), total):>8}{sum(crowds.values()):>8}")
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _reason(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {folder} is incomplete. Make room and run the same command again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"Cannot write to {error.filename or folder}: {error.strerror}. Choose another folder with --out."
    return f"Cannot write to {error.filename or folder}: {error.strerror or error}. Choose another folder with --out."


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    sizes = {split: size for split, size in (("train", options.train), ("val", options.val)) if size}
    try:
        if not sizes:
            raise ValueError("--train and --val are both 0: nothing to make")
        spec = dataclasses.replace(PRESETS[options.preset], context=options.context, image_format=options.format)
        written = write_relations(
            options.out, sizes, spec, options.seed, options.workers, not options.quiet, options.overwrite
        )
    except KeyboardInterrupt:
        print(f"\nInterrupted: {options.out} is incomplete. Run the same command to make the rest.", file=sys.stderr)
        return _INTERRUPTED
    except ValueError as error:
        hint = " (--overwrite)" if "overwritten" in str(error) else ""
        print(f"{error}{hint}", file=sys.stderr)
        return 1
    except OSError as error:
        print(_reason(error, options.out), file=sys.stderr)
        return 1
    for path in written.values():
        print(summary(path))
    return 0
