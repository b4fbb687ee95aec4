"""Names in any script: drawn by a font that has them, or said to be missing."""

import logging
from pathlib import Path

import numpy as np
import pytest

from maskrcnn_benchmark.visualization import draw_objects, fonts
from maskrcnn_benchmark.visualization.lettering import text_size


@pytest.fixture
def system(monkeypatch):
    """Makes `files` the fonts of the system."""

    def use(*files: object) -> None:
        for cached in (fonts.font_files, fonts.font_for, fonts._has, fonts._opened):
            cached.cache_clear()
        monkeypatch.setattr(fonts, "_said", set())
        monkeypatch.setattr(fonts, "font_folders", lambda: [Path(file).parent for file in files])

    yield use
    monkeypatch.undo()
    for cached in (fonts.font_files, fonts.font_for, fonts._has, fonts._opened):
        cached.cache_clear()


@pytest.fixture
def dejavu() -> Path:
    """Latin, Greek, Cyrillic, Arabic and Hebrew letters are among its own."""
    matplotlib = pytest.importorskip("matplotlib", reason="the font comes with matplotlib")
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@pytest.mark.parametrize("name", ["кошка", "γάτα", "حصان", "žluťoučký kůň", "ß"])
def test_another_script_is_drawn_by_a_font_of_the_system(system, dejavu, name, log):
    system()
    boxes = np.asarray(fonts.draw_line(name, 24, 2))
    assert "No font on this machine has the characters" in log.text or name == "ß"
    log.clear()
    system(dejavu)
    drawn = np.asarray(fonts.draw_line(name, 24, 2))
    assert not log.records
    expected = fonts.ImageFont.truetype(str(dejavu), 24).getmask(name)
    ink = np.asarray(drawn, float).sum() / 255
    assert 0.4 < ink / (np.array(expected, float).sum() / 255) < 1.3  # perhaps a little smaller, to fit into the line
    assert drawn.shape[0] == np.asarray(fonts.draw_line("cat", 24, 2)).shape[0]
    if name != "ß":
        assert drawn.shape != boxes.shape or (drawn != boxes).any()


def test_one_font_draws_a_text_if_it_can(system, dejavu):
    system(dejavu)
    own = str(fonts.font_files()[0])
    assert list(fonts.runs("cat 0.93")) == [("", "cat 0.93")]
    (only,) = fonts.runs("Größe кот 1.00")
    assert only[1] == "Größe кот 1.00" and fonts._has(own, "ж") and not fonts._has("", "ж")


def test_what_no_font_has_is_said_once_by_script(system, log):
    system()
    image = np.zeros((100, 200, 3), np.uint8)
    for _ in range(2):
        draw_objects(image, np.array([[10, 40, 90, 90]]), [1], ["猫 แมว 0.9"])
    said = [record.getMessage() for record in log.records if record.levelno == logging.WARNING]
    assert len(said) == 1 and "猫แมว (Cjk, Thai)" in said[0] and "MRB_FONT" in said[0]


def test_a_font_may_be_named(system, dejavu, monkeypatch, log):
    monkeypatch.setenv("MRB_FONT", str(dejavu))
    system()
    assert fonts.font_files() == [str(dejavu)] and fonts.font_for("ж") == str(dejavu)
    monkeypatch.setenv("MRB_FONT", __file__)
    system()
    assert fonts.font_for("ж") is None
    assert "which is no font that can be read" in log.text


def test_control_characters_and_endless_names_are_one_short_line():
    assert fonts.readable("a\nb\tc\0") == "a b c "
    height = text_size("cat", 12)[1]
    width, found = text_size("x" * 100_000 + "\n", 12)
    assert found == height and width < 3000
