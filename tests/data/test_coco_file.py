"""An annotation file's index against json's own reading of it, and what is kept of it between starts."""

import json
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskrcnn_benchmark.data.datasets import COCODataset, coco_file
from maskrcnn_benchmark.data.datasets.coco import has_valid_annotation
from maskrcnn_benchmark.data.datasets.coco_file import CocoFile
from maskrcnn_benchmark.data.datasets.coco_index import DEFECTS, scan


def some_content(seed: int, images: int = 12, objects: int = 40, strings: bool = False) -> dict:
    """Entries in no order, with text of every width in UTF-8, some of them defective."""
    rng = random.Random(seed)
    ids = rng.sample(range(1000), images)
    name = (lambda i: f"é{i}") if strings else (lambda i: i)
    entries = [{"id": name(i), "file_name": f"ü😀{i}.jpg", "width": 40, "height": 30 + i % 3} for i in ids]
    annotations = []
    for k in range(objects):
        ann = {
            "id": k,
            "image_id": name(rng.choice([*ids, 1234] if rng.random() < 0.1 else ids)),
            "category_id": rng.choice([3, 9]),
            "bbox": [
                rng.uniform(-9, 44),
                rng.uniform(-9, 30),
                rng.choice([0.5, 0, -1, 8, 20.25]),
                rng.choice([1, 2, 9]),
            ],
            "iscrowd": int(rng.random() < 0.2),
            "note": rng.choice(["", 'a"}],[{', "漢字\\"]),
        }
        if rng.random() < 0.8:
            ann["segmentation"] = [[1, 2, 3.5, 4, 5, 6]]
        if rng.random() < 0.6:
            ann["keypoints"] = [rng.choice([0, 1, 2]) for _ in range(3 * 17)]
        annotations.append(ann)
    categories = [{"id": 9, "name": "späte"}, {"id": 3, "name": "a"}]
    parts = [("info", {"x": [1, {"images": []}]}), ("images", entries), ("annotations", annotations)]
    parts.append(("categories", categories))
    rng.shuffle(parts)
    return dict(parts)


def naive_defect(ann: dict, sizes: dict) -> str | None:
    if ann["image_id"] not in sizes:
        return "unknown image"
    (height, width), (x, y, w, h) = sizes[ann["image_id"]], ann["bbox"]
    if w <= 0 or h <= 0:
        return "zero or negative size"
    return "outside the image" if x >= width or y >= height or x + w <= 0 or y + h <= 0 else None


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([None, 1]), st.booleans())
@settings(deadline=None, max_examples=40)
def test_the_index_is_what_json_reads(tmp_path_factory, seed, strings, indent, escaped):
    content = some_content(seed, strings=strings)
    path = tmp_path_factory.mktemp("set") / "set.json"
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=escaped), encoding="utf-8")
    file = CocoFile(str(path))
    index = file.index
    entries = sorted(content["images"], key=lambda e: e["id"])
    assert index.image_ids.tolist() == [e["id"] for e in entries]
    sizes = {e["id"]: (e["height"], e["width"]) for e in entries}
    defects = [naive_defect(a, sizes) for a in content["annotations"]]
    assert [(i, DEFECTS[d]) for i, d in index.dropped.tolist()] == [(i, d) for i, d in enumerate(defects) if d]
    usable = [a for a, d in zip(content["annotations"], defects, strict=True) if d is None]
    for row, entry in enumerate(entries):
        assert file.image(row) == entry and index.row(entry["id"]) == row
        assert tuple(index.image_sizes[row]) == sizes[entry["id"]]
        mine = [a for a in usable if a["image_id"] == entry["id"]]
        assert file.annotations(row) == mine
        here = slice(*index.first[row : row + 2])
        assert index.labels[here].tolist() == [{3: 1, 9: 2}[a["category_id"]] for a in mine]
        assert index.crowd[here].tolist() == [bool(a["iscrowd"]) for a in mine]
        if not mine or "keypoints" not in mine[0]:
            assert index.trainable[row] == has_valid_annotation([{"bbox": a["bbox"]} for a in mine])
        else:
            full = [{"keypoints": [], **a} for a in mine]
            assert index.trainable[row] == has_valid_annotation(full)
    masked = ["segmentation" in a for a in usable if not a["iscrowd"]]
    assert index.meta["has_masks"] == any(masked) and index.meta["masks"][0] == masked.count(False)
    assert index.row("none") is None and index.row(-1) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a JSON file: Expecting value"),
        ("[1, 2", "is not a JSON file"),
        (
            '{"images": [{"id": ' + "9" * 5000 + "}]}",
            "is not a JSON file: it holds a whole number of more than 4,300 digits",
        ),
        (
            '{"images": [], "info": ' + "9" * 5000 + "}",
            "is not a JSON file: it holds a whole number of more than 4,300 digits",
        ),
        (
            '{"images": [], "categories": [{"id": 3, "name": "a\\ud800"}]}',
            r"the name of category 3, 'a\\ud800', holds half of a character",
        ),
        ("[]", "is not in COCO format: it has no images and no categories"),
        ('{"images": [], "categories": []} x', "is not a JSON file: Extra data"),
        ('{"images": [{"id": 1} {"id": 2}]}', "is not a JSON file: Expecting ',' delimiter"),
        ('{"images": [{"id": 1},]}', "is not a JSON file"),
        ('{"images" []}', "is not a JSON file"),
        ('{"images": {}, "categories": []}', '"images" is no list'),
        ('{"images": [{"x": 1}, null], "categories": []}', 'none of its 2 "images" has an "id"'),
        ('{"images": [{"id": [1]}], "categories": []}', 'none of its 1 "images" has an "id"'),
        ('{"images": [], "categories": ' + "[" * 100_000, "lie too deep in one another"),
        ('{"images": [{"id": 1}, {"id": "a"}], "categories": []}', r"all integers or all strings.*\['int', 'str'\]"),
        ('{"images": [], "categories": [3]}', 'every entry of "categories" must have an "id" and a "name"'),
        ('{"images": [], "annotations": {"1": {}}, "categories": []}', '"annotations" is no list'),
        (
            '{"images": [{"id": 4, "width": 1e6, "height": 1e6}], "categories": []}',
            "image 4 .* 1000000 x 1000000 pixels, more",
        ),
    ],
)
def test_what_is_no_annotation_file(text, sentence):
    with pytest.raises(ValueError, match=f"^set.json.*{sentence}"):
        scan(text.encode(), "set.json")
    with pytest.raises(ValueError, match="set.json is not a JSON file: 'utf-8' codec"):
        scan(b"\xff", "set.json")


def test_of_entries_with_one_name_or_id_the_last_counts():
    image = {"id": 1, "height": 5, "width": 6}
    text = '{"images": [{"id": 7}], "categories": [], "images": ' + json.dumps([{**image, "height": 9}, image]) + "}"
    index = scan(text.encode(), "set.json")
    assert index.image_ids.tolist() == [1] and index.image_sizes.tolist() == [[5, 6]]


@pytest.fixture
def big(tmp_path, monkeypatch):
    """A file that counts as large and old: its path, and a count of how often it was indexed."""
    monkeypatch.setattr(coco_file, "MIN_BYTES_KEPT", 0)
    count = []
    monkeypatch.setattr(coco_file, "scan", lambda *args: count.append(1) or scan(*args))
    path = tmp_path / "set.json"
    write(path, some_content(0))
    return path, count


def write(path: Path, content: dict, age: float = 60) -> None:
    path.write_text(json.dumps(content))
    os.utime(path, (time.time() - age,) * 2)


def same(a: CocoFile, b: CocoFile) -> bool:
    keys = [k for k in vars(a.index) if k != "meta"]
    return a.index.meta == b.index.meta and all(np.array_equal(getattr(a.index, k), getattr(b.index, k)) for k in keys)


def test_the_index_is_kept_and_used(big, tmp_path):
    path, count = big
    folder = tmp_path / "made" / "here"
    first, second, without = CocoFile(str(path), str(folder)), CocoFile(str(path), str(folder)), CocoFile(str(path))
    assert len(count) == 2 and same(first, second) and same(first, without)
    assert not list(folder.glob("*.partial"))


def test_a_changed_file_is_indexed_anew(big, tmp_path):
    path, count = big
    CocoFile(str(path), str(tmp_path / "kept"))
    write(path, some_content(0), age=30)  # the same bytes at another time
    CocoFile(str(path), str(tmp_path / "kept"))
    write(path, some_content(1), age=30)
    changed = CocoFile(str(path), str(tmp_path / "kept"))
    assert len(count) == 3 and same(changed, CocoFile(str(path)))
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 1  # the old one is replaced
    write(path, some_content(2), age=0)  # so new that it might change unseen: nothing is kept
    CocoFile(str(path), str(tmp_path / "kept"))
    CocoFile(str(path), str(tmp_path / "kept"))
    assert len(count) == 6


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nonsense", None])
def test_a_damaged_index_is_made_anew(big, tmp_path, damage, log):
    path, count = big
    whole = CocoFile(str(path), str(tmp_path / "kept"))
    (kept,) = (tmp_path / "kept").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:-100] if damage is None else damage)
    assert same(whole, CocoFile(str(path), str(tmp_path / "kept"))) and len(count) == 2
    assert any("cannot be used" in r.getMessage() for r in log.records)
    CocoFile(str(path), str(tmp_path / "kept"))
    assert len(count) == 2


def test_a_folder_that_cannot_be_written_is_no_error(big, tmp_path):
    path, count = big
    (tmp_path / "file").write_text("in the way")
    assert same(CocoFile(str(path), str(tmp_path / "file")), CocoFile(str(path), str(tmp_path / "file" / "below")))
    assert len(count) == 2 and (tmp_path / "file").read_text() == "in the way"


def test_small_files_leave_nothing_behind(tmp_path):
    write(tmp_path / "set.json", some_content(0))
    CocoFile(str(tmp_path / "set.json"), str(tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()


def test_of_processes_that_start_together_one_makes_the_index(tmp_path):
    path = tmp_path / "set.json"
    write(path, some_content(0, images=300, objects=20_000))
    program = (
        "import sys, time\n"
        "from maskrcnn_benchmark.data.datasets import coco_file\n"
        "coco_file.MIN_BYTES_KEPT = 0\n"
        "scan = coco_file.scan\n"
        "coco_file.scan = lambda *args: (print('scan'), scan(*args))[1]\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "index = coco_file.CocoFile(*sys.argv[1:]).index\n"
        "print(len(index.spans), index.spans.sum())\n"
    )
    command = [sys.executable, "-c", program, str(path), str(tmp_path / "kept")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [p.stdout.readline() for p in processes] == ["ready\n"] * 2
    for p in processes:
        p.stdin.write("go\n")
        p.stdin.flush()
    said = [p.communicate()[0].split("\n") for p in processes]
    assert sum(lines.count("scan") for lines in said) == 1
    assert said[0][-2] == said[1][-2]


def test_a_change_during_the_run(tmp_path):
    path = tmp_path / "set.json"
    write(path, some_content(0))
    file = CocoFile(str(path))
    first, content = file.image(0), file.annotations(3)
    replacement = tmp_path / "new.json"
    write(replacement, some_content(1))
    os.replace(replacement, path)  # as `mv` does: what was opened stays
    assert file.image(0) == first and file.annotations(3) == content
    path.unlink()
    assert file.image(0) == first

    write(path, some_content(0))
    file = CocoFile(str(path))
    write(path, some_content(1, images=30))  # as `cp` does: what was opened is overwritten
    with pytest.raises(ValueError, match="set.json was changed while it was in use"):
        for row in range(12):
            file.annotations(row)
    with pytest.raises(ValueError, match="set.json was changed while it was in use"):
        file.check_count(3)
    sent = pickle.dumps(file)
    write(path, some_content(2, images=40))
    with pytest.raises(ValueError, match="set.json was changed while it was in use"):
        pickle.loads(sent)


def test_a_data_set_travels_to_another_process(tmp_path):
    write(tmp_path / "set.json", some_content(0))
    dataset = COCODataset(str(tmp_path / "set.json"), str(tmp_path), False)
    sent = pickle.loads(pickle.dumps(dataset))
    assert [sent.get_img_info(i) for i in range(12)] == [dataset.get_img_info(i) for i in range(12)]
    assert [len(sent._target(i, (40, 30))) for i in sent.ids] == [len(dataset._target(i, (40, 30))) for i in sent.ids]


def test_the_whole_tree_is_made_when_asked_for(tmp_path):
    write(tmp_path / "set.json", some_content(0))
    dataset = COCODataset(str(tmp_path / "set.json"), str(tmp_path), False)
    read = {i: dataset._annotations(i) for i in dataset.ids}
    assert dataset._coco is None
    added = ("id", "area", "num_keypoints")  # what evaluation needs
    whole = {
        i: [{k: v for k, v in a.items() if k not in added} for a in dataset.coco.imgToAnns.get(i, [])]
        for i in dataset.ids
    }
    read = {i: [{k: v for k, v in a.items() if k not in added} for a in of_image] for i, of_image in read.items()}
    assert whole == read  # without those that were dropped
    dataset.coco.imgToAnns[dataset.ids[0]] = []
    assert dataset._annotations(dataset.ids[0]) == [] and dataset.get_img_info(1) is dataset.coco.imgs[dataset.ids[1]]


def test_sizes_of_images(tmp_path):
    content = some_content(0)
    write(tmp_path / "set.json", content)
    dataset = COCODataset(str(tmp_path / "set.json"), str(tmp_path), True)
    infos = [dataset.get_img_info(i) for i in range(len(dataset))]
    assert dataset.image_sizes().tolist() == [[i["height"], i["width"]] for i in infos]
    # An image whose entry has no size: its file's counts, and 1 x 1 where that cannot be read either.
    for file, size in (("a.png", [21, 33]), ("missing.png", [1, 1])):
        Image.new("RGB", (33, 21)).save(tmp_path / "a.png")
        entry = content["images"][0]
        entry["file_name"] = file
        entry.pop("height", None)
        write(tmp_path / "set.json", content)
        dataset = COCODataset(str(tmp_path / "set.json"), str(tmp_path), False)
        assert dataset.image_sizes()[dataset.ids.index(entry["id"])].tolist() == size
