"""tools/draw_context.py as a command."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from tests.support.helpers import CONFIG

ROOT = Path(__file__).parents[2]
MODEL = ["MODEL.NON_LOCAL.TOP_DOWN.TYPE", "enl", "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", "32", "SEED", "1"]


@pytest.fixture
def draw(run_program, tmp_path) -> Callable[..., tuple[int, str]]:
    """Its arguments -> its exit status and what it printed."""

    def call(*arguments: object, options: list[str] = MODEL) -> tuple[int, str]:
        words = ("--config-file", CONFIG, *arguments, *options, "OUTPUT_DIR", tmp_path)
        return run_program(ROOT / "tools" / "draw_context.py", *words)

    return call


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (100, 140, 3), dtype=np.uint8))
    return path


def test_a_row_for_each_module(draw, tmp_path, image):
    code, printed = draw("--image", image, "--point", 30, 40, "--out", tmp_path / "out.png")
    assert code == 0, printed
    picture = cv2.imread(str(tmp_path / "out.png"))
    assert picture.shape == (3 * (500 + 24), 3 * (700 + 6), 3)  # enlarged five times; three modules, three maps
    # The position term, in the middle, is strongest at the point: red there, not at the far corner.
    for row in range(3):
        panel = picture[row * 524 + 24 : (row + 1) * 524, 706 : 2 * 706 - 6].astype(int)
        near, far = panel[180:186, 175:180].mean((0, 1)), panel[480:, 680:].mean((0, 1))
        assert near[2] - near[0] > 80 > abs(far[2] - far[0])


def test_a_name_of_no_picture_is_refused_before_anything_is_read(draw):
    code, printed = draw("--image", "no.png", "--point", 30, 40, "--out", "out.abc")
    assert code == 1 and "--out must end in one of .jpg, .jpeg, .png" in printed and "out.abc" in printed


def test_averaged_weights_are_drawn(draw, tmp_path, image):
    """As in testing: a checkpoint of a training with SOLVER.EMA gives its averaged weights."""
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIG))
    cfg.merge_from_list(MODEL)
    states = [build_detection_model(cfg).state_dict() for _ in range(2)]
    contents = {"plain": {"model": states[0]}, "averaged": {"model": states[1], "ema": states[0]}}
    for name, content in contents.items():
        torch.save(content, tmp_path / f"{name}.pth")
        words = ("--ckpt", tmp_path / f"{name}.pth", "--out", tmp_path / f"{name}.png")
        code, printed = draw("--image", image, "--point", 30, 40, *words)
        assert code == 0, printed
    drawn, expected = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("averaged", "plain"))
    assert (drawn == expected).all()


def test_said_in_a_sentence(draw, tmp_path, image):
    (tmp_path / "broken.png").write_bytes(image.read_bytes()[:60])
    for arguments, options, said in (
        (("--image", tmp_path / "no.png", "--point", 1, 1), MODEL, "no.png cannot be read: there is no such file"),
        (("--image", tmp_path / "broken.png", "--point", 1, 1), MODEL, "broken.png"),
        (("--image", image, "--point", 140, 1), MODEL, r"The point (140, 1) is outside"),
        (("--image", image, "--point", 1, 1), MODEL[2:], "MODEL.NON_LOCAL.TOP_DOWN.TYPE turns them on"),
        (("--image", image, "--point", 1, 1, "--out", tmp_path / "no" / "x.png"), MODEL, "its folder must exist"),
    ):
        code, printed = draw(*arguments, options=options)
        assert code == 1 and said in printed.splitlines()[-1], printed
        assert "Traceback" not in printed
