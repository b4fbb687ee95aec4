"""Which files of a fork are upstream's, told by the git blob ids of every version that upstream ever had."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources

NAME = "maskrcnn_benchmark"
VERSIONS = "upstream_versions.tsv"  # path, tab, blob ids with blanks between
# Names of operators are torch's: torch.ops.maskrcnn_benchmark, "maskrcnn_benchmark::nms", Library("maskrcnn_benchmark", ...).
_OURS = re.compile(r"""(?<!torch\.ops\.)(?<!Library\(["'])\bmaskrcnn_benchmark\b(?!::)""")


def renamed(text: str, package: str) -> str:
    """Our file's text where the package is called `package`; names of operators stay."""
    return text if package == NAME else _OURS.sub(package, text)


def blob_id(data: bytes) -> str:
    """What git calls a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@cache
def versions() -> dict[str, frozenset[str]]:
    """Blob ids by upstream's path."""
    text = resources.files(__package__).joinpath(VERSIONS).read_text()
    return {path: frozenset(ids.split()) for path, _, ids in (line.partition("\t") for line in text.splitlines())}


def path_of(path: str, package: str) -> str:
    """Upstream's name for a path of a fork whose package is called `package`."""
    first, _, rest = path.partition("/")
    return f"{NAME}/{rest}" if first == package else path


def same_as_upstream(path: str, data: bytes, package: str) -> bool:
    """Whether upstream's file of this path ever had this content; another file's content is a change of the fork's.

    Line ends, a mark of the encoding and the package's name are taken as upstream's.
    """
    plain = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    forms = {data, plain}
    if package != NAME:
        forms |= {form.replace(package.encode(), NAME.encode()) for form in (data, plain)}
    # An editor that adds or takes the last line end changes nothing.
    forms |= {form.rstrip(b"\n") + b"\n" for form in tuple(forms) if form.strip()}
    known = versions().get(path_of(path, package), frozenset())
    return any(blob_id(form) in known for form in forms)


def state(path: str, data: bytes, package: str) -> str:
    """ "upstream", "changed" (upstream has a file of this path) or "new".

    Args:
        path: below the fork's root, as in fcos_core/layers/nms.py or tools/train_net.py.
    """
    if not data.strip() and path.endswith("__init__.py"):
        return "upstream"
    if same_as_upstream(path, data, package):
        return "upstream"
    return "changed" if path_of(path, package) in versions() else "new"
