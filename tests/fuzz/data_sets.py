"""Image files, and annotations in COCO's, VOC's and other forms: read to the last object, and evaluated."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import random
import shutil
import warnings

import numpy as np
import torch
from PIL import Image

from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.datasets import COCODataset, PascalVOCDataset
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.images import read_rgb
from maskrcnn_benchmark.data.formats.content import collect_refused
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.fuzz.driver import Kind, folder
from tests.fuzz.mutations import as_json, changed_bytes, changed_value

ALLOWED = (ValueError, OSError)  # BrokenImageError is an OSError
SIZE = (40, 30)


def write_images() -> None:
    """Two images in each of the folders where a data set may look for them."""
    place = folder()
    for name in ("a.jpg", "JPEGImages/a.jpg", "images/a.jpg", "b.png", "JPEGImages/b.png", "images/b.png"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, (90, 120, 30)).save(place / name)


@functools.cache
def pictures() -> list[bytes]:
    """Small files of every kind that is read."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 32, 4), dtype=np.uint8)
    rgb, grey = Image.fromarray(pixels[..., :3]), Image.fromarray(pixels[..., 0])
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [
        (rgb, "JPEG", {"exif": exif}),
        (rgb, "PNG", {}),
        (deep, "PNG", {}),
        (deep, "TIFF", {}),
        (rgb, "TIFF", {"exif": exif}),
    ]
    files += [(rgb, "BMP", {}), (rgb, "WEBP", {}), (rgb.convert("P"), "GIF", {}), (rgb.convert("CMYK"), "JPEG", {})]
    files += [(grey.convert("1"), "PNG", {}), (Image.fromarray(pixels), "PNG", {}), (grey.convert("F"), "TIFF", {})]
    contents = []
    for image, form, options in files:
        content = io.BytesIO()
        image.save(content, form, **options)
        contents.append(content.getvalue())
    return contents


def image_file(rng: random.Random) -> bytes:
    return changed_bytes(rng, rng.choice(pictures()))


def use_image(content: bytes) -> None:
    path = folder() / "changed.png"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = read_rgb(str(path))
    assert image.mode == "RGB" and image.width > 0


def coco_content(rng: random.Random) -> bytes:
    width, height = SIZE
    annotation = {
        "id": 5, "image_id": 1, "category_id": 2, "bbox": [4, 5, 12, 9], "area": 108, "iscrowd": 0,
        "segmentation": [[4, 5, 16, 5, 16, 14, 4, 14]], "keypoints": [5, 6, 2, 9, 9, 1], "num_keypoints": 2,
    }  # fmt: skip
    crowd = {**annotation, "id": 6, "iscrowd": 1, "segmentation": {"size": [height, width], "counts": [100, 60, 1040]}}
    names = ["left end", "right end"]
    content: dict = {
        "info": {},
        "images": [
            {"id": i, "file_name": f, "width": width, "height": height} for i, f in ((1, "a.jpg"), (2, "b.png"))
        ],
        "categories": [
            {"id": 2, "name": "thing", "keypoints": names, "skeleton": [[1, 2]]},
            {"id": 7, "name": "other"},
        ],
        "annotations": [annotation, crowd, {**annotation, "id": 9, "image_id": 2, "category_id": 7}],
    }
    if rng.random() < 0.5:
        for entry in content["annotations"]:
            del entry["keypoints"]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = changed_value(rng, content)
    text = json.dumps(as_json(content)).encode()
    return changed_bytes(rng, text) if rng.random() < 0.3 else text


def use_coco(text: bytes) -> None:
    """Read every object, and evaluate the set's own boxes as detections."""
    path = folder() / "set.json"
    path.write_bytes(text)
    COCODataset(str(path), str(folder()), remove_images_without_annotations=True)
    dataset = COCODataset(str(path), str(folder()), remove_images_without_annotations=False)
    found = []
    for index in range(len(dataset)):
        try:
            _, target, _ = dataset[index]
        except OSError:
            target = BoxList(torch.zeros(0, 4), SIZE)
            target.add_field("labels", torch.zeros(0, dtype=torch.int64))
        detections = target.copy_with_fields(["labels"])
        detections.add_field("scores", torch.linspace(1, 0.5, len(target)))
        found.append(detections)
    evaluate(
        dataset, found, None, box_only=False, iou_types=("bbox",), expected_results=(), expected_results_sigma_tol=4
    )


VOC = """<?xml version="1.0" encoding="utf-8"?>
<annotation><folder>x</folder><filename>a.jpg</filename><size><width>40</width><height>30</height><depth>3</depth></size>
<object><name>car</name><difficult>0</difficult><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>20</xmax><ymax>18</ymax></bndbox></object>
<object><name>bus</name><difficult>1</difficult><bndbox><xmin>1.5</xmin><ymin>1</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object>
</annotation>"""


def voc_files(rng: random.Random) -> tuple[bytes, bytes]:
    text, listing = VOC.encode(), b"a\nb\n"
    if rng.random() < 0.5:
        for old in rng.sample(("40", "30", "5", "20", "car", "1.5", "0</difficult>", "<size>", "a.jpg"), 2):
            new = rng.choice(("0", "-7", "1e400", "nan", "", "99999999999", "猫", "<x/>", "inf", "4.75"))
            text = text.replace(old.encode(), new.encode(), 1)
    else:
        text = changed_bytes(rng, text)
    return text, changed_bytes(rng, listing) if rng.random() < 0.2 else listing


def use_voc(files: tuple[bytes, bytes]) -> None:
    text, listing = files
    written = {"Annotations/a.xml": text, "Annotations/b.xml": VOC.encode(), "ImageSets/Main/train.txt": listing}
    for name, content in written.items():
        (folder() / name).parent.mkdir(parents=True, exist_ok=True)
        (folder() / name).write_bytes(content)
    for test in (True, False):
        dataset = PascalVOCDataset(str(folder()), "train", use_difficult=test)
        for index in range(len(dataset)):
            dataset[index]
    formats.read(str(folder()), "voc", str(folder() / "JPEGImages"))


FORMS = {
    "yolo": ("labels/a.txt", "0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.3 0.1 0.2 0.5\n"),
    "yolo data.yaml": ("data.yaml", "train: images\nval: images\nnames: {0: car, 1: bus}\nnc: 2\nkpt_shape: [2, 3]\n"),
    "labelme": (
        "a.json",
        json.dumps({"shapes": [
            {"label": "car", "points": [[5, 6], [20, 18]], "shape_type": "rectangle", "group_id": None},
            {"label": "bus", "points": [[5, 6], [20, 18], [5, 18]], "shape_type": "polygon", "group_id": 3},
        ], "imagePath": "a.jpg", "imageHeight": 30, "imageWidth": 40}),
    ),
    "via": (
        "via.json",
        json.dumps({"a.jpg1": {"filename": "a.jpg", "size": 1, "file_attributes": {}, "regions": [
            {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 9, "height": 8},
             "region_attributes": {"label": "car"}},
            {"shape_attributes": {"name": "polygon", "all_points_x": [1, 9, 5], "all_points_y": [1, 1, 9]},
             "region_attributes": {"label": "bus"}},
        ]}}),
    ),
    "csv": ("boxes.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,40,30,car,5,6,20,18\nb.png,40,30,,,,,\n"),
}  # fmt: skip


def form_file(rng: random.Random) -> tuple[str, bytes]:
    form = rng.choice(list(FORMS))
    text = FORMS[form][1]
    if form in ("labelme", "via") and rng.random() < 0.7:
        content = json.loads(text)
        for _ in range(rng.choice((1, 1, 2, 4))):
            content = changed_value(rng, content)
        return form, json.dumps(as_json(content)).encode()
    return form, changed_bytes(rng, text.encode())


def use_form(file: tuple[str, bytes]) -> None:
    kind, content = file
    form, place = kind.split()[0], folder() / kind
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder() / "images", place / "images")
    path = place / FORMS[kind][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    source, images = (str(place), "") if form == "yolo" else (str(path), str(place / "images"))
    with contextlib.suppress(*ALLOWED), collect_refused():  # as a check reads it
        json.dumps(formats.read(source, form, images).as_coco(), allow_nan=False)
    formats.splits(source, form)
    read = formats.read(source, form, images)
    json.dumps(read.as_coco(), allow_nan=False)
    formats.write(read, "labelme", str(place / "written"))


IMAGES = Kind("images", image_file, use_image, ALLOWED)
COCO = Kind("coco", coco_content, use_coco, ALLOWED, prepare=write_images)
VOC_FILES = Kind("voc", voc_files, use_voc, ALLOWED, prepare=write_images)
FORM_FILES = Kind("forms", form_file, use_form, ALLOWED, prepare=write_images)
