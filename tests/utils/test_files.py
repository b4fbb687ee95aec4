import json

import pytest

from maskrcnn_benchmark.utils.files import write_atomically, write_json
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
