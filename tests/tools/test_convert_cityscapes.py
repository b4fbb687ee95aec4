"""tools/cityscapes/convert_cityscapes_to_coco.py."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from maskrcnn_benchmark.data.datasets import CityScapesDataset, COCODataset
from tests.support.cityscapes_set import write_cityscapes

TOOL = Path(__file__).parents[2] / "tools" / "cityscapes" / "convert_cityscapes_to_coco.py"


@pytest.fixture
def convert(monkeypatch):
    def call(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["convert", *map(str, words)])
        try:
            runpy.run_path(str(TOOL), run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return call


@pytest.mark.parametrize("mode", ["mask", "poly"])
@pytest.mark.parametrize("keep_folders", [False, True])
def test_the_file_says_what_the_data_set_says(tmp_path, convert, mode, keep_folders):
    write_cityscapes(tmp_path)
    flags = ["--keep-folders"] if keep_folders else []
    assert convert("--datadir", tmp_path, "--outdir", tmp_path / "out", "--mode", mode, *flags) == 0
    images = tmp_path / "leftImg8bit"
    if not keep_folders:
        images = tmp_path / "images"
        images.mkdir()
        for path in (tmp_path / "leftImg8bit").rglob("*.png"):
            shutil.copy(path, images)
    written = tmp_path / "out" / "instancesonly_filtered_gtFine_val.json"
    converted = COCODataset(str(written), str(images), remove_images_without_annotations=False)
    original = CityScapesDataset(str(tmp_path / "leftImg8bit"), str(tmp_path / "gtFine"), "val", mode)
    assert converted.class_names() == original.class_names() and len(converted) == len(original) == 3
    for i in range(3):
        (image, target, _), (other, truth, _) = converted[i], original[i]
        assert image.tobytes() == other.tobytes()
        assert target.bbox.tolist() == truth.bbox.tolist()
        assert target.get_field("labels").tolist() == truth.get_field("labels").tolist()
        masks, expected = (t.get_field("masks").get_mask_tensor() for t in (target, truth))
        assert masks.equal(expected)


def test_small_objects_and_missing_folders(tmp_path, convert, capsys):
    assert convert("--datadir", tmp_path, "--outdir", tmp_path / "out") == 1
    assert "has no folder gtFine with one of train, val, test" in capsys.readouterr().err
    write_cityscapes(tmp_path, "train")
    assert convert("--datadir", tmp_path, "--outdir", tmp_path / "out", "--min-area", 100) == 0
    content = json.loads((tmp_path / "out" / "instancesonly_filtered_gtFine_train.json").read_text())
    assert [a["category_id"] for a in content["annotations"]] == [3, 3, 8, 2]
