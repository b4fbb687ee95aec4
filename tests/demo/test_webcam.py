"""demo/webcam.py without a display: on a video file, on a Motion JPEG stream, and where there is no camera."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from maskrcnn_benchmark.engine import predictor_options
from maskrcnn_benchmark.utils.video import Video, VideoWriter
from tests.demo.conftest import DEMO
from tests.support.mjpeg import mjpeg_server

FRAMES = [np.full((96, 128, 3), 15 * i, np.uint8) for i in range(8)]


@pytest.fixture
def webcam(run_demo, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words: object, model=("--config-file", tiny[0], "--ckpt", tiny[1])) -> tuple[int, str]:
        return run_demo("webcam", *model, "--min-image-size", 64, *words)

    return call


def test_a_video_file_becomes_a_video(webcam, tmp_path):
    with VideoWriter(tmp_path / "clip.avi", 6) as writer:
        for frame in FRAMES:
            writer.write(frame)
    code, printed = webcam("--source", "clip.avi", "--confidence-threshold", 0.3)
    assert code == 0 and printed.splitlines()[-1].startswith("8 frames in ") and "webcam.mp4" in printed, printed
    with Video(tmp_path / "webcam.mp4") as video:
        shown = list(video)
        assert video.fps == pytest.approx(6) and len(shown) == 8 and shown[0].shape == (96, 128, 3)
    for i, frame in enumerate(shown):
        assert frame[:14, :60].min() < 90 and frame[:14, :60].max() > 200  # the frame rate, black on white
        assert i == 0 or abs(float(np.median(frame)) - 15 * i) < 40


def test_no_video_is_replaced(webcam, tmp_path):
    with VideoWriter(tmp_path / "clip.avi", 6) as writer:
        for frame in FRAMES:
            writer.write(frame)
    before = (tmp_path / "clip.avi").read_bytes()
    code, printed = webcam("--source", "clip.avi", "--out", tmp_path / "clip.avi")
    assert code == 1 and "is clip.avi itself, which would be replaced" in printed.splitlines()[-1], printed
    assert (tmp_path / "clip.avi").read_bytes() == before
    for name in ("webcam.mp4", "webcam_2.mp4"):
        code, printed = webcam("--source", "clip.avi", "--frames", 2)
        assert code == 0 and printed.splitlines()[-1].endswith(name), printed


def test_heatmaps_and_options(webcam, tmp_path):
    with VideoWriter(tmp_path / "clip.avi", 6) as writer:
        for frame in FRAMES:
            writer.write(frame)
    code, printed = webcam(
        *("--source", "clip.avi", "--show-mask-heatmaps", "--masks-per-dim", 3, "--frames", 2, "--out", "h.avi"),
        *("--confidence-threshold", 0, "MODEL.DEVICE", "cpu"),
    )
    assert code == 0 and "2 frames in" in printed and not (tmp_path / "webcam.mp4").exists()
    with Video(tmp_path / "h.avi") as video:
        first = next(iter(video)).astype(int)
    assert first[80:, 100:, 0].mean() > first[80:, 100:, 1].mean()  # JET: low values are blue


def test_a_stream_plays_as_long_as_it_took(webcam, tmp_path):
    with mjpeg_server(FRAMES * 4, pause_s=0.04) as address:
        began = time.monotonic()
        code, printed = webcam("--source", address, "--out", "stream.mp4")
        took = time.monotonic() - began
    assert code == 0, printed
    count = int(printed.splitlines()[-1].split()[0])
    assert 1 <= count <= 32
    with Video(tmp_path / "stream.mp4") as video:
        assert 0 < len(list(video)) / video.fps <= took + 0.1


@pytest.mark.slow
def test_an_interruption_leaves_a_whole_video(tiny, tmp_path):
    command = [
        sys.executable,
        DEMO / "webcam.py",
        "--config-file",
        tiny[0],
        "--ckpt",
        tiny[1],
        "--min-image-size",
        "64",
    ]
    hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment = {**hidden, "PYTHONPATH": str(DEMO.parent), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with mjpeg_server(FRAMES * 1000) as address:
        process = subprocess.Popen(
            [*map(str, command), "--source", address], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        path = tmp_path / "webcam.mp4"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (path.exists() and path.stat().st_size > 0):
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "frames/s: webcam.mp4" in printed
    with Video(path) as video:
        assert len(list(video)) >= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--source", "93"), "There is no camera 93, or another program holds it"),
        (("--source", "no.mp4"), "There is no video no.mp4."),
        (("--source", "http://127.0.0.1:9/x"), "The stream http://127.0.0.1:9/x cannot be read."),
        (("--source", "93", "--confidence-threshold", "9"), "--confidence-threshold lies between 0 and 1; got 9"),
    ],
)
def test_said_in_a_sentence(webcam, words, said):
    code, printed = webcam(*words)
    assert code == 1 and printed.count("\n") == 1 and said in printed


def test_a_configuration_that_is_not_there(webcam):
    code, printed = webcam("--source", "93", "--config-file", "no.yaml", model=())
    assert code == 1 and printed.count("\n") == 1 and "There is no configuration file 'no.yaml'" in printed


def test_without_the_model_of_the_repository(webcam, monkeypatch, tmp_path):
    monkeypatch.setattr(predictor_options.shipped, "MODEL", tmp_path / "none")
    code, printed = webcam("--source", "93", model=())
    assert code == 1 and "No model was named" in printed
