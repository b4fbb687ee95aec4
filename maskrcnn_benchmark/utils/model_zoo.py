"""Downloads of pre-trained weights, kept on disk.

Environment:
    MRB_MODELS: folder of the downloads; default: hub/checkpoints in TORCH_HOME, where torchvision keeps its own.
    MRB_MODEL_MIRROR: takes the place of scheme and host in every address; may end in a path, and may be file:///folder.
"""

import contextlib
import hashlib
import http.client
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import torch

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.utils.files import whole_file
from maskrcnn_benchmark.utils.progress_bar import progress_bar

TIMEOUT_S = 30.0
# Shorter ones are depths: R-50.pkl.
_CHECKSUM = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def cache_url(url: str, model_dir: str | None = None, progress: bool = True) -> str:
    """The path of the file at `url`, which is downloaded unless it is there already.

    Of several processes the first to come downloads, and the others wait for it; runs that share a folder do so too.

    Args:
        model_dir: folder of the file; see the top of this module for the default.
        progress: whether to show a bar.

    Raises:
        CheckpointError: it could not be had, or is not complete, or its SHA-256 is not the one in its name.
    """
    folder = model_dir or os.environ.get("MRB_MODELS") or os.path.join(torch.hub.get_dir(), "checkpoints")
    path = os.path.join(os.path.expanduser(folder), _file_name(url))
    if not os.path.isfile(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with _locked(f"{path}.lock"):
            if not os.path.isfile(path):
                _download(url, path, progress)
    return path


def _file_name(url: str) -> str:
    """The last part of the address if a checksum makes it unique, all of the path otherwise: most are model_final.pkl."""
    path = urlsplit(url).path
    name = path.rpartition("/")[2]
    return name if _CHECKSUM.search(name) else path.replace("/", "_")


def _mirrored(url: str) -> str:
    mirror = os.environ.get("MRB_MODEL_MIRROR", "").rstrip("/")
    if not mirror:
        return url
    parts = urlsplit(url)
    return mirror + parts.path + (f"?{parts.query}" if parts.query else "")


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold a file that one process at a time may hold; the system lets go of it if the process dies."""
    try:
        import fcntl
    except ImportError:  # no such lock here; the file still appears only when it is complete
        yield
        return
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(url: str, path: str, progress: bool) -> None:
    source = _mirrored(url)
    logging.getLogger(__name__).info("Downloading %s to %s", source, path)
    try:
        with whole_file(path, shared=True) as file:  # there are file systems without a common lock
            digest = _fetch(source, file, os.path.basename(path) if progress else None)
            expected = _CHECKSUM.search(os.path.basename(path))
            if expected and not digest.startswith(expected[1]):
                raise CheckpointError(
                    f"{source} is not the file it should be: its SHA-256 begins with {digest[:12]}, not with {expected[1]}."
                )
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise CheckpointError(
            f"Could not download {source} ({getattr(error, 'reason', None) or error}); bring the file to {path} by hand, "
            "name a mirror in the environment variable MRB_MODEL_MIRROR, or give MODEL.WEIGHT the path of a file."
        ) from None


def _fetch(source: str, file, label: str | None) -> str:
    """Copy what is at `source` to an open file; its SHA-256."""
    request = urllib.request.Request(source, headers={"User-Agent": "maskrcnn_benchmark"})
    digest = hashlib.sha256()
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        announced = response.headers.get("Content-Length")
        total = int(announced) if announced else None
        with progress_bar(total=total, unit="B", unit_scale=True, desc=label, disable=label is None) as bar:
            while block := response.read(1 << 20):
                file.write(block)
                digest.update(block)
                bar.update(len(block))
    received = file.tell()
    if total is not None and received != total:
        raise CheckpointError(f"{source} broke off after {received} of {total} bytes; start again to download it anew.")
    return digest.hexdigest()
