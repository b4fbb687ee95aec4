"""Weight files of some hundred bytes that ask for gigabytes, or for time without end, are refused in a moment."""

from __future__ import annotations

import io
import pickle
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.checkpoint import claims
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.checkpoint.pickles import load_pickle
from maskrcnn_benchmark.checkpoint.weights import check_contents, load_file

HUGE = b"J\xff\xff\xff\x7f"  # the number 2**31 - 1
COPIES = b"}\x8c\x01a](" + b"K\x01" * 200_000 + b"eq\x00(" + b"cbuiltins\nlist\nh\x00\x85R" * 500 + b"ls."


@pytest.fixture
def little_memory():
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def archive(folder: Path, data: bytes, records: tuple = (), compression: int = zipfile.ZIP_STORED) -> str:
    path = folder / "model.pth"
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in (("data.pkl", data), ("version", b"3\n"), ("byteorder", b"little"), *records):
            file.writestr(f"model/{name}", content)
    return str(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"}" + b"\x8c\x01a}" * 100_000 + b"s" * 100_000 + b".", "lie too deep in one another"),
        (b"}K\x00" + b"2\x86" * 60 + b"K\x01s.", "of 127 bytes, and would make more than 10,001,016 objects"),
        (COPIES, "and would make more than"),
        (b"}\x8c\x01acbuiltins\nbytearray\n" + HUGE + b"\x85Rs.", "asks for bytearray of a size alone"),
    ],
    ids=["deep", "tuples of tuples", "copies", "zeros"],
)
def test_pickles(tmp_path, little_memory, content, said):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        load_pickle(str(tmp_path / "a.pkl"))


@pytest.mark.parametrize(
    ("called", "kind"),
    [
        (b"builtins\nbytearray", "bytearray"),
        (b"torch.storage\nUntypedStorage", "UntypedStorage"),
        (b"torch\nFloatStorage", "FloatStorage"),
        (b"torch\nTensor", "Tensor"),
    ],
)
def test_what_is_made_of_a_size_alone(tmp_path, little_memory, called, kind):
    path = archive(tmp_path, b"\x80\x02}X\x01\x00\x00\x00ac" + called + b"\n" + HUGE + b"\x85Rs.")
    with pytest.raises(CheckpointError, match=f"asks for {kind} of a size alone"):
        load_file(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_more_numbers_than_the_file_has_bytes(tmp_path, little_memory, zipped):
    buffer = io.BytesIO()
    torch.save({"a.weight": torch.zeros(10)}, buffer, _use_new_zipfile_serialization=zipped)
    if zipped:
        data = zipfile.ZipFile(buffer).read("archive/data.pkl")
        path = archive(tmp_path, data.replace(b"K\n", HUGE, 1), (("data/0", bytes(40)),))
    else:
        path = str(tmp_path / "old.pth")
        Path(path).write_bytes(buffer.getvalue().replace(b"K\n", HUGE, 1))
    with pytest.raises(CheckpointError, match="says that it holds 2,147,483,647 numbers"):
        load_file(path)


def test_an_archive_that_unpacks_to_far_more(tmp_path, little_memory):
    path = archive(tmp_path, b"\x80\x02}.", (("data/0", bytes(100 << 20)),), zipfile.ZIP_DEFLATED)
    for read in (load_file, check_contents):
        with pytest.raises(CheckpointError, match="would be of 104,857,6.. bytes, and are .* compressed"):
            read(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_and_numpy_write_is_read(tmp_path, zipped):
    weights = {f"layer{i}.weight": torch.randn(8, 8) for i in range(50)}
    optimizer = torch.optim.AdamW([torch.nn.Parameter(w) for w in weights.values()])
    content = {"model": weights, "optimizer": optimizer.state_dict(), "names": ["a"] * 1000, "shared": [weights] * 3}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    loaded = load_file(str(tmp_path / "a.pth"))
    assert all((loaded["model"][name] == value).all() for name, value in weights.items())
    for protocol in range(6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": np.arange(1000), "b": ["x"] * 1000}, protocol))
        assert (load_pickle(str(tmp_path / "a.pkl"))["a"] == np.arange(1000)).all()


def test_an_object_in_many_places_counts_each_time():
    doubled = [0]
    for _ in range(30):
        doubled = [doubled, doubled]
    with pytest.raises(CheckpointError, match="would make more than"):
        claims.check_pickle(pickle.dumps(doubled), 1000)
    claims.check_pickle(pickle.dumps([doubled[0][0][0][0][0][0][0][0][0][0]]), 1000)  # a million of them
