"""What is lost from form to form is said, and what need not be is kept; files that are not what they seem to be."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from PIL import Image

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data import formats
from tests.data.formats.test_exports import BOX, HEIGHT, LINE, WIDTH, boxes, coco, image, text

CONVERT = Path(__file__).parents[3] / "tools" / "convert.py"
SUGGEST = CONVERT.with_name("suggest_config.py")


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("filename,width,height,class,x,y,w,h", "a.jpg,200,100,car,20,10,40,20"),
        ("filename,width,height,class,x_center,y_center,w,h", "a.jpg,200,100,car,40,20,40,20"),
        ("filename,class,bbox_x,bbox_y,bbox_w,bbox_h,width,height", "a.jpg,car,20,10,40,20,200,100"),
        ("filename,x,y,width,height,class", "a.jpg,20,10,40,20,car"),
    ],
)
def test_the_size_of_the_image_in_a_table_is_not_that_of_the_box(tmp_path, header, row):
    image(tmp_path / "a.jpg")
    assert boxes(formats.read(str(text(tmp_path / "t.csv", f"{header}\n{row}\n")))) == [BOX]


def test_a_table_without_the_size_of_its_boxes(tmp_path):
    image(tmp_path / "a.jpg")
    table = text(tmp_path / "t.csv", "filename,width,height,class,x,y\na.jpg,200,100,car,20,10\n")
    with pytest.raises(ValueError, match="line 2: a box of the image's size, 200 x 100, begins inside it"):
        formats.read(str(table))
    whole = text(tmp_path / "u.csv", "filename,width,height,class,x,y\na.jpg,200,100,car,0,0\n")
    assert boxes(formats.read(str(whole))) == [[0, 0, WIDTH, HEIGHT]]


def test_images_of_another_size_than_a_coco_file_says(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        image(tmp_path / name)
    ann_file = coco(tmp_path / "set.json", ["a.jpg", "b.jpg"])
    content = json.loads(ann_file.read_text())
    content["images"][0]["width"] = WIDTH // 2
    ann_file.write_text(json.dumps(content))
    found = formats.read(str(ann_file))
    assert [i["file_name"] for i in found.images] == ["b.jpg"] and len(found.annotations) == 1
    (said,) = found.notes.sentences()
    assert (
        said.startswith("images whose size is not the one that the file says, left out: 1") and "is 200 x 100" in said
    )
    content["images"][1]["height"] = 7
    ann_file.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match="image 1: the image a.jpg is 200 x 100 pixels .* annotations are of 100 x 100"
    ):
        formats.read(str(ann_file))


@pytest.fixture
def lvis(tmp_path) -> dict:
    image(tmp_path / "val2017" / "a.jpg")
    content = {
        "info": {"year": 2020},
        "licenses": [{"id": 1}],
        "images": [
            {
                "id": 77, "coco_url": "http://images/val2017/a.jpg", "width": WIDTH, "height": HEIGHT,
                "neg_category_ids": [900], "not_exhaustive_category_ids": [30],
            }
        ],
        "categories": [{"id": 30, "name": "car", "frequency": "r"}, {"id": 900, "name": "bus", "frequency": "c"}],
        "annotations": [{"id": 500, "image_id": 77, "category_id": 900, "bbox": BOX, "area": 700, "iscrowd": 0}],
    }  # fmt: skip
    text(tmp_path / "lvis.json", json.dumps(content))
    return content


@pytest.mark.parametrize("form", ["lvis", "coco"])
def test_a_file_keeps_its_ids_and_what_else_it_says(tmp_path, lvis, form):
    content = formats.read(str(tmp_path / "lvis.json"))
    assert [a["category_id"] for a in content.annotations] == [2]  # labels are without gaps for all other forms
    written = json.loads(Path(formats.write(content, form, str(tmp_path / "out.json"))).read_text())
    expected = {**lvis, "images": [{**lvis["images"][0], "file_name": "val2017/a.jpg"}]}
    assert written == expected
    chosen = formats.read(str(tmp_path / "lvis.json"), classes=["bus"])  # other classes are another set
    written = json.loads(Path(formats.write(chosen, form, str(tmp_path / "own.json"))).read_text())
    assert [c["name"] for c in written["categories"]] == ["bus"] and written["annotations"][0]["category_id"] == 1


def test_the_list_of_classes(tmp_path):
    """VOC's has a file of them; where a form has no place for it, the loss is said, and only then."""
    image(tmp_path / "a.jpg")
    ann_file = coco(tmp_path / "set.json", ["a.jpg"], categories=("truck", "car"))  # car has no object
    for form in ("voc", "labelme", "via", "csv"):
        content = formats.read(str(ann_file))
        out = formats.write(content, form, str(tmp_path / form))
        said = [s for s in content.notes.sentences() if s.startswith("the list of classes, without which")]
        again = formats.read(out, images=str(tmp_path))
        if form == "voc":
            assert not said and list(again.names().values()) == ["truck", "car"]
        else:
            assert said[0].endswith("first truck, car") and list(again.names().values()) == ["truck"]
            again = formats.read(out, images=str(tmp_path), classes=["truck", "car"])
            formats.write(again, form, str(tmp_path / "again"))
    one = formats.read(str(coco(tmp_path / "one.json", ["a.jpg"])))
    formats.write(one, "csv", str(tmp_path / "one.csv"))
    assert not one.notes.counts


def test_a_file_of_class_names_that_lacks_some_is_left_aside(tmp_path):
    image(tmp_path / "a.jpg")
    formats.write(formats.read(str(coco(tmp_path / "set.json", ["a.jpg"]))), "voc", str(tmp_path / "voc"))
    text(tmp_path / "voc" / "classes.txt", "dog\nperson\n")
    found = formats.read(str(tmp_path / "voc"), images=str(tmp_path))
    assert found.names() == {1: "car"}
    assert found.notes.counts["names of classes that the file of them lacks; it is left aside"] == 1
    text(tmp_path / "voc" / "classes.txt", "car\ncar\n")
    found = formats.read(str(tmp_path / "voc"), images=str(tmp_path))
    assert found.names() == {1: "car"}
    assert found.notes.counts["files of class names that are none, left aside"] == 1


def test_voc_boxes_that_leave_the_image_at_its_far_sides(tmp_path):
    image(tmp_path / "a.jpg")
    box = "<xmin>181</xmin><ymin>91</ymin><xmax>230</xmax><ymax>100</ymax>"
    text(tmp_path / "a.xml", f"<annotation><object><name>car</name><bndbox>{box}</bndbox></object></annotation>")
    found = formats.read(str(tmp_path))
    assert boxes(found) == [[180, 90, 20, 10]]
    assert found.notes.counts["boxes that leave the image, cut at its border"] == 1


def test_a_folder_of_labels_alone(tmp_path, run_program):
    image(tmp_path / "images" / "a.jpg")
    text(tmp_path / "labels" / "a.txt", LINE)
    labels, images = str(tmp_path / "labels"), str(tmp_path / "images")
    assert formats.form_of(labels) == "yolo"
    assert boxes(formats.read(labels, images=images)) == [BOX]
    with pytest.raises(FileNotFoundError, match="has no images. Name their folder: --img-dir, or IMG_DIR"):
        formats.read(labels)
    arguments = [labels, "--img-dir", images, "--classes", "car", "--to", "coco", "--out", str(tmp_path / "o.json")]
    assert run_program(CONVERT, *arguments)[0] == 0  # as in the command's help


def test_versions_of_labels_side_by_side(tmp_path):
    Image.new("L", (500, 500)).save(tmp_path / "a.png")
    for version in ("1.0", "1.5"):
        text(tmp_path / f"labelTxt-v{version}" / "a.txt", "10 10 20 10 20 20 10 20 plane 0\n")
    assert formats.form_of(str(tmp_path)) == "dota"
    with pytest.raises(ValueError, match="several folders of labels, labelTxt-v1.0, labelTxt-v1.5: name one of them"):
        formats.read(str(tmp_path))
    assert boxes(formats.read(str(tmp_path / "labelTxt-v1.5"), images=str(tmp_path))) == [[10, 10, 10, 10]]


def test_the_table_of_vias_first_version(tmp_path):
    image(tmp_path / "a.jpg")
    shape = '"{""name"":""rect"",""x"":20,""y"":10,""width"":40,""height"":20}"'
    header = "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    table = text(tmp_path / "via.csv", f'{header}\na.jpg,1,"{{}}",1,0,{shape},"{{""name"":""car""}}"\n')
    found = formats.read(str(table))
    assert formats.form_of(str(table)) == "via" and (boxes(found), found.names()) == ([BOX], {1: "car"})


@pytest.mark.parametrize("train", ["/content/colab/images", "C:\\data\\colab\\images", ".\\images", "images/"])
def test_a_data_yaml_of_another_machine(tmp_path, train):
    image(tmp_path / "images" / "a.jpg")
    text(tmp_path / "labels" / "a.txt", LINE)
    described = text(tmp_path / "data.yaml", json.dumps({"train": train, "names": ["car"]}))
    assert boxes(formats.read(str(described))) == [BOX]
    (tmp_path / "images").rename(tmp_path / "pictures")
    assert boxes(formats.read(str(described), images=str(tmp_path / "pictures"))) == [BOX]
    with pytest.raises(
        FileNotFoundError, match="of its split 'train' below .* name the folder of the images: --img-dir"
    ):
        formats.read(str(described))


def test_folders_of_several_splits_are_not_taken_for_one_another(tmp_path):
    for split in ("train", "valid"):
        image(tmp_path / split / "images" / f"{split}.jpg")
        text(tmp_path / split / "labels" / f"{split}.txt", LINE)
    paths = {"train": "/content/train/images", "val": "/content/valid/images", "names": ["car"]}
    described = text(tmp_path / "data.yaml", json.dumps(paths))
    found = [formats.read(str(described), split=split).images[0]["file_name"] for split in ("train", "val")]
    assert found == ["train.jpg", "valid.jpg"]
    (tmp_path / "train").rename(tmp_path / "images")
    text(tmp_path / "data.yaml", json.dumps({**paths, "train": "/a/images", "val": "/b/images"}))
    with pytest.raises(FileNotFoundError, match="there is no '/a/images' of its split 'train'"):
        formats.read(str(described), split="train")  # /b/images would be the same folder


@pytest.mark.parametrize("content", ['{"images": [{"id": 1', "", "[" * 100_000])
def test_a_file_that_is_no_json_says_where(tmp_path, content):
    with pytest.raises(ValueError, match="set.json is not a JSON file: "):
        formats.form_of(str(text(tmp_path / "set.json", content)))


def labelme(path: Path, points: list, mask: np.ndarray, named: str = "a.jpg") -> Path:
    with io.BytesIO() as file:
        Image.fromarray(mask).save(file, format="PNG")
        shape = {
            "label": "car",
            "points": points,
            "shape_type": "mask",
            "mask": base64.b64encode(file.getvalue()).decode(),
        }
    return text(path, json.dumps({"shapes": [shape], "imagePath": named, "imageWidth": WIDTH, "imageHeight": HEIGHT}))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[190.6, 90.6], [209.6, 109.6]], [191, 91, 9, 9]),
        ([[-5, -3], [14, 16]], [0, 0, 15, 17]),
        ([[180, 80], [199, 99]], [180, 80, 20, 20]),
        ([[300, 80], [319, 99]], None),
    ],
)
def test_masks_that_leave_the_image_are_cut(tmp_path, points, expected):
    image(tmp_path / "a.jpg")
    found = formats.read(str(labelme(tmp_path / "a.json", points, np.full((20, 20), 255, np.uint8))))
    assert boxes(found) == ([expected] if expected else [])
    is_cut = expected is None or expected[2:] != [20, 20]
    assert found.notes.counts["masks that leave the image, cut at its border"] == is_cut
    if expected:
        assert mask_utils.area(found.annotations[0]["segmentation"]) == expected[2] * expected[3]


def test_a_file_that_names_itself_as_its_image(tmp_path):
    image(tmp_path / "a.jpg")
    named = labelme(tmp_path / "a.json", [[0, 0], [9, 9]], np.full((10, 10), 255, np.uint8), named="a.json")
    assert [i["file_name"] for i in formats.read(str(named)).images] == ["a.jpg"]


def test_boxes_of_a_negative_size(tmp_path):
    image(tmp_path / "images" / "a.jpg")
    text(tmp_path / "labels" / "a.txt", f"0 0.5 0.5 -0.1 0.2\n{LINE}")
    found = formats.read(str(tmp_path))
    assert boxes(found) == [BOX]
    assert found.notes.counts["boxes of a negative width or height, left out"] == 1


def test_what_a_form_has_to_be_told_is_an_option_of_each_command(tmp_path, run_program):
    image(tmp_path / "a.jpg")
    box = "<xmin>0</xmin><ymin>10</ymin><xmax>39</xmax><ymax>29</ymax>"
    text(tmp_path / "a.xml", f"<annotation><object><name>car</name><bndbox>{box}</bndbox></object></annotation>")
    out, config = tmp_path / "o.json", tmp_path / "car.yaml"
    told = [str(tmp_path), "--first-pixel", "0"]
    assert run_program(CONVERT, *told, "--to", "coco", "--out", str(out))[0] == 0
    assert json.loads(out.read_text())["annotations"][0]["bbox"] == [0, *BOX[1:]]
    assert run_program(SUGGEST, *told, "--form", "voc", "--no-test", "--out", str(config))[0] == 0
    assert "FIRST_PIXEL: 0" in config.read_text()
    code, said = run_program(CONVERT.with_name("check_dataset.py"), "--config-file", str(config))
    assert "corners before the first pixel" not in said and "objects: 1" in said
    with pytest.raises(
        ConfigError, match="does not fit its form, yolo: got an unexpected keyword argument 'first_pixel'"
    ):
        formats.read(str(tmp_path), form="yolo", first_pixel=0)


def test_a_table_without_rows_is_nothing_to_convert(tmp_path, run_program):
    table = text(tmp_path / "t.csv", "filename,xmin,ymin,xmax,ymax,class\n")
    code, said = run_program(CONVERT, str(table), "--to", "coco", "--out", str(tmp_path / "o.json"))
    assert code == 1 and "names no image: there is nothing to write" in said
    assert not (tmp_path / "o.json").exists()
