import time

import numpy as np
import pytest

from maskrcnn_benchmark.utils.video import Newest, Video, VideoError, VideoWriter, is_video
from tests.support.mjpeg import mjpeg_server

FRAMES = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(1, 11)]


def brightness(frames) -> list[int]:
    return [round(float(frame.mean()) / 20) for frame in frames]


@pytest.mark.parametrize("ending", [".mp4", ".avi", ".webm", ".mkv"])
def test_what_is_written_is_read_again(tmp_path, ending):
    path = tmp_path / f"clip{ending}"
    with VideoWriter(path, 12.5) as writer:
        for frame in FRAMES:
            writer.write(frame)
    with Video(path) as video:
        assert video.fps == pytest.approx(12.5, rel=0.02) and not video.is_live
        assert brightness(video) == list(range(1, 11))


def test_a_stream_over_http():
    with mjpeg_server(FRAMES) as address, Video(address) as video:
        assert video.is_live and video.frames == 0
        assert brightness(video) == list(range(1, 11))


def test_the_newest_frame_of_a_live_source():
    """A slow reader misses frames but never sees an old one, and learns of the end."""
    with mjpeg_server(FRAMES, pause_s=0.05) as address:
        seen = []
        for frame in Newest(Video(address)):
            seen += brightness([frame])
            time.sleep(0.12)
    assert seen == sorted(set(seen)) and 2 <= len(seen) < 10


def test_leaving_a_live_source_early_lets_it_go():
    with mjpeg_server(FRAMES * 100) as address:
        newest = Newest(Video(address))
        next(iter(newest))
        newest.close()
        assert not newest._thread.is_alive()


def test_an_error_of_the_source_reaches_the_reader():
    class Broken:
        def __iter__(self):
            yield FRAMES[0]
            raise VideoError("The cable was pulled.")

    with pytest.raises(VideoError, match="cable"):
        for _ in Newest(Broken()):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.mp4", True),
        ("b/c.AVI", True),
        ("http://x/y", True),
        ("rtsp://x", True),
        ("a.jpg", False),
        (FRAMES[0], False),
    ],
)
def test_what_is_a_video(source, expected):
    assert is_video(source) == expected


def test_said_in_a_sentence(tmp_path, capfd):
    (tmp_path / "broken.mp4").write_bytes(b"no video at all" * 20)
    for source, said in (
        (tmp_path / "no.mp4", "There is no video"),
        (tmp_path / "broken.mp4", "cannot be read"),
        (97, "There is no camera 97"),
        ("97", "There is no camera 97"),
        ("http://127.0.0.1:9/no", "The stream http://127.0.0.1:9/no cannot be read"),
    ):
        with pytest.raises(VideoError, match=said):
            Video(source)
    for path, said in ((tmp_path / "a.gif", "must end in one of"), (tmp_path / "no" / "a.mp4", "There is no folder")):
        with pytest.raises(VideoError, match=said):
            VideoWriter(path, 10)
    with VideoWriter(tmp_path / "a.avi", 10) as writer:
        writer.write(FRAMES[0])
        with pytest.raises(ValueError, match=r"must be 64 x 48 pixels; got \(32, 24\)"):
            writer.write(FRAMES[0][::2, ::2])
    assert "WARN" not in capfd.readouterr().err
