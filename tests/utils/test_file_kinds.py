"""Videos are told by their content, on every machine alike."""

import mimetypes

import cv2
import numpy as np
import pytest

from maskrcnn_benchmark.utils.file_kinds import is_video_file
from maskrcnn_benchmark.utils.video import Video, is_video

FRAMES = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(1, 11)]
CODECS = {
    **dict.fromkeys((".ts", ".mts", ".m2ts", ".vob", ".mxf", ".mpeg"), "MPG2"),
    **dict.fromkeys((".3gp", ".m4v", ".mov", ".nut", ".mp4", ".mkv"), "mp4v"),
    ".mpg": "PIM1",
    ".wmv": "WMV2",
    ".asf": "WMV1",
    ".flv": "FLV1",
    ".avi": "MJPG",
    ".webm": "VP80",
}


@pytest.mark.parametrize("ending", CODECS)
@pytest.mark.parametrize("name", ["clip", "no ending"])
def test_what_ffmpeg_writes_is_a_video_under_any_name(tmp_path, monkeypatch, ending, name, capfd):
    path = tmp_path / f"clip{ending}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODECS[ending]), 25.0, (64, 48))
    assert writer.isOpened()
    for frame in FRAMES:
        writer.write(frame)
    writer.release()
    if name == "no ending":
        path = path.rename(tmp_path / "no ending")
    monkeypatch.setattr(mimetypes, "guess_type", lambda *_: (None, None))
    assert is_video(path)
    with Video(path) as video:
        assert len(list(video)) == len(FRAMES)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.mp4", cv2.imencode(".jpg", FRAMES[0])[1].tobytes(), False),
        ("a.ts", b"export const answer: number = 42;\n" * 100, False),
        ("a.ts", b"G" * 400, False),
        ("a.txt", b"GGGGG", False),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0", False),
        ("a.mov", b"\0\0\0\x14ftypqt  ", True),
        ("a.webp", cv2.imencode(".webp", FRAMES[0])[1].tobytes(), False),
        ("a.tif", cv2.imencode(".tiff", FRAMES[0])[1].tobytes(), False),
        ("broken.mp4", b"no video at all", True),  # by its name, so that it is said to be broken
        ("empty.avi", b"", True),
        ("empty", b"", False),
    ],
)
def test_other_files(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert is_video_file(str(tmp_path / name)) == expected


def test_a_file_that_is_not_there_is_what_its_name_says():
    assert [is_video_file(f"no/a{end}") for end in (".ts", ".WMV", ".3gp", ".jpg", "")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not is_video_file("a\0b.jpg")
