"""Images that are read part by part: the same pixels as of the whole, for every orientation, kind of file and reader."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.data import large_images
from maskrcnn_benchmark.data.datasets import images
from maskrcnn_benchmark.data.datasets.images import BrokenImageError, read_rgb
from maskrcnn_benchmark.data.large_images import is_large, open_large
from maskrcnn_benchmark.engine.predictor import Predictor
from tests.support.tiny import write_model

BOXES = [(0, 0, 70, 50), (3, 5, 20, 41), (60, 0, 70, 10)]


@pytest.fixture
def small_is_large(monkeypatch):
    """Everything above 1,000 pixels is read part by part."""
    monkeypatch.setattr(large_images, "MOST_BYTES", 4000)


@pytest.fixture(params=["decoded", "windows"])
def reader(request, monkeypatch):
    if request.param == "windows":
        pytest.importorskip("rasterio")
        monkeypatch.setattr(large_images, "MOST_DECODED", 0)
    else:
        monkeypatch.setattr(large_images, "WINDOWED", ())
    return request.param


def noise(width=70, height=50, channels=3, dtype=np.uint8, high=256) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
def test_parts_are_those_of_the_whole(tmp_path, reader, ending):
    path = str(tmp_path / f"a.{ending}")
    smooth = Image.fromarray(noise(7, 5)).resize((70, 50), Image.Resampling.BICUBIC)
    smooth.save(path)
    whole, large = read_rgb(path), open_large(path)
    assert large.size == whole.size == (70, 50) == (large.width, large.height)
    tolerance = 30 if (ending, reader) == ("jpg", "windows") else 0  # another decoder smooths colours differently
    for box in BOXES:
        part = large.crop(box)
        assert part.mode == "RGB"
        np.testing.assert_allclose(np.asarray(part, int), np.asarray(whole.crop(box), int), atol=tolerance)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_parts_are_turned(tmp_path, orientation, monkeypatch):
    path = str(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise()).save(path, exif=exif)
    whole, large = read_rgb(path), open_large(path)
    assert large.size == whole.size
    for box in [(0, 0, *whole.size), (3, 5, 20, 41), (1, 30, 9, 33)]:
        np.testing.assert_array_equal(np.asarray(large.crop(box)), np.asarray(whole.crop(box)))
    reduced = large.resize((14, 10) if whole.size == (70, 50) else (10, 14))
    expected = whole.resize(reduced.size, Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(reduced, float) - np.asarray(expected, float)).mean() < 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_other_kinds_of_pixels(tmp_path, reader, mode):
    path = str(tmp_path / ("a.png" if reader == "decoded" else "a.tif"))
    if mode == "I;16":
        Image.fromarray(noise(channels=1, dtype=np.uint16, high=4000)).save(path)
    else:
        Image.fromarray(noise()).convert(mode).save(path)
    if reader == "windows" and mode in ("P", "1"):
        pytest.skip("palettes and bits are Pillow's")
    whole, large = read_rgb(path), open_large(path)
    for box in BOXES:
        np.testing.assert_allclose(np.asarray(large.crop(box), float), np.asarray(whole.crop(box), float), atol=1)
    assert large.resize((35, 25)).size == (35, 25)


@pytest.mark.parametrize("at_once", [1, 700, 10**6])
def test_the_whole_is_an_average(tmp_path, reader, at_once, monkeypatch):
    monkeypatch.setattr(large_images, "MOST_AT_ONCE", at_once)
    path = str(tmp_path / "a.png")
    pixels = np.kron(noise(7, 5), np.ones((10, 10, 1), np.uint8))
    Image.fromarray(pixels).save(path)
    reduced = np.asarray(open_large(path).resize((7, 5)), float)
    assert np.abs(reduced - noise(7, 5)).mean() < (
        30 if reader == "decoded" else 1
    )  # Pillow's triangle is wider than a pixel


def test_a_predictor_looks_at_large_files_in_tiles(tmp_path, small_is_large, reader):
    config, weights = write_model(tmp_path, INPUT__TILES__SIZE=32, MODEL__MASK_ON=False)
    path = str(tmp_path / "a.png")
    Image.fromarray(noise()).save(path)
    predictor = Predictor(config, weights, threshold=0.0)
    assert is_large(path)
    found, whole = predictor(path), predictor(read_rgb(path))
    assert found.size == (70, 50)
    if reader == "decoded":  # the reduced whole is the same too
        torch.testing.assert_close(found.bbox, whole.bbox)
    large = predictor.read(path)
    assert max(predictor.draw(large, found).shape) == 4096


@pytest.mark.parametrize("augmented", [False, True])
def test_without_tiles_a_large_file_is_made_smaller(tmp_path, small_is_large, reader, augmented, caplog):
    """Tiles may stand in the configuration and be off, as `mrb suggest` writes it where whole images fit."""
    config, weights = write_model(tmp_path, INPUT__TILES__SIZE=32, INPUT__TILES__TEST=False, MODEL__MASK_ON=False)
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path in paths:
        Image.fromarray(noise()).save(path)
    predictor = Predictor(config, weights, threshold=0.0, opts=["TEST.BBOX_AUG.ENABLED", augmented])
    found, _ = predictor(paths)
    assert found.size == (70, 50)
    if reader == "decoded":
        torch.testing.assert_close(found.bbox, predictor(read_rgb(paths[0])).bbox)
    (said,) = [r.getMessage() for r in caplog.records if "as a whole" in r.getMessage()]
    assert "a.png of 70 x 50 pixels" in said and "INPUT.TILES.TEST True" in said


@pytest.mark.parametrize(
    ("mode", "orientation"), [("RGB", 1), ("RGB", 6), ("RGBA", 1), ("L", 1), ("L", 8), ("I;16", 1)]
)
def test_what_is_refused_elsewhere_is_large(tmp_path, mode, orientation, monkeypatch):
    """Whatever bytes a pixel takes: nothing lies between the two readers."""
    path, exif = str(tmp_path / "a.png"), Image.Exif()
    exif[0x0112] = orientation
    image = (
        Image.fromarray(noise(channels=1, dtype=np.uint16))
        if mode == "I;16"
        else Image.fromarray(noise()).convert(mode)
    )
    image.save(path, exif=exif)
    outcomes = set()
    for most in range(3 * 3500, 14 * 3500, 3500):
        for module in (images, large_images):
            monkeypatch.setattr(module, "MOST_BYTES", most)
        try:
            read_rgb(path)
            is_refused = False
        except BrokenImageError as error:
            is_refused = True
            assert "mrb predict" in str(error)
        assert is_large(path) == is_refused
        outcomes.add(is_refused)
    assert outcomes == {True, False}


def test_too_many_pixels_name_what_helps(tmp_path, monkeypatch):
    path = str(tmp_path / "a.png")
    Image.fromarray(noise()).save(path)
    monkeypatch.setattr(large_images, "MOST_DECODED", 0)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(BrokenImageError, match="70 x 50 pixels takes more than .* install rasterio"):
        open_large(path)


def test_a_damaged_file_is_named(tmp_path, reader):
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BrokenImageError, match="a.png cannot be read"):
        open_large(str(path)).crop((0, 0, 70, 50))


def test_far_too_many_pixels_are_refused_with_what_helps(tmp_path, monkeypatch):
    path = str(tmp_path / "a.png")
    Image.fromarray(noise()).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow itself refuses twice as many
    with pytest.raises(BrokenImageError, match=r"a.png cannot be read: .* cut it into parts \(`mrb predict`"):
        read_rgb(path)
