"""DOTA's and VisDrone's labels."""

import pytest
from PIL import Image

from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.catalog import annotations_of
from maskrcnn_benchmark.data.datasets.coco import COCODataset

VISDRONE = "684,8,273,116,0,0,0,0\n406,119,265,70,0,0,0,0\n255,22,119,128,1,4,0,0,\n1,3,209,78,1,11,0,0\n708,471,74,33,1,5,1,2\n"
DOTA = (
    "imagesource:GoogleEarth\ngsd:0.146343590398\n2753.0 2408.0 2861.0 2385.0 2888.0 2468.0 2805.0 2502.0 plane 0\n"
    "340 450 350 440 360 450 350 460 large-vehicle 1\n"
)


@pytest.fixture
def folder(tmp_path):
    def make(labels: str, content: str, size=(3000, 2600)):
        for name in ("images", labels):
            (tmp_path / name).mkdir()
        for name in "ab":
            Image.new("L", size).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / labels / "a.txt").write_text(content)
        (tmp_path / labels / "b.txt").write_text("")
        (tmp_path / labels / "c.txt").write_text(content)
        return tmp_path

    return make


def test_visdrone(folder):
    place = folder("annotations", VISDRONE)
    for path, images in ((place, ""), (place / "annotations", str(place / "images"))):
        assert formats.form_of(str(path)) == "visdrone"
        content = formats.read(str(path), images=images)
        names = content.names()
        found = [(names[a["category_id"]], a["bbox"]) for a in content.annotations]
        assert found == [("car", [255, 22, 119, 128]), ("van", [708, 471, 74, 33])]
        assert (len(names), names[10], len(content.images)) == (10, "motor", 2)
        assert content.notes.counts["regions to ignore and other objects, which have no class here"] == 3
        assert content.notes.counts["label files without an image, left out"] == 1
    (place / "annotations" / "a.txt").write_text("1,2,3,4,1,4,0,0\n1,2,3,4,1,44,0,0\n")
    with pytest.raises(ValueError, match="a.txt, line 2: a line is eight numbers, the sixth a class from 0 to 11"):
        formats.read(str(place))


@pytest.mark.parametrize("labels", ["labelTxt", "labelTxt-v1.5", "annfiles", "labels"])
def test_dota(folder, labels):
    place = folder(labels, DOTA)
    assert formats.form_of(str(place)) == "dota"
    content = formats.read(str(place))
    assert content.names() == {1: "large-vehicle", 2: "plane"} and len(content.images) == 2
    plane, vehicle = content.annotations
    assert plane["bbox"] == [2753, 2385, 135, 117] and plane["segmentation"] == [
        [2753, 2408, 2861, 2385, 2888, 2468, 2805, 2502]
    ]
    assert (vehicle["iscrowd"], vehicle["area"], plane["iscrowd"]) == (1, 200, 0)
    ann_file, root = annotations_of(str(place))
    assert len(COCODataset(ann_file, root, True)[0][1]) == 1
    (place / labels / "a.txt").write_text("1 2 3 4 5 6 7 8 plane 0\n1 2 3 4 5 6 7 plane 0\n")
    with pytest.raises(ValueError, match="a.txt, line 2: a line has four corners, a class and perhaps a number"):
        formats.read(str(place))


def test_what_is_read_alone_is_not_offered_for_writing():
    assert {"dota", "visdrone"} <= set(formats.FORMATS) and not {"dota", "visdrone"} & set(formats.written_forms())
