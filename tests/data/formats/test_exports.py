"""Files as other programs write them, and as they are moved from one machine to another."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from PIL import Image

from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.catalog import annotations_of
from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.image_names import ImageNames

WIDTH, HEIGHT = 200, 100
BOX = [20, 10, 40, 20]  # x, y, width, height
LINE = "0 0.2 0.2 0.2 0.2\n"  # the same in YOLO's form
CONVERT = Path(__file__).parents[3] / "tools" / "convert.py"


def image(path: Path, size=(WIDTH, HEIGHT), orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def coco(path: Path, names: list[str], categories=("car",), box=BOX) -> Path:
    content = {
        "images": [
            {"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names, start=1)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories, start=1)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": box, "area": 800, "iscrowd": 0}
            for i in range(1, len(names) + 1)
        ],
    }
    return text(path, json.dumps(content))


def boxes(content: formats.Content) -> list[list[float]]:
    return [annotation["bbox"] for annotation in content.annotations]


@pytest.mark.parametrize(
    "name", ["sub\\a.jpg", "C:\\photos\\sub\\a.jpg", "/home/me/sub/a.JPG", "data/sub/a.jpg", "sub/a", "./sub/a.jpg"]
)
def test_names_of_another_machine(tmp_path, name):
    image(tmp_path / "img" / "sub" / "a.jpg")
    ann_file = coco(tmp_path / "ann" / "set.json", [name])
    dataset = COCODataset(str(ann_file), str(tmp_path / "img"), True)
    assert dataset[0][0].size == (WIDTH, HEIGHT)
    assert boxes(formats.read(str(ann_file), images=str(tmp_path / "img"))) == [BOX]
    table = text(tmp_path / "ann" / "set.csv", f"{name},20,10,60,30,car\n")
    assert boxes(formats.read(str(table), images=str(tmp_path / "img"))) == [BOX]
    shape = {"name": "rect", **dict(zip(("x", "y", "width", "height"), BOX, strict=True))}
    regions = [{"shape_attributes": shape, "region_attributes": {}}]
    via = text(tmp_path / "ann" / "via.json", json.dumps({"a": {"filename": name, "regions": regions}}))
    assert boxes(formats.read(str(via), images=str(tmp_path / "img"))) == [BOX]


def test_a_name_stands_for_no_other_image(tmp_path):
    for name in ("train/1.jpg", "b.jpg", "c.jpg", "c.png"):
        image(tmp_path / name)
    listed = ("val/1.jpg", "1.jpg", "", "c", "x/b.jpg")
    names = ImageNames(str(tmp_path), lambda: listed)
    assert [names.find(name) for name in listed] == [None, None, None, None, "b.jpg"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_name_that_fits_best_has_the_image(tmp_path, order, log):
    """Whatever the order of reading: of b/0.jpg, d/B/1.jpg and 2.jpg in the folder b, and of 3.jpg none."""
    for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg"):
        image(tmp_path / "b" / name)
    best = {"b/0.jpg": "0.jpg", "d/B/1.jpg": "1.jpg", "2.jpg": "2.jpg"}
    listed = ["a/0.jpg", *best, "b/c/1.jpg", "a/2.jpg", "b/2.jpg", "a/3.jpg", "c/3.jpg"][::order]
    names = ImageNames(str(tmp_path / "b"), lambda: listed)
    assert [names.find(name) for name in listed] == [best.get(name) for name in listed]
    (said,) = (record.getMessage() for record in log.records)
    assert "1 image in" in said and "3.jpg that of 'a" in said.replace("c/3.jpg' and 'a", "a") and "--img-dir" in said


@pytest.mark.parametrize(
    ("zero", "above", "is_kept"), [("cat", "", True), ("_background_", "", False), ("pets", "pets", False)]
)
@pytest.mark.parametrize("labelled", [True, False])
def test_a_split_without_objects_of_category_0_keeps_its_numbers(tmp_path, zero, above, is_kept, labelled):
    image(tmp_path / "a.jpg")
    path = coco(tmp_path / "set.json", ["a.jpg"], ("dog",))
    content = json.loads(path.read_text())
    content["categories"] = [{"id": 0, "name": zero}, {"id": 1, "name": "dog", "supercategory": above}]
    content["annotations"] = content["annotations"] if labelled else []
    found = formats.read(str(text(path, json.dumps(content))))
    assert list(found.names().values()) == [zero] * is_kept + ["dog"]
    said = [sentence for sentence in found.notes.sentences() if sentence.startswith("category 0, which")]
    assert len(said) == (labelled or not is_kept) and all(zero in sentence for sentence in said)


@pytest.mark.parametrize("form", ["voc", "labelme", "yolo", "dota"])
def test_endings_in_capitals_and_images_without_annotations(tmp_path, form):
    """Of a folder in which both forms of an ending occur, or only capitals."""
    for name in "abc":
        image(tmp_path / f"{name}.jpg")
    shape = {"label": "car", "points": [[20, 10], [60, 30]], "shape_type": "rectangle"}
    corners = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), (21, 11, 60, 30), strict=True)
    )
    ending, content = {
        "voc": ("xml", f"<annotation><object><name>car</name><bndbox>{corners}</bndbox></object></annotation>"),
        "labelme": ("json", json.dumps({"shapes": [shape]})),
        "yolo": ("txt", LINE),
        "dota": ("txt", "20 10 60 10 60 30 20 30 car 0\n"),
    }[form]
    text(tmp_path / f"a.{ending.upper()}", content)
    assert formats.form_of(str(tmp_path)) == form
    text(tmp_path / f"b.{ending}", content)
    found = formats.read(str(tmp_path))
    assert boxes(found) == [BOX, BOX]
    said = [s for s in found.notes.sentences() if "c.jpg" in s]
    assert len(said) == 1 and said[0].startswith("images without a") and ": 1, first" in said[0]


@pytest.mark.parametrize("form", ["yolo", "labelme", "voc", "via", "csv", "coco"])
def test_names_that_leave_the_folder_are_not_followed_in_writing(tmp_path, form):
    image(tmp_path / "images" / "a.jpg")
    image(tmp_path / "a.jpg")
    path = coco(tmp_path / "set.json", ["../images/a.jpg", "../a.jpg"])
    content = formats.read(str(path), images=str(tmp_path / "images"))
    before = set(tmp_path.rglob("*"))
    out = tmp_path / "new" / "deep"
    formats.write(content, form, str(out))
    assert all(new.is_relative_to(tmp_path / "new") for new in set(tmp_path.rglob("*")) - before)
    root = "" if form in ("yolo", "labelme") else str(tmp_path / "images")
    if form != "voc":  # which looks for images by their names alone
        assert boxes(formats.read(str(next(out.glob("*.json"), out) if form == "coco" else out), images=root)) == [
            BOX,
            BOX,
        ]


@pytest.mark.parametrize("form", ["csv", "yolo", "voc"])
def test_images_that_are_not_there_are_said_in_every_form(tmp_path, form):
    image(tmp_path / "a.jpg")
    content = formats.read(str(coco(tmp_path / "set.json", ["a.jpg", "b.jpg"])))
    formats.write(content, form, str(tmp_path / "out"))
    assert "images that are not there, whose labels are written: 1, first b.jpg" in content.notes.sentences()


def test_lists_and_folders_of_cvat(tmp_path):
    for split, name in (("train", "1"), ("valid", "2")):
        image(tmp_path / f"obj_{split}_data" / f"{name}.jpg")
        text(tmp_path / f"obj_{split}_data" / f"{name}.txt", LINE)
        text(tmp_path / f"{split}.txt", f"data/obj_{split}_data/{name}.jpg\n")
    text(tmp_path / "obj.names", "car\n")
    assert formats.splits(str(tmp_path)) == ["train", "valid"]
    for source, split in ((tmp_path, "valid"), (tmp_path / "valid.txt", "")):
        content = formats.read(str(source), split=split)
        assert (boxes(content), content.images[0]["file_name"]) == ([BOX], "2.jpg") and content.names() == {1: "car"}
    with pytest.raises(ValueError, match="has several splits; it has train, valid: name one of them"):
        formats.read(str(tmp_path))


def test_images_and_patterns_in_a_data_yaml(tmp_path):
    for name in "abc":
        image(tmp_path / "images" / f"{name}.jpg")
        text(tmp_path / "labels" / f"{name}.txt", LINE)
    described = text(tmp_path / "mine.yml", "train: [images/a.jpg, images/b.jpg]\nval: images/[c].jpg\nnames: [car]\n")
    for source in (described, tmp_path):  # the only such file of a folder stands for it
        found = [formats.read(str(source), split=split).images for split in ("train", "val")]
        assert [[i["file_name"] for i in images] for images in found] == [["a.jpg", "b.jpg"], ["c.jpg"]]
        assert formats.read(str(source), split="val").names() == {1: "car"}


def test_folders_with_brackets_are_no_patterns(tmp_path):
    root = tmp_path / "set [2]"
    image(root / "images" / "train [1]" / "a.jpg")
    described = text(
        root / "data.yaml", "train: images/train [1]\nval: images/train*/*.jpg\ntest: images/x*.jpg\nnames: [c]\n"
    )
    for split in ("train", "val"):
        assert [i["file_name"] for i in formats.read(str(described), split=split).images] == ["a.jpg"]
    with pytest.raises(FileNotFoundError, match="there is no 'images/x.*jpg' of its split 'test'"):
        formats.read(str(described), split="test")


def test_the_check_takes_such_names_and_folders(tmp_path, run_program):
    image(tmp_path / "train" / "sub" / "a.jpg")
    ann_file = coco(tmp_path / "train" / "_annotations.coco.json", ["x\\sub\\a.jpg"])
    (tmp_path / "valid").mkdir()
    for words in ((ann_file, "--img-dir", tmp_path / "train"), (ann_file,), (tmp_path, "--split", "train")):
        code, printed = run_program(CONVERT.with_name("check_dataset.py"), *words)
        assert code == 0 and "objects: 1" in printed, printed


@pytest.mark.parametrize("layout", ["coco", "labelme", "voc"])
def test_a_folder_for_each_split(tmp_path, layout):
    """As some sites export them."""
    for split, box in (("train", BOX), ("valid", [30, 10, 40, 20])):
        image(tmp_path / split / f"{split}.jpg")
        x, y, w, h = box
        if layout == "coco":
            coco(tmp_path / split / "_annotations.coco.json", [f"{split}.jpg"], box=box)
        elif layout == "labelme":
            shape = {"label": "car", "shape_type": "rectangle", "points": [[x, y], [x + w, y + h]]}
            text(tmp_path / split / f"{split}.json", json.dumps({"imagePath": f"{split}.jpg", "shapes": [shape]}))
        else:
            sides = {"xmin": x + 1, "ymin": y + 1, "xmax": x + w, "ymax": y + h}
            inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides.items())
            text(
                tmp_path / split / f"{split}.xml",
                f"<annotation><filename>{split}.jpg</filename><object><name>car</name><bndbox>{inner}</bndbox></object>"
                "</annotation>",
            )
    assert formats.splits(str(tmp_path)) == ["train", "valid"]
    assert boxes(formats.read(str(tmp_path), split="valid")) == [[30, 10, 40, 20]]
    with pytest.raises(ValueError, match="has several splits; it has train, valid"):
        formats.read(str(tmp_path))
    ann_file, root = annotations_of(str(tmp_path), split="train")
    assert len(COCODataset(ann_file, root, True)) == 1


def test_a_folder_with_one_further_below_is_read_whole(tmp_path):
    for name in ("a", "test/b"):
        image(tmp_path / f"{name}.jpg")
        text(tmp_path / f"{name}.json", json.dumps({"imagePath": f"{Path(name).name}.jpg", "shapes": []}))
    assert formats.splits(str(tmp_path)) == [] and len(formats.read(str(tmp_path)).images) == 2


def test_a_table_of_several_splits(tmp_path):
    image(tmp_path / "a.jpg")
    image(tmp_path / "b.jpg")
    table = text(
        tmp_path / "t.csv", "image,x1,y1,x2,y2,class,split\na.jpg,20,10,60,30,car,train\nb.jpg,1,1,9,9,car,val\n"
    )
    assert boxes(formats.read(str(table), split="train")) == [BOX]
    with pytest.raises(ValueError, match="has several splits; it has train, val"):
        formats.read(str(table))


@pytest.mark.parametrize(
    ("table", "found"),
    {
        "makesense, the older": ("car,20,10,40,20,a.jpg,200,100\n", [BOX]),
        "corner and extent": ("image,x,y,width,height,label\na.jpg,20,10,40,20,car\n", [BOX]),
        "makesense": (
            "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height\n"
            "car,20,10,40,20,a.jpg,200,100\n",
            [BOX],
        ),
        "middle and extent": ("image,cx,cy,w,h,label\na.jpg,40,20,40,20,car\n", [BOX]),
        "middle and extent in fractions": ("image,x_center,y_center,w,h,label\na.jpg,0.2,0.2,0.2,0.2,car\n", [BOX]),
        "what a spreadsheet writes": ("sep=;\nimage;x1;y1;x2;y2;class\na.jpg;20;10;60;30;car\n", [BOX]),
        "pandas": ("image,x1,y1,x2,y2,class\na.jpg,20,10,60,30,car\nb.jpg,nan,nan,nan,nan,nan\n", [BOX]),
        "fractions, one off": (
            "image,x1,y1,x2,y2,class\na.jpg,0.1,0.1,0.3,0.3,car\na.jpg,0.5,-0.0004,1.0004,0.5,car\n",
            [BOX, [100, 0, 100, 50]],
        ),
    }.values(),
)
def test_tables_of_other_programs(tmp_path, table, found):
    image(tmp_path / "a.jpg")
    image(tmp_path / "b.jpg")
    content = formats.read(str(text(tmp_path / "t.csv", table)))
    np.testing.assert_allclose(boxes(content), found, atol=1e-3)
    assert content.names() == {1: "car"} and content.images[0]["file_name"] == "a.jpg"


def test_boxes_of_groups_in_open_images(tmp_path):
    image(tmp_path / "0a1b.jpg")
    header = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    rows = [f"0a1b,xclick,/m/0k4j,1,0.1,0.3,0.1,0.3,0,1,{group},0,0" for group in (0, 1, -1)]  # -1: not said
    content = formats.read(str(text(tmp_path / "t.csv", "\n".join([header, *rows, ""]))))
    assert [a["iscrowd"] for a in content.annotations] == [0, 1, 0]
    assert any(s.startswith("boxes around several objects") for s in content.notes.sentences())


def test_tables_of_via(tmp_path):
    image(tmp_path / "a.jpg")
    image(tmp_path / "b.jpg")
    shapes = {"rect": dict(zip(("x", "y", "width", "height"), BOX, strict=True)), "none": {}}
    cells = {
        name: json.dumps({"name": name, **shape} if shape else {}).replace('"', '""') for name, shape in shapes.items()
    }
    source = text(
        tmp_path / "via.csv",
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
        f'a.jpg,1,"{{}}",1,0,"{cells["rect"]}","{{""class"":""car""}}"\nb.jpg,1,"{{}}",0,0,"{cells["none"]}","{{}}"\n',
    )
    content = formats.read(str(source))
    assert boxes(content) == [BOX] and content.names() == {1: "car"} and len(content.images) == 2
    text(source, source.read_text().replace("{", "(", 2))
    with pytest.raises(ValueError, match="via.csv"):
        formats.read(str(source))


def test_voc_files_that_count_from_0_are_told_by_a_corner_at_0(tmp_path):
    image(tmp_path / "a.jpg")
    text(
        tmp_path / "a.xml",
        "<annotation><object><name>car</name><bndbox><xmin>0</xmin><ymin>10</ymin><xmax>59</xmax><ymax>29</ymax></bndbox>"
        "</object></annotation>",
    )
    found = formats.read(str(tmp_path))
    assert boxes(found) == [[0, 9, 59, 20]]
    told = "if these files count from 0, say FIRST_PIXEL 0 (--first-pixel 0): 1, first "
    assert any(told in sentence for sentence in found.notes.sentences())
    found = formats.read(str(tmp_path), first_pixel=0)
    assert boxes(found) == [[0, 10, 60, 20]] and not found.notes.counts


def test_xml_of_another_program_is_named(tmp_path):
    image(tmp_path / "a.jpg")
    text(tmp_path / "annotations.xml", '<annotations><image name="a.jpg"/></annotations>')
    with pytest.raises(
        ValueError, match="annotations.xml is no file of Pascal VOC: it has <annotations> where those have"
    ):
        formats.read(str(tmp_path))


def test_what_counts_twice_or_not_at_all_is_said(tmp_path):
    image(tmp_path / "images" / "a.jpg")
    text(tmp_path / "labels" / "a.txt", LINE)
    described = text(tmp_path / "data.yaml", "train: [images, images]\nnames: [car]\n")
    assert formats.read(str(described)).notes.counts["images that are listed several times, and count as often"] == 1
    labels = {"imagePath": "gone.jpg", "imageData": "aaaa", "shapes": []}
    text(tmp_path / "labelme" / "gone.json", json.dumps(labels))
    text(tmp_path / "labelme" / "a.json", json.dumps({**labels, "imagePath": "../images/a.jpg"}))
    notes = formats.read(str(tmp_path / "labelme")).notes
    assert notes.counts["files without an image, left out; the copy in their imageData is not used"] == 1


def test_classes_in_a_file(tmp_path):
    image(tmp_path / "a.jpg")
    text(tmp_path / "a.txt", LINE.replace("0", "1", 1))
    names = text(tmp_path / "names" / "own.txt", "van\ncar\n")
    assert formats.read(str(tmp_path), classes=str(names)).names() == {1: "van", 2: "car"}
    with pytest.raises(FileNotFoundError, match="There is no file of class names '.*none.txt'"):
        formats.read(str(tmp_path), classes=str(tmp_path / "none.txt"))


@pytest.mark.parametrize("form", ["voc", "labelme"])
def test_a_file_that_was_copied_with_its_image_and_kept_the_name_in_it(tmp_path, form):
    for name in "ab":
        image(tmp_path / f"{name}.jpg")
        if form == "voc":
            text(tmp_path / f"{name}.xml", "<annotation><filename>a.jpg</filename></annotation>")
        else:
            text(tmp_path / f"{name}.json", json.dumps({"imagePath": "a.jpg", "shapes": []}))
    content = formats.read(str(tmp_path))
    assert [entry["file_name"] for entry in content.images] == ["a.jpg", "b.jpg"]
    assert content.notes.counts["files that name the image of another one, taken for that of their own name"] == 1


def test_masks_of_labelme(tmp_path):
    image(tmp_path / "a.jpg")
    inner = np.zeros((20, 40), bool)
    inner[5:, 10:] = True
    png = io.BytesIO()
    Image.fromarray(inner).save(png, "png")
    shape = {
        "label": "car ",
        "shape_type": "mask",
        "points": [[20, 10], [59, 29]],
        "mask": base64.b64encode(png.getvalue()).decode(),
    }
    text(tmp_path / "a.json", json.dumps({"imagePath": "a.jpg", "shapes": [shape]}))
    text(tmp_path / "Aclasses.json", '["car"]')
    text(tmp_path / "Abroken.json", "{")
    assert formats.form_of(str(tmp_path)) == "labelme"
    (tmp_path / "Abroken.json").unlink()
    content = formats.read(str(tmp_path))
    (found,) = content.annotations
    assert found["bbox"] == [30, 15, 30, 15] and found["area"] == 450 and content.names() == {1: "car"}
    whole = np.zeros((HEIGHT, WIDTH), bool)
    whole[10:30, 20:60] = inner
    assert (mask_utils.decode(found["segmentation"]) == whole).all()
    assert content.notes.counts["JSON files that are not LabelMe's"] == 1
    ann_file, root = annotations_of(str(tmp_path))
    assert COCODataset(ann_file, root, True)[0][1].get_field("masks").get_mask_tensor().sum() == 450
    shape["mask"] = "no picture"
    text(tmp_path / "a.json", json.dumps({"imagePath": "a.jpg", "shapes": [shape]}))
    with pytest.raises(ValueError, match="a.json, shape 0: a mask needs two `points` and its `mask`"):
        formats.read(str(tmp_path))


@pytest.mark.parametrize(
    "layout", [("images", "annotations"), ("images", "Annotations"), ("JPEGImages", "annotations")]
)
def test_voc_folders_by_other_names(tmp_path, layout):
    image(tmp_path / layout[0] / "a.jpg")
    text(tmp_path / "README.txt", "Read me.\n")
    text(
        tmp_path / layout[1] / "a.xml",
        "<annotation><object><name>car</name><bndbox><xmin>21</xmin><ymin>11</ymin><xmax>60</xmax><ymax>30</ymax></bndbox>"
        "</object></annotation>",
    )
    assert boxes(formats.read(str(tmp_path))) == [BOX]


def test_voc_files_beside_their_images_and_a_folder_called_images(tmp_path):
    image(tmp_path / "a.jpg")
    image(tmp_path / "images" / "other.jpg")
    text(tmp_path / "a.xml", "<annotation><filename>a.jpg</filename></annotation>")
    assert [entry["file_name"] for entry in formats.read(str(tmp_path)).images] == ["a.jpg"]


def test_labels_beside_a_folder_of_images_by_another_name(tmp_path):
    image(tmp_path / "img" / "a.jpg")
    text(tmp_path / "labels" / "a.txt", LINE)
    assert boxes(formats.read(str(tmp_path))) == [BOX]


@pytest.mark.parametrize("form", ["yolo", "csv", "via"])
def test_an_image_that_cannot_be_read_is_left_out_and_said(tmp_path, form):
    image(tmp_path / "images" / "a.jpg")
    text(tmp_path / "images" / "b.jpg", "")
    source = tmp_path
    if form == "yolo":
        text(tmp_path / "labels" / "a.txt", LINE)
    elif form == "csv":
        source = text(tmp_path / "t.csv", "images/a.jpg,20,10,60,30,car\nimages/b.jpg,1,1,9,9,car\n")
    else:
        shape = {"name": "rect", "x": 20, "y": 10, "width": 40, "height": 20}
        regions = [{"shape_attributes": shape, "region_attributes": {"label": "car"}}]
        entries = {name: {"filename": f"images/{name}.jpg", "regions": regions} for name in "ab"}
        source = text(tmp_path / "v.json", json.dumps(entries))
    content = formats.read(str(source))
    assert boxes(content) == [BOX] and len(content.images) == 1
    assert any("image files that cannot be read, left out: 1, first " in s for s in content.notes.sentences())
    text(tmp_path / "images" / "a.jpg", "")
    with pytest.raises(FileNotFoundError, match="none of its images can be read. .*a.jpg cannot be read"):
        formats.read(str(source))


@pytest.mark.parametrize("form", ["yolo", "via", "labelme"])
@pytest.mark.parametrize("other", [6, 1])
def test_images_turned_by_half_follow_the_others_of_their_set(tmp_path, form, other):
    image(tmp_path / "half.jpg", orientation=3)
    image(tmp_path / "other.jpg", orientation=other)
    content = formats.Content(str(tmp_path))
    content.category("car")
    for name in ("half.jpg", "other.jpg"):
        content.add(content.add_image(name, (WIDTH, HEIGHT)), 1, BOX)
    out = tmp_path / ("out.json" if form == "via" else "out")
    formats.write(content, form, str(out))
    back = formats.read(
        str(out), images="" if form == "labelme" else str(tmp_path / ("out/images" if form == "yolo" else ""))
    )
    (half,) = (i["id"] for i in back.images if i["file_name"].endswith("half.jpg"))
    (box,) = (a["bbox"] for a in back.annotations if a["image_id"] == half)
    assert box == pytest.approx([140, 70, 40, 20] if other == 6 else BOX, abs=1e-3)
    assert any("taken as annotated as they are seen" in s for s in content.notes.sentences()) == (other == 1)


@pytest.mark.parametrize("form", ["yolo", "labelme", "via"])
def test_holes_that_are_filled_are_said(tmp_path, form):
    image(tmp_path / "a.jpg")
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[10:30, 20:60] = 1
    content = formats.Content(str(tmp_path))
    content.category("car")
    entry = content.add_image("a.jpg")
    for hole in (0, 5):
        mask[15 : 15 + hole, 30 : 30 + hole] = 0
        rle = mask_utils.encode(mask)
        content.add(entry, 1, BOX, segmentation={"size": rle["size"], "counts": rle["counts"].decode()})
    formats.write(content, form, str(tmp_path / ("out.json" if form == "via" else "out")))
    assert "masks with holes, which are filled: 1, first annotation 2" in content.notes.sentences()


def test_names_that_differ_in_capitals_alone_are_said(tmp_path):
    image(tmp_path / "a.jpg")
    table = text(tmp_path / "t.csv", "a.jpg,20,10,60,30,car\na.jpg,1,1,9,9,Car\n")
    content = formats.read(str(table))
    assert len(content.categories) == 2
    assert content.notes.counts["classes whose names differ in capitals or spaces alone, which stay apart"] == 2


@pytest.mark.parametrize(
    ("form", "objects"), [("yolo", 1), ("labelme", 1), ("via", 1), ("voc", 2), ("csv", 2), ("coco", 2)]
)
def test_objects_that_are_left_out_are_not_counted_as_written(tmp_path, run_program, form, objects):
    """One of two is a crowd."""
    image(tmp_path / "a.jpg")
    source = coco(tmp_path / "s.json", ["a.jpg"])
    content = json.loads(source.read_text())
    content["annotations"].append({**content["annotations"][0], "id": 2, "iscrowd": 1})
    source.write_text(json.dumps(content))
    out = tmp_path / {"via": "out.json", "csv": "out.csv", "coco": "out.json"}.get(form, "out")
    code, said = run_program(CONVERT, source, "--img-dir", tmp_path, "--to", form, "--out", out)
    assert code == 0 and f"Wrote 1 image with {objects} object{'s' * (objects > 1)} of 1 class as {form}" in said, said


@pytest.mark.parametrize("form", ["coco", "via"])
def test_a_class_whose_name_is_no_text_is_named_with_its_file(tmp_path, form):
    image(tmp_path / "a.jpg")
    source = coco(tmp_path / "s.json", ["a.jpg"])
    if form == "via":
        source = Path(formats.write(formats.read(str(source)), "via", str(tmp_path / "via.json")))
    source.write_text(source.read_text().replace('"car"', '"car\\ud800"'))
    with pytest.raises(ValueError, match=rf"{source.name}: the name of .*'car\\ud800', holds half of a character"):
        formats.read(str(source), images=str(tmp_path))


@pytest.mark.parametrize("form", ["voc", "csv"])
def test_boxes_are_written_inside_their_image(tmp_path, form):
    """As far beyond the border as the check of COCO's files lets pass without a word."""
    image(tmp_path / "a.jpg")
    content = formats.Content(str(tmp_path))
    content.category("car")
    entry = content.add_image("a.jpg")
    boxes = [(WIDTH - 20, 5, 20.75, 10), (WIDTH - 20, 5, 30, 10), (WIDTH + 1, 5, 10, 10)]
    for box in boxes:
        content.add(entry, 1, box)
    written = formats.write(content, form, str(tmp_path / "out"))
    back = formats.read(written, images=str(tmp_path))
    assert [a["bbox"] for a in back.annotations] == [[WIDTH - 20, 5, 20, 10]] * 2 and not back.notes.counts
    assert content.notes.counts["boxes that leave the image, cut at its border"] == 1
    assert content.notes.counts["objects without width or height inside the image, left out"] == 1


def test_voc_keeps_names_that_differ_in_capitals_apart(tmp_path):
    image(tmp_path / "a.jpg")
    table = text(
        tmp_path / "t.csv", "".join(f"a.jpg,20,10,{60 + i},30,{n}\n" for i, n in enumerate(("Cat", "CAT", "cat")))
    )
    content = formats.read(str(table))
    formats.write(content, "voc", str(tmp_path / "out"))
    for classes in (True, False):
        back = formats.read(str(tmp_path / "out"), images=str(tmp_path))
        assert back.names() == content.names() == {1: "CAT", 2: "Cat", 3: "cat"}
        assert [a["category_id"] for a in back.annotations] == [a["category_id"] for a in content.annotations]
        assert back.notes.counts["classes whose names differ in capitals or spaces alone, which stay apart"] == 3
        if classes:
            (tmp_path / "out" / "classes.txt").unlink()
    again = formats.read(str(tmp_path / "out"), images=str(tmp_path), classes=["dog", "cAt"])
    assert {a["category_id"] for a in again.annotations} == {2}  # one class alone can be meant


@pytest.mark.parametrize("form", ["labelme", "voc", "yolo", "csv", "coco"])
def test_a_conversion_replaces_no_file_unless_told(tmp_path, run_program, form):
    image(tmp_path / "a.jpg")
    first, second = (coco(tmp_path / n / "s.json", ["a.jpg"], (n, "x")) for n in ("van", "car"))
    out = tmp_path / ("out.csv" if form == "csv" else "out.json" if form == "coco" else "out")
    words = (CONVERT, first, "--img-dir", tmp_path, "--to", form, "--out", out)
    assert run_program(*words)[0] == 0
    written = {path: path.read_bytes() for path in [out, *out.rglob("*")] if path.is_file()}
    code, said = run_program(CONVERT, second, *words[2:])
    assert code == 1 and "is there already: name another place, or replace it with --overwrite" in said
    assert {path: path.read_bytes() for path in written} == written
    assert run_program(CONVERT, second, *words[2:], "--overwrite")[0] == 0
    assert {path: path.read_bytes() for path in written} != written


def test_a_conversion_into_its_source_is_refused_whatever_is_told(tmp_path, run_program):
    image(tmp_path / "a.jpg")
    shape = {"label": "car", "shape_type": "rectangle", "points": [[20, 10], [60, 30]]}
    source = text(tmp_path / "a.json", json.dumps({"imagePath": "a.jpg", "shapes": [shape]}))
    before = source.read_bytes()
    for form, out in (("coco", source), ("labelme", tmp_path)):
        code, said = run_program(CONVERT, tmp_path, "--to", form, "--out", out, "--overwrite")
        assert code == 1 and "would replace the source" in said and source.read_bytes() == before
