"""Images that are read part by part: the same pixels as of the whole, for every orientation, kind of file and reader."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.data import large_images
from maskrcnn_benchmark.data.datasets import images, raster
from maskrcnn_benchmark.data.datasets.images import BrokenImageError, read_rgb
from maskrcnn_benchmark.data.large_images import is_large, open_large
from maskrcnn_benchmark.engine.predict_files import predict_files
from maskrcnn_benchmark.engine.prediction_results import Results
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
        monkeypatch.setattr(raster, "ENDINGS", ())
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
    whole, large = read_rgb(path), open_large(path)
    for box in BOXES:
        np.testing.assert_allclose(np.asarray(large.crop(box), float), np.asarray(whole.crop(box), float), atol=1)
    assert large.resize((35, 25)).size == (35, 25)


@pytest.mark.parametrize("at_once", [1, 700, 10**6])
def test_the_whole_is_an_average(tmp_path, reader, at_once, monkeypatch):
    for module in (large_images, raster):
        monkeypatch.setattr(module, "MOST_AT_ONCE", at_once)
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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1", "I;16"])
def test_a_decoded_image_is_resized_in_strips_as_at_once(tmp_path, mode, monkeypatch):
    """Without a second copy of all its pixels, which the colours under transparency would need too."""
    monkeypatch.setattr(raster, "ENDINGS", ())
    path = str(tmp_path / "a.tif")
    if mode == "I;16":
        Image.fromarray(noise(channels=1, dtype=np.uint16, high=4000)).save(path)
    else:
        Image.fromarray(noise()).convert(mode).save(path)
    for box, size in (((0, 0, 70, 50), (14, 10)), ((0, 0, 70, 50), (33, 17)), ((3, 5, 60, 41), (80, 90))):
        expected = np.asarray(read_rgb(path).crop(box).resize(size, Image.Resampling.BILINEAR), int)
        for at_once in (1, 300, 10**6):
            monkeypatch.setattr(large_images, "MOST_AT_ONCE", at_once)
            large = open_large(path)
            found = np.asarray(large._part(box, size), int)
            inside = slice(None) if box == (0, 0, 70, 50) else slice(2, -2)  # of a part the border looks beyond it
            np.testing.assert_allclose(found[inside, inside], expected[inside, inside], atol=1)


def write_tiff(path, bands: np.ndarray, **more) -> str:
    """A TIFF as GDAL writes it, of [bands, height, width]."""
    rasterio = pytest.importorskip("rasterio")
    colours = more.pop("colormap", None)
    count, height, width = bands.shape
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype=bands.dtype, **more) as f:
        f.write(bands)
        if colours:
            f.write_colormap(1, colours)
    return str(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("nodata", [None, -9999, 65535, np.nan])
def test_pixels_without_a_value_are_black_and_bands_keep_their_ratio(tmp_path, dtype, count, nodata):
    bands = np.random.default_rng(0).integers(0, 200, (count, 50, 70)).astype(dtype)
    bands[1:] *= 20  # the first band of a satellite is often the darkest
    if nodata is not None:
        if not (nodata == nodata and np.can_cast(np.min_scalar_type(nodata), dtype)) and dtype != "float32":
            pytest.skip("this type has no such value")
        bands[:, :20, :30] = nodata
    path = write_tiff(tmp_path / "a.tif", bands, nodata=nodata)
    expected = np.nan_to_num(bands[:3].astype(float))
    if nodata is not None:
        expected[:, :20, :30] = 0
    top = next(2**bits - 1 for bits in (8, 10, 12) if expected.max() < 2**bits)
    expected = np.rint(np.broadcast_to(expected, (3, 50, 70)) * (255 / top)).transpose(1, 2, 0)
    for image in (read_rgb(path), open_large(path).crop((0, 0, 70, 50))):
        np.testing.assert_allclose(np.asarray(image, float), expected, atol=1)
    assert images.image_size(path) == (70, 50) and not is_large(path)
    small = np.asarray(open_large(path).resize((7, 5)), float)
    np.testing.assert_allclose(small, expected.reshape(5, 10, 7, 10, 3).mean((1, 3)), atol=1)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("count", "nodata"), [(1, 0), (3, 0), (3, None)])
def test_a_raster_that_is_refused_elsewhere_is_large(tmp_path, count, nodata, monkeypatch):
    """A satellite's band of 120 megapixels, for one, lies between no two readers."""
    path = write_tiff(tmp_path / "a.tif", np.full((count, 50, 70), 900, np.uint16), nodata=nodata)
    outcomes = []
    for most in range(3 * 3500, 14 * 3500, 3500):
        for module in (images, large_images):
            monkeypatch.setattr(module, "MOST_BYTES", most)
        try:
            read_rgb(path)
            is_refused = False
        except BrokenImageError:
            is_refused = True
        assert is_large(path) or not is_refused
        outcomes.append(is_refused)
    assert outcomes[0] and not outcomes[-1]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_palettes_and_bits_by_windows(tmp_path, monkeypatch):
    for module in (large_images, raster):
        monkeypatch.setattr(module, "MOST_AT_ONCE", 500)
    indices = np.random.default_rng(0).integers(0, 4, (1, 50, 70)).astype(np.uint8)
    colours = {0: (250, 10, 10), 1: (0, 200, 0), 2: (1, 2, 255), 3: (255, 255, 255)}
    path = write_tiff(tmp_path / "palette.tif", indices, colormap=colours, photometric="palette")
    expected = np.array(list(colours.values()))[indices[0]]
    np.testing.assert_array_equal(np.asarray(open_large(path).crop((0, 0, 70, 50))), expected)
    np.testing.assert_array_equal(np.asarray(read_rgb(path)), expected)
    small = np.asarray(open_large(path).resize((7, 5)), float)
    np.testing.assert_allclose(small, expected.reshape(5, 10, 7, 10, 3).mean((1, 3)), atol=1)
    for bits, top in ((1, 1), (4, 15)):
        values = np.random.default_rng(0).integers(0, top + 1, (1, 50, 70)).astype(np.uint8)
        path = write_tiff(tmp_path / f"{bits}.tif", values, nbits=bits)
        grey = np.asarray(open_large(path).crop((0, 0, 70, 50)), int)[..., 0]
        np.testing.assert_array_equal(grey, values[0] * (255 // top))


def test_a_turned_tiff_by_windows(tmp_path):
    pytest.importorskip("rasterio")
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        path = str(tmp_path / f"{orientation}.tif")
        Image.fromarray(noise()).save(path, exif=exif)
        whole, large = read_rgb(path), open_large(path)
        assert large.size == whole.size
        np.testing.assert_array_equal(np.asarray(large.crop((3, 5, 20, 41))), np.asarray(whole.crop((3, 5, 20, 41))))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("nodata", [None, 65535])
@pytest.mark.parametrize("more", [{}, {"interleave": "band"}, {"compress": "lzw", "predictor": 2}], ids=str)
def test_colours_of_16_bits_are_those_of_either_reader(tmp_path, more, nodata):
    bands = np.random.default_rng(0).integers(0, 4096, (3, 50, 70)).astype(np.uint16)
    if nodata:
        bands[:, :20, :30] = nodata
    path = write_tiff(tmp_path / "a.tif", bands, photometric="rgb", nodata=nodata, **more)
    expected = np.rint(np.where(bands == 65535, 0, bands) * (255 / 4095)).transpose(1, 2, 0)
    for image in (read_rgb(path), open_large(path).crop((0, 0, 70, 50))):
        np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_bands_in_a_plane_each_are_read_by_gdal(tmp_path, dtype, count, compress):
    """As rasterio writes them by default, as grey values of several bands."""
    most = {"uint8": 255, "float32": 1}.get(dtype, 4095)
    bands = (np.random.default_rng(0).random((count, 50, 70)) * most).astype(dtype)
    bands[:, 0, 0] = most
    path = write_tiff(tmp_path / "a.tif", bands, interleave="band", compress=compress)
    shown = bands[:3] if count >= 3 else bands[[0, 0, 0]]
    expected = np.rint(shown * (255 / most)).transpose(1, 2, 0)
    for image in (read_rgb(path), open_large(path).crop((0, 0, 70, 50))):
        np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("count", "more"), [(3, {"photometric": "rgb"}), (3, {"compress": "deflate"}), (3, {}), (1, {}), (2, {})], ids=str
)
def test_bands_in_a_plane_each_need_gdal(tmp_path, count, more, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", np.zeros((count, 50, 70), np.uint16), interleave="band", **more)
    monkeypatch.setattr(raster, "takes", lambda path: False)
    for read in (read_rgb, large_images._decoded):
        with pytest.raises(
            BrokenImageError, match=r"bands lie in a plane each; install rasterio \(pip install rasterio\)"
        ):
            read(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("ending", "more"),
    [("jp2", {"driver": "JP2OpenJPEG"}), ("tif", {"compress": "webp", "webp_lossless": True, "photometric": "rgb"})],
)
def test_what_pillow_knows_and_cannot_decode_is_read_by_gdal(tmp_path, ending, more, monkeypatch, capfd):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.Env() as env:
        if {"jp2": "JP2OpenJPEG", "tif": "GTiff"}[ending] not in env.drivers():
            pytest.skip("this GDAL does not write it")
    path, bands = str(tmp_path / f"a.{ending}"), noise(40, 30).transpose(2, 0, 1)
    quality = {"quality": "100", "reversible": "yes"} if ending == "jp2" else {}
    with rasterio.open(
        path, "w", **{"driver": "GTiff", **more, **quality}, width=40, height=30, count=3, dtype="uint8"
    ) as f:
        f.write(bands)
    for image in (read_rgb(path), open_large(path).crop((0, 0, 40, 30))):
        np.testing.assert_array_equal(np.asarray(image), bands.transpose(1, 2, 0))
    assert not capfd.readouterr().err
    monkeypatch.setattr(raster, "takes", lambda path: False)
    with pytest.raises(
        BrokenImageError, match=r"cannot be read: .*; with rasterio \(pip install rasterio\) more files"
    ):
        read_rgb(path)


def test_other_colour_spaces_are_those_of_either_reader(tmp_path):
    pytest.importorskip("rasterio")
    lab = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    path = str(tmp_path / "a.tif")
    Image.frombytes("LAB", (70, 50), lab.tobytes()).save(path)
    np.testing.assert_array_equal(np.asarray(read_rgb(path)), np.asarray(open_large(path).crop((0, 0, 70, 50))))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_values_of_no_depth_are_named_with_the_file(tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.full((3, 50, 70), -5, np.int16))
    for read in (read_rgb, lambda path: open_large(path).crop((0, 0, 70, 50))):
        with pytest.raises(
            BrokenImageError, match=r"The image .*a.tif cannot be read: its grey values go from -5 to -5"
        ):
            read(path)
    Image.fromarray(np.full((50, 70), -5.0, np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(BrokenImageError, match=r"b.tif cannot be read: its grey values"):
        large_images._decoded(str(tmp_path / "b.tif"))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_damaged_large_file_is_named_and_the_others_are_predicted(tmp_path, small_is_large):
    """What GDAL reads part by part turns out to be damaged where it is read."""
    damaged = write_tiff(tmp_path / "a.tif", noise(channels=3).transpose(2, 0, 1))
    Path(damaged).write_bytes(Path(damaged).read_bytes()[:6000])
    Image.fromarray(noise(20, 10)).save(tmp_path / "b.png")
    config, weights = write_model(tmp_path, INPUT__TILES__SIZE=32, MODEL__MASK_ON=False)
    predictor, inputs = Predictor(config, weights), [damaged, str(tmp_path / "b.png")]
    with Results(str(tmp_path / "out"), predictor, inputs) as results:
        predict_files(predictor, results)
    assert [image["file_name"] for image in results.images] == inputs[1:]
    assert len(results.failures) == 1 and f"The image {damaged} cannot be read" in results.failures[0]


def test_a_tile_that_is_larger_than_the_image_counts(tmp_path):
    """As libtiff, which decodes it as a whole."""
    Image.new("L", (16, 16)).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        image.tag_v2[images.TILE_WIDTH], image.tag_v2[images.TILE_HEIGHT] = 16384, 16384
        assert images._bytes_of(image, is_turned=False) == 5 * 16384**2 > images.MOST_BYTES


@pytest.mark.parametrize("read", [read_rgb, open_large])
def test_tiles_that_are_larger_than_the_image_are_refused_by_gdal(tmp_path, read):
    pytest.importorskip("rasterio")
    tags = {256: 16, 257: 16, 258: 16, 259: 8, 262: 1, 277: 3, 322: 16384, 323: 16384, 324: 0, 325: 0, 339: 1}
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags.items())
    (tmp_path / "a.tif").write_bytes(struct.pack("<4sIH", b"II*\0", 8, len(tags)) + entries + bytes(4))
    with pytest.raises(BrokenImageError, match="its tiles of 16384 x 16384 pixels are larger than itself"):
        read(str(tmp_path / "a.tif"))
