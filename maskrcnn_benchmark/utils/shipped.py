"""The files that come with the package: configurations, a small trained model, an image to try it on.

In a checkout they lie in `configs` and `demo`; a wheel carries the same folders inside the package (setup.py copies them).
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE if (PACKAGE / "configs").is_dir() else PACKAGE.parent
CONFIGS = ROOT / "configs"
MODEL = ROOT / "demo" / "models" / "relations_enl"  # .yaml, .pth
IMAGE = ROOT / "demo" / "pictures" / "scene.jpg"  # of what that model detects
ENDINGS = ("", ".yaml", ".yml")


def config_names() -> list[str]:
    """Names of all configurations of the package, like "enl/faster_rcnn_R_50_FPN_3enl_td"."""
    return sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))


def name_of(path: str) -> str:
    """A name by which `find_config` finds one of the package's files anywhere; any other path made absolute."""
    absolute = Path(path).absolute()
    for folder in (CONFIGS, ROOT):
        if absolute.is_relative_to(folder):
            return absolute.relative_to(folder).as_posix()
    return str(absolute)


def find_config(name: str | os.PathLike[str]) -> str:
    """The file that a name of a configuration stands for.

    A file in the working directory comes first, with or without its ending, also below `configs`. Then come the
    package's own, and that of its model, "demo/models/relations_enl".

    Raises:
        FileNotFoundError: there is neither; the message names the nearest configurations of the package.
    """
    name = os.fspath(name)
    for folder in ("", "configs", str(CONFIGS), str(ROOT)):
        for ending in ENDINGS:
            path = os.path.join(folder, name + ending)
            if name and os.path.isfile(path):
                return path
    known = config_names()
    stem = os.path.splitext(name.removeprefix("configs/"))[0]
    near = difflib.get_close_matches(stem, known, n=2) or [
        known_name
        for known_name in known
        if difflib.get_close_matches(os.path.basename(stem), [os.path.basename(known_name)], n=1, cutoff=0.8)
    ]
    hint = f" Did you mean {' or '.join(near[:2])}?" if near else " `mrb suggest` writes one for a data set."
    raise FileNotFoundError(
        f"There is no configuration file {name!r} (current directory: {os.getcwd()}), and none of that name comes with the "
        f"package.{hint}"
    )
