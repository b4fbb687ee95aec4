"""Which way up the images of a COCO set are read: the annotated size decides, in training and whatever else asks the set."""

import pickle

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.datasets.annotated_images import WrongSizeError
from maskrcnn_benchmark.data.datasets.images import ORIENTATION
from tests.support.helpers import write_annotations

SEEN = {"wide": (40, 24), "square": (32, 32)}


@pytest.fixture
def make(tmp_path):
    """A set of images (shape, EXIF orientation, annotated size or None for none): a white square marks the left upper corner as
    it is seen."""

    def build(*rows: tuple) -> COCODataset:
        (tmp_path / "set").mkdir()
        entries = []
        for i, (shape, orientation, size) in enumerate(rows):
            width, height = SEEN[shape]
            pixels = np.zeros((height, width), np.uint8)
            pixels[:8, :8] = 255
            turns = {1: pixels, 3: pixels[::-1, ::-1], 6: np.rot90(pixels), 8: np.rot90(pixels, -1)}
            image = Image.fromarray(np.ascontiguousarray(turns[orientation]))
            exif = image.getexif()
            exif[ORIENTATION] = orientation
            image.save(tmp_path / "set" / f"{i}.png", exif=exif)
            sides = {} if size is None else {"width": size[0], "height": size[1]}
            entries.append({"id": i, "file_name": f"{i}.png", **sides})
        write_annotations(
            tmp_path, "set", {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
        )
        return COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), False)

    return build


def is_upright(dataset: COCODataset, index: int) -> bool:
    image, target, _ = dataset[index]
    info = dataset.get_img_info(index)
    assert image.size == target.size == (info["width"], info["height"])
    assert dataset.image_sizes()[index].tolist() == [image.height, image.width]
    return image.getpixel((2, 2)) == (255, 255, 255)


def test_the_annotated_size_decides(make, log):
    dataset = make(("wide", 6, (40, 24)), ("wide", 6, (24, 40)), ("wide", 8, (40, 24)), ("wide", 1, (40, 24)))
    assert [is_upright(dataset, i) for i in range(4)] == [True, False, True, True]
    (message,) = [r.getMessage() for r in log.records]
    assert "on the pixels as stored" in message and "of 1 of 3 images that EXIF turns" in message and "1.png" in message


@pytest.mark.parametrize("ambiguous", [("wide", 3, (40, 24)), ("square", 6, (32, 32)), ("wide", 6, None)])
def test_where_the_size_does_not_tell_the_other_images_do(make, ambiguous, log):
    dataset = make(ambiguous, ("wide", 6, (24, 40)), ("wide", 8, (24, 40)), ("wide", 8, (40, 24)))
    assert not is_upright(dataset, 0) and not is_upright(dataset, 1) and is_upright(dataset, 3)
    (message,) = [r.getMessage() for r in log.records if "as stored" in r.getMessage()]
    assert "those of 2 of 3 images that EXIF turns" in message


@pytest.mark.parametrize("ambiguous", [("wide", 3, (40, 24)), ("square", 6, (32, 32)), ("wide", 6, None)])
def test_without_others_such_an_image_is_turned(make, ambiguous, log):
    dataset = make(ambiguous, ("wide", 1, (40, 24)))
    assert is_upright(dataset, 0) and is_upright(pickle.loads(pickle.dumps(dataset)), 0)
    assert not [r for r in log.records if "as stored" in r.getMessage()]


@pytest.mark.parametrize(
    ("row", "sizes"),
    [
        (("wide", 1, (24, 40)), "is 40 x 24 pixels .* are of 24 x 40"),  # swapped
        (("wide", 6, (80, 48)), "is 40 x 24 pixels .* are of 80 x 48"),  # of a larger original
    ],
)
def test_an_image_of_another_size_is_refused(make, row, sizes):
    dataset = make(row)
    with pytest.raises(WrongSizeError, match=f"0.png {sizes}"):
        dataset[0]
