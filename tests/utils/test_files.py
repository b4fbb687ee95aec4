import errno
import json
import os
import resource

import pytest
import torch

from maskrcnn_benchmark.utils.files import (
    UnwritableError,
    check_folder,
    files_below,
    whole_file,
    write_atomically,
    write_json,
)
from maskrcnn_benchmark.utils.miscellaneous import mkdir


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def halfway(f) -> None:
        f.write(b"half")
        f.flush()
        assert path.read_text() == "before"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(str(path), halfway)
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and path.read_text() == "before"
    write_atomically(str(path), lambda f: f.write(b"after"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and path.read_text() == "after"


def test_folders_and_json(tmp_path):
    for _ in range(2):
        mkdir(str(tmp_path / "a" / "b"))
    write_json(str(tmp_path / "a" / "b" / "c.json"), {"x": [1, None]})
    assert json.loads((tmp_path / "a" / "b" / "c.json").read_text()) == {"x": [1, None]}


def test_two_who_write_one_file(tmp_path):
    """Of blocks that overlap in time, the one that ends last counts; the files of both are gone."""
    path = tmp_path / "file"
    with whole_file(str(path), "w", shared=True) as first:
        with whole_file(str(path), "w", shared=True) as second:
            first.write("first, " * 1000)
            second.write("zwölf")
        assert path.read_text(encoding="utf-8") == "zwölf"
    assert path.read_text() == "first, " * 1000 and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_oserror_whatever_the_writer_makes_of_it(tmp_path):
    """torch.save raises RuntimeError once its file cannot be written; the limit on the size of files stands for the disk."""
    path = tmp_path / "weights.pth"
    path.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"weights\.pth") as raised:
            write_atomically(str(path), lambda f: torch.save({"a": torch.zeros(1_000_000)}, f))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.errno == errno.EFBIG
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(RuntimeError, match="not of the disk"):
        write_atomically(str(path), lambda f: (_ for _ in ()).throw(RuntimeError("not of the disk")))


@pytest.mark.parametrize(("reason", "makes_room"), [("ENOSPC", 1), ("EDQUOT", 1), ("EACCES", 0), ("ENOENT", 0)])
def test_room_is_asked_for_where_it_lacks(reason, makes_room):
    error = UnwritableError(getattr(errno, reason), reason, "a.json")
    todo = "make room for it, or name another place" if makes_room else "name another place"
    assert str(error) == f"a.json cannot be written ({reason}): {todo}."


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match=r"there cannot be written \(Is a directory\): name another place\.$"):
        write_json(str(tmp_path / "there"), {})
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.txt").touch()
    assert files_below(str(tmp_path)) == [str(tmp_path / "a.txt")] and files_below(str(tmp_path / "none")) == []
    (tmp_path / "b.jpg").symlink_to("gone.jpg")  # is named where it cannot be read
    assert files_below(str(tmp_path)) == [str(tmp_path / "a.txt"), str(tmp_path / "b.jpg")]
    scan = os.scandir

    def refuse(path: str):
        if path.endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    with pytest.raises(OSError, match=r"The folder \S+locked cannot be read \(Permission denied\): make it readable"):
        files_below(str(tmp_path))


def test_a_folder_to_write_to_is_made_and_tried(tmp_path):
    check_folder(str(tmp_path / "new" / "one"), "OUTPUT_DIR")
    assert list((tmp_path / "new").rglob("*")) == [tmp_path / "new" / "one"]
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        with pytest.raises(
            OSError, match=rf"OUTPUT_DIR \S+{name} is no folder that can be written to: .*\. Name another"
        ):
            check_folder(str(tmp_path / name), "OUTPUT_DIR")
    with pytest.raises(OSError, match="is no folder that can be written to"):
        check_folder("/proc/self/runs", "OUTPUT_DIR")
    with pytest.raises(OSError, match="no name of a folder"):
        check_folder("a\0b", "OUTPUT_DIR")
    (tmp_path / "new" / "log.txt").mkdir()
    with pytest.raises(OSError, match=r"log\.txt is a folder"):
        check_folder(str(tmp_path / "new"), "OUTPUT_DIR", ["log.txt"])
