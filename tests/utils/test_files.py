import json

import pytest

from maskrcnn_benchmark.utils.files import whole_file, write_atomically, write_json
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
