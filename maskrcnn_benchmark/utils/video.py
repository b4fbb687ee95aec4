"""Frames from video files, cameras and streams, and video files from frames. Frames are uint8 [H, W, 3], BGR."""

import contextlib
import os
import threading
from collections.abc import Iterator

import cv2
import numpy as np

from maskrcnn_benchmark.utils.file_kinds import is_video_file

# Containers and their codecs that OpenCV's wheels can write.
CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80", ".mkv": "mp4v"}
DEFAULT_FPS = 25.0
# FFmpeg prints lines of its own about what it cannot read; OpenCV takes this when it first opens a video.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class VideoError(OSError):
    """A video, camera or stream that cannot be read or written; the message names it."""


def is_video(source: object) -> bool:
    """Whether a path is that of a video, by its content, or an address that of a stream."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    name = os.fspath(source)
    return isinstance(name, str) and (_is_address(name) or is_video_file(name))


def _is_address(name: str) -> bool:
    return "://" in name and not os.path.exists(name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without OpenCV's own lines about what cannot be opened."""
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)


class Video:
    """The frames of a file, a camera or a stream, one at a time.

    Args:
        source: a file, the number of a camera, or the address of a stream (http://, rtsp://).

    Attributes:
        fps: frames a second; DEFAULT_FPS where the source does not say.
        frames: how many there are, by the file's header; 0 for a camera or stream.

    Raises VideoError with a sentence where it cannot be opened.
    """

    def __init__(self, source: str | os.PathLike | int):
        name = str(source)
        self.is_camera = name.isdecimal()
        is_address = _is_address(name)
        if not self.is_camera and not is_address and not os.path.isfile(name):
            raise VideoError(f"There is no video {name}.")
        with _quiet():
            # OpenCV takes a name with % for a numbered series of images unless FFmpeg is asked first.
            self._capture = cv2.VideoCapture(int(name)) if self.is_camera else cv2.VideoCapture(name, cv2.CAP_FFMPEG)
            if not self.is_camera and not self._capture.isOpened():
                self._capture = cv2.VideoCapture(name)
        if not self._capture.isOpened():
            raise VideoError(self._reason(name))
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.name = name
        self.fps = fps if 0 < fps <= 1000 else DEFAULT_FPS
        self.frames = 0 if self.is_camera else max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self.is_live = self.is_camera or (is_address and self.frames == 0)

    def _reason(self, name: str) -> str:
        if self.is_camera:
            return (
                f"There is no camera {name}, or another program holds it; give another number, a video file or the address "
                "of a stream."
            )
        return f"The {'stream' if _is_address(name) else 'video'} {name} cannot be read."

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames to the end. Raises VideoError where not even one can be read."""
        count = 0
        try:
            while True:
                found, frame = self._capture.read()
                if not found:
                    break
                count += 1
                yield frame
        finally:
            self.close()
        if not count:
            raise VideoError(f"Not one frame of {self.name} can be read.")

    def close(self) -> None:
        self._capture.release()

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Newest:
    """The frames of a live source, always the newest one: those that come while one is worked on are left out.

    Iterating ends when the source does; an error of the source is raised then.
    """

    def __init__(self, video: Video):
        self._video = video
        self._frame: np.ndarray | None = None
        self._error: Exception | None = None
        self._over, self._changed = False, threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for frame in self._video:
                with self._changed:
                    self._frame = frame
                    self._changed.notify()
                    if self._over:
                        return
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify()

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._frame is not None or self._over)
                    frame, self._frame = self._frame, None
                if frame is None:
                    break
                yield frame
        finally:
            self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Let go of the source; waits until the thread that reads it has seen that."""
        with self._changed:
            self._over = True
        self._thread.join(timeout=5)


class VideoWriter:
    """Writes frames of one size to a file; the first frame says which size.

    Args:
        path: ends in .mp4, .avi, .webm or .mkv.
        fps: frames a second.
    """

    def __init__(self, path: str | os.PathLike, fps: float):
        self.path, self.fps = os.fspath(path), fps
        ending = os.path.splitext(self.path)[1].lower()
        if ending not in CODECS:
            raise VideoError(f"The name of a video must end in one of {', '.join(CODECS)}; got {self.path}.")
        folder = os.path.dirname(os.path.abspath(self.path))
        if not os.path.isdir(folder):
            raise VideoError(f"There is no folder {folder} to write {os.path.basename(self.path)} to.")
        self._codec = cv2.VideoWriter.fourcc(*CODECS[ending])
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, frame: np.ndarray) -> None:
        size = (frame.shape[1], frame.shape[0])
        if self._writer is None:
            with _quiet():
                self._writer = cv2.VideoWriter(self.path, self._codec, self.fps, size)
            if not self._writer.isOpened():
                raise VideoError(f"Cannot write {self.path}: OpenCV here writes no such video.")
            self._size = size
        if size != self._size:
            raise ValueError(f"All frames of {self.path} must be {self._size[0]} x {self._size[1]} pixels; got {size}.")
        self._writer.write(frame)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
