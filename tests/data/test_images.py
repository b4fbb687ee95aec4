"""The one reader of images: orientation, depth and colour, broken files; against arrays turned and scaled by numpy."""

import io
import pickle
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from maskrcnn_benchmark.data.datasets import images, pixels, raster
from maskrcnn_benchmark.data.datasets.images import BrokenImageError, decode_rgb, image_size, read_header, read_rgb
from maskrcnn_benchmark.data.large_images import open_large
from maskrcnn_benchmark.data.pictures import decode_upright, read_upright, to_bgr, to_picture

UPRIGHT = np.arange(60, dtype=np.uint8).reshape(6, 10) * 4
# What a camera stores of the upright image, by EXIF's definition: where row 0 and column 0 of what is stored are seen.
STORED = {
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.T,  # left, top
    6: UPRIGHT.T[::-1],  # right, top
    7: UPRIGHT.T[::-1, ::-1],  # right, bottom
    8: UPRIGHT.T[:, ::-1],  # left, bottom
}


def write(path, orientation: int, **keys) -> str:
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    exif = image.getexif()
    exif[images.ORIENTATION] = orientation
    image.save(path, exif=exif, **keys)
    return str(path)


@pytest.mark.parametrize("ending", ["png", "tif", "lzw.tif", "webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_an_image_is_turned_as_its_exif_entry_says(orientation, ending, tmp_path):
    keys = {"webp": {"lossless": True}, "lzw.tif": {"compression": "tiff_lzw"}}
    path = write(tmp_path / f"a.{ending}", orientation, **keys.get(ending, {}))
    seen = np.asarray(read_rgb(path))
    assert (seen == UPRIGHT[..., None]).all()
    stored = np.asarray(read_rgb(path, lambda header: False))
    assert (stored == STORED[orientation][..., None]).all()
    assert image_size(path) == (10, 6)
    header = read_header(path)
    assert header.stored == STORED[orientation].shape[::-1] and header.seen == (10, 6)
    assert (np.asarray(read_upright(path)) == seen).all()
    with open(path, "rb") as f:
        assert (np.asarray(decode_upright(f.read(), "a")) == seen).all()


def test_a_damaged_exif_entry_says_nothing(tmp_path):
    for orientation in (0, 9, 77):
        image = Image.fromarray(UPRIGHT)
        exif = image.getexif()
        exif[images.ORIENTATION] = orientation
        image.save(tmp_path / "a.png", exif=exif)
        assert (np.asarray(read_rgb(tmp_path / "a.png"))[..., 0] == UPRIGHT).all()
    Image.fromarray(UPRIGHT).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert read_rgb(tmp_path / "a.jpg").size == (10, 6)


RAMP = np.linspace(0, 1, 256)[None].repeat(4, 0)
EXPECTED = np.rint(RAMP * 255)


@pytest.mark.parametrize("top", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize(
    ("dtype", "ending"), [("uint16", "png"), ("uint16", "tif"), ("int32", "tif"), ("float32", "tif")]
)
def test_grey_values_of_more_than_8_bits_keep_their_contrast(top, dtype, ending, tmp_path):
    values = np.rint(RAMP * top).astype(dtype)
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    found = np.asarray(read_rgb(tmp_path / f"a.{ending}")).astype(int)
    assert (found == found[..., :1]).all() and abs(found[..., 0] - EXPECTED).max() <= 1
    assert (np.asarray(to_picture(Image.fromarray(values))) == found).all()


def test_floating_point_from_0_to_1(tmp_path):
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "a.tif")
    assert (np.asarray(read_rgb(tmp_path / "a.tif"))[..., 0] == EXPECTED).all()


@pytest.mark.parametrize("most", [1.02, 1.6, 2])
def test_reflectance_above_1_is_white(tmp_path, most, gdal):
    """Of snow and clouds; values of 8 bits are above 2."""
    Image.fromarray((RAMP * most).astype(np.float32)).save(tmp_path / "a.tif")
    for found in by_both_readers(str(tmp_path / "a.tif")):
        np.testing.assert_allclose(found[..., 0], (RAMP * most * 255).clip(0, 255), atol=0.51)


@pytest.fixture(params=["gdal", "no gdal"])
def gdal(request, monkeypatch):
    """Both with GDAL and without."""
    if request.param == "gdal":
        pytest.importorskip("rasterio")
    else:
        monkeypatch.setattr(raster, "ENDINGS", ())


def by_both_readers(path: str) -> tuple[np.ndarray, np.ndarray]:
    """An image at once, and as large ones are read."""
    large = open_large(path)
    return np.asarray(read_rgb(path)), np.asarray(large.crop((0, 0, *large.size)))


@pytest.mark.parametrize("top", [255, 4095, 65535])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("ending", ["png", "tif", "ppm"])
def test_colours_of_16_bits_are_scaled_as_grey_values_are(top, channels, ending, tmp_path, gdal):
    if (ending, channels) == ("ppm", 4):
        pytest.skip("it has three colours")
    path = str(tmp_path / f"a.{ending}")
    shares = np.random.default_rng(0).random((20, 30, 4))
    shares[0, 0] = 1
    values = np.rint(shares * top)
    cv2.imwrite(path, values[..., :channels].astype(np.uint16))  # LZW with a predictor, of TIFF
    expected = np.rint(values[..., 2::-1] * (255 / top))
    for found in (*by_both_readers(path), np.asarray(decode_upright(Path(path).read_bytes(), "a"))):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("orientation", STORED)
def test_colours_of_16_bits_are_turned(orientation, tmp_path, gdal):
    path = str(tmp_path / "a.tif")
    cv2.imwrite(
        path, STORED[orientation][..., None].repeat(3, 2).astype(np.uint16) * 257, (cv2.IMWRITE_TIFF_COMPRESSION, 1)
    )
    content, sample_format = bytearray(Path(path).read_bytes()), struct.pack("<HHI", 339, 3, 3)
    entry = content.index(sample_format)  # which says what is so by default
    content[entry : entry + 12] = struct.pack("<HHII", images.ORIENTATION, 3, 1, orientation)
    Path(path).write_bytes(content)
    for found in by_both_readers(path):
        np.testing.assert_array_equal(found, UPRIGHT[..., None].repeat(3, 2))
    stored = np.asarray(read_rgb(path, lambda header: False))
    assert (stored == STORED[orientation][..., None]).all()


def test_damaged_colours_of_16_bits_are_named(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 9000, (40, 50, 3), dtype=np.uint16))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:5000])
    with pytest.raises(BrokenImageError, match=r"a.png cannot be read: its colours of 16 bits cannot be decoded"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("top", [1, 255, 4095, 60_000])
def test_zero_is_white_where_a_tiff_says_so(top, tmp_path, gdal):
    """By either reader, and with the contrast of the depth that the values fill."""
    path, dtype = str(tmp_path / "a.tif"), np.uint16 if top > 255 else np.uint8
    Image.fromarray(np.rint(RAMP * top).astype(dtype)).save(path)
    content, entry = Path(path).read_bytes(), struct.pack("<HHIH", images.PHOTOMETRIC, 3, 1, 1)
    assert content.count(entry) == 1
    Path(path).write_bytes(content.replace(entry, struct.pack("<HHIH", images.PHOTOMETRIC, 3, 1, 0)))
    most = 255 if top <= 255 else 4095 if top <= 4095 else 65535
    for found in by_both_readers(path):
        np.testing.assert_allclose(found[..., 0], 255 - np.rint(RAMP * top) * (255 / most), atol=1)


def test_nan_has_no_value(tmp_path, gdal):
    """GDAL's users write it where there are none, with and without saying so in the file."""
    values = (np.random.default_rng(0).random((20, 30)) * 4095).astype(np.float32)
    values[0, 0], values[5:9, 3:20] = 4095, np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    for found in by_both_readers(str(tmp_path / "a.tif")):
        np.testing.assert_array_equal(found[..., 0], np.rint(np.nan_to_num(values) * (255 / 4095)))
    assert not np.asarray(to_picture(Image.fromarray(np.full((4, 4), np.nan, np.float32)))).any()


@pytest.mark.parametrize("values", [[[-1.0, 0.5]], [[0.0, 1e7]], [[float("inf"), 1]]])
def test_values_without_a_depth_are_refused(values, tmp_path):
    image = Image.fromarray(np.array(values, np.float32))
    image.save(tmp_path / "a.tif")
    with pytest.raises(BrokenImageError, match=r"a.tif cannot be read: its grey values go from .* between 0 and 65535"):
        read_rgb(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"PIL image \(mode F\) cannot be used: its grey values"):
        to_picture(image)


def test_the_scale_is_said_once(tmp_path, log, monkeypatch):
    monkeypatch.setattr(pixels, "_said_depth", pixels.OnceForAll())
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "a.png")
    for _ in range(3):
        assert read_rgb(tmp_path / "a.png").getpixel((0, 0)) == (156,) * 3
    (record,) = log.records
    assert "a.png holds values of 16 bits; they are scaled to 8 bits" in record.getMessage()


@pytest.mark.skipif(".avif" not in images.IMAGE_ENDINGS, reason="Pillow is built without AVIF")
def test_avif_is_read_and_another_kind_says_what_to_do(tmp_path):
    path = tmp_path / "a.avif"
    Image.new("RGB", (32, 20), (200, 100, 50)).save(path)
    assert np.abs(np.asarray(read_rgb(path), int) - (200, 100, 50)).max() < 8 and image_size(str(path)) == (32, 20)
    (tmp_path / "b.heic").write_bytes(b"....ftypheic")
    with pytest.raises(images.BrokenImageError, match="b.heic cannot be read: .*; convert it to JPEG or PNG"):
        read_rgb(tmp_path / "b.heic")
    assert not set(images.IMAGE_ENDINGS) & set(images.UNREAD_ENDINGS)


@pytest.mark.parametrize(("ending", "several"), [("tif", True), ("gif", True), ("tif", False), ("png", False)])
def test_an_image_of_several_pages_is_the_first(tmp_path, log, monkeypatch, ending, several):
    monkeypatch.setattr(images, "_said_pages", pixels.OnceForAll())
    first, second = Image.new("L", (8, 6), 200), Image.new("L", (8, 6), 10)
    first.save(tmp_path / f"a.{ending}", save_all=several, append_images=[second] if several else [])
    for _ in range(2):
        assert read_rgb(tmp_path / f"a.{ending}").getpixel((0, 0)) == (200,) * 3
    said = [record.getMessage() for record in log.records]
    assert len(said) == several and all(
        f"a.{ending} has several pages or frames, of which the first" in s for s in said
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_colour_mode_keeps_its_colours(mode, tmp_path):
    grey = np.repeat([[0, 60, 130, 255]], 8, 0).astype(np.uint8)
    if mode == "1":
        grey = np.where(grey > 127, 255, 0).astype(np.uint8)
    image = Image.fromarray(grey)
    image = image.convert("RGB").convert(mode) if mode == "CMYK" else image.convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    found = read_rgb(path)
    assert found.mode == "RGB" and abs(np.asarray(found).astype(int) - grey[..., None]).max() <= 2


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparency_keeps_what_is_stored(tmp_path):
    grey = np.repeat([[0, 60, 130, 255]], 8, 0).astype(np.uint8)
    for transparency in (0, bytes([0, 128, 255])):
        Image.fromarray(grey).convert("P").save(tmp_path / "a.png", transparency=transparency)
        assert abs(np.asarray(read_rgb(tmp_path / "a.png")).astype(int) - grey[..., None]).max() <= 1


def claim(width: int, height: int) -> bytes:
    """A PNG of some bytes whose header says how large it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def test_a_claim_of_a_huge_size_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(claim(40_000, 25_000))
    for read in (read_rgb, image_size, read_upright):
        with pytest.raises(BrokenImageError, match=r"a.png cannot be read: it has more pixels than are read here"):
            read(str(tmp_path / "a.png"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cut", [0, 1, 30, 200, 400])
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "bmp", "webp", "gif"])
def test_files_cut_short_or_changed_raise_one_kind_of_error(ending, cut):
    rng = np.random.default_rng(cut)
    content = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (40, 50), dtype=np.uint8)).save(
        content, {"jpg": "jpeg", "tif": "tiff"}.get(ending, ending)
    )
    whole = bytearray(content.getvalue())
    for attempt in range(20):
        changed = bytearray(whole[:cut] if cut else whole)
        for place in rng.integers(0, max(len(changed), 1), attempt).tolist():
            if place < len(changed):
                changed[place] = int(rng.integers(256))
        try:
            image = decode_rgb(io.BytesIO(bytes(changed)), "the file")
        except BrokenImageError as error:
            assert str(error).startswith("The image the file cannot be read: ") and not str(error).endswith(".")
        else:
            assert image.mode == "RGB"


def test_what_is_no_image_gets_a_sentence(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(BrokenImageError, match=r"text.jpg cannot be read: it is no image, or of an unknown kind$"):
        read_rgb(tmp_path / "text.jpg")
    with pytest.raises(BrokenImageError, match=r"none.jpg cannot be read: there is no such file$"):
        read_rgb(tmp_path / "none.jpg")
    with pytest.raises(BrokenImageError, match="cannot be read"):
        read_rgb(tmp_path)


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_claim_below_pillows_limit_is_refused_by_its_bytes(tmp_path):
    """A small TIFF of 32-bit values that says it is 32 x 4,250,000 pixels: 1,088 MB with what is made of them."""
    Image.fromarray(np.zeros((24, 32), np.float32)).save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    entry = content.index(struct.pack("<HHI", 257, 4, 1)) if struct.pack("<HHI", 257, 4, 1) in content else -1
    if entry < 0:
        entry = content.index(struct.pack("<HHI", 257, 3, 1))
        content[entry : entry + 8] = struct.pack("<HHI", 257, 4, 1)
    content[entry + 8 : entry + 12] = struct.pack("<I", 4_250_000)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(BrokenImageError, match=r"32 x 4250000 pixels of the kind F are more than the 853 MB"):
        read_rgb(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("where", ["before", "behind", "nowhere"])
def test_headers_of_png_are_read_without_decoding(tmp_path, where, monkeypatch):
    """Also of an entry behind the pixels, which PNG allows; only then is the image decoded."""
    path = str(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(path, exif=exif if where != "nowhere" else None)
    content = Path(path).read_bytes()
    if where == "behind":
        start = content.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        tail = content.index(b"IEND") - 4
        Path(path).write_bytes(content[:start] + content[end:tail] + content[start:end] + content[tail:])
    decoded = []
    load = PngImageFile.load
    monkeypatch.setattr(PngImageFile, "load", lambda self: decoded.append(1) or load(self))
    assert image_size(path) == ((30, 20) if where == "nowhere" else (20, 30))
    assert bool(decoded) == (where == "behind")
    assert read_rgb(path).size == ((30, 20) if where == "nowhere" else (20, 30))


@pytest.mark.parametrize("part", [5, 64, 1 << 20])
def test_parts_make_the_whole(tmp_path, monkeypatch, part):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (13, 17, 3), dtype=np.uint8)
    deep = rng.integers(0, 60_000, (13, 17), dtype=np.uint16)
    deep[3, 4] = 65_535
    unit = rng.random((13, 17), dtype=np.float32)
    for name, pixels_of in (("a.png", colours), ("b.png", deep), ("c.tif", unit)):
        Image.fromarray(pixels_of).save(tmp_path / name)
    monkeypatch.setattr(pixels, "PART", part)
    assert (to_bgr(str(tmp_path / "a.png")) == colours[:, :, ::-1]).all()
    assert (np.asarray(read_rgb(tmp_path / "b.png")) == np.rint(deep / 257)[..., None]).all()
    assert (np.asarray(read_rgb(tmp_path / "c.tif")) == np.rint(unit * 255)[..., None]).all()


def test_an_image_of_the_user_stays_as_it_is():
    image = Image.fromarray(UPRIGHT).convert("P")
    image.info["transparency"] = bytes(range(20))
    before = image.convert("RGBA").convert("RGB")
    assert (np.asarray(to_picture(image)) == np.asarray(before)).all()
    assert image.mode == "P" and image.info["transparency"] == bytes(range(20))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
def test_an_opened_image_is_turned_as_its_file_is(orientation, name, tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / name, exif=exif)
    with Image.open(tmp_path / name) as opened:
        found = np.asarray(to_picture(opened))
        again = np.asarray(to_picture(opened))
    assert np.array_equal(found, np.asarray(read_rgb(tmp_path / name))) and np.array_equal(found, again)
    for turn in (True, False):  # what was read stays as it was read
        read = read_rgb(tmp_path / name, lambda header, turn=turn: turn)
        for image in (read, pickle.loads(pickle.dumps(read))):
            assert np.array_equal(np.asarray(to_picture(image)), np.asarray(read))


def test_grey_arrays(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for array in (grey, grey[..., None]):
        assert (to_bgr(array) == grey[..., None]).all() and (np.asarray(to_picture(array)) == grey[..., None]).all()
    with pytest.raises(ValueError, match=r"got uint16 \[3, 4\]. The path"):
        to_picture(grey.astype(np.uint16))


def test_an_image_of_a_worker_reaches_the_main_process(tmp_path):
    Image.fromarray(UPRIGHT).convert("RGB").save(tmp_path / "a.png")
    image = read_rgb(tmp_path / "a.png")
    assert (np.asarray(pickle.loads(pickle.dumps(image))) == UPRIGHT[..., None]).all()


@pytest.mark.parametrize(
    ("mode", "turned", "bytes_each"), [("RGB", 0, 4), ("L", 0, 5), ("I;16", 0, 6), ("RGBA", 4, 12)]
)
def test_memory_is_counted_with_what_is_made_of_an_image(monkeypatch, mode, turned, bytes_each):
    """6 x 10 pixels, just refused and just taken."""
    image = Image.new(mode, (6, 10))
    content = io.BytesIO()
    exif = image.getexif()
    exif[images.ORIENTATION] = 6 if turned else 1
    image.save(content, "PNG", exif=exif)
    monkeypatch.setattr(images, "MOST_BYTES", 60 * bytes_each)
    assert decode_rgb(content, "it").size == ((10, 6) if turned else (6, 10))
    monkeypatch.setattr(images, "MOST_BYTES", 60 * bytes_each - 1)
    with pytest.raises(BrokenImageError, match="more than the 0 MB"):
        decode_rgb(content, "it")
