"""Detect what a camera sees; also in a video file or a stream. Esc, q or Ctrl-C end it.

mrb webcam
mrb webcam --source clip.mp4 --out found.mp4
mrb webcam --config-file FILE --source http://camera/stream MODEL.DEVICE cpu
"""

import os
import signal
import sys
import time
from collections import deque
from itertools import islice

import cv2
import numpy as np

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.config.command_line import KeyParser
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.engine.coco_demo import COCODemo
from maskrcnn_benchmark.engine.command_line import argument_parser, command_line
from maskrcnn_benchmark.engine.predictor_options import add_weights, model_files
from maskrcnn_benchmark.utils.files import check_other_file
from maskrcnn_benchmark.utils.video import Newest, Video, VideoWriter
from maskrcnn_benchmark.utils.wording import counted
from maskrcnn_benchmark.visualization import put_text

WINDOW = "detections (q ends)"


class Rate:
    """Frames a second over the last two seconds or so."""

    def __init__(self, seconds: float = 2.0):
        self.seconds, self.times = seconds, deque([time.monotonic()])

    def tick(self) -> float:
        self.times.append(time.monotonic())
        while len(self.times) > 2 and self.times[-1] - self.times[0] > self.seconds:
            self.times.popleft()
        return (len(self.times) - 1) / max(self.times[-1] - self.times[0], 1e-9)


class Recording:
    """A video file that plays as fast as what it shows: a live source's frames last until the next one came."""

    def __init__(self, path: str, fps: float, live: bool):
        self.writer, self.fps, self.live = VideoWriter(path, fps), fps, live
        self.start, self.written = time.monotonic(), 0

    def write(self, frame: np.ndarray) -> None:
        due = int((time.monotonic() - self.start) * self.fps) - self.written if self.live else 1
        for _ in range(max(due, 0 if self.written else 1)):
            self.writer.write(frame)
            self.written += 1


def has_display() -> bool:
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL)
    except cv2.error:  # OpenCV built without windows
        return False
    return True


def show(frame: np.ndarray, first: bool) -> bool:
    """Whether to go on. The first frame says how large the window is."""
    if first:
        scale = max(1, round(720 / frame.shape[0]))
        cv2.resizeWindow(WINDOW, scale * frame.shape[1], scale * frame.shape[0])
    cv2.imshow(WINDOW, frame)
    key = cv2.waitKey(1) & 0xFF
    return key not in (27, ord("q")) and cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) >= 1


def watch(demo: COCODemo, video: Video, out: str, window: bool, limit: int | None) -> None:
    """Until the source or the user ends it; only the newest frames of a live source."""
    recording = Recording(out, video.fps, video.is_live) if out else None
    rate, count, began = Rate(), 0, time.monotonic()
    try:
        for frame in islice(Newest(video) if video.is_live else video, limit):
            drawn = demo.run_on_opencv_image(frame)
            count += 1
            put_text(drawn, f"{rate.tick():.1f} frames/s", 0, 0, (255, 255, 255), max(12, drawn.shape[0] // 40))
            if recording is not None:
                recording.write(drawn)
            if window and not show(drawn, first=count == 1):
                break
    except KeyboardInterrupt:
        pass  # the ordinary end of a camera's pictures
    finally:
        if recording is not None:
            recording.writer.close()
    seconds = time.monotonic() - began
    print(f"{counted(count, 'frame')} in {seconds:.1f} s, {count / seconds:.1f} frames/s{f': {out}' if out else ''}")


def _unused(name: str) -> str:
    """The name, with a number where there is such a file."""
    stem, ending = os.path.splitext(name)
    return next(n for n in (name, *(f"{stem}_{i}{ending}" for i in range(2, 10000))) if not os.path.exists(n))


def build_parser() -> KeyParser:
    parser = argument_parser(__doc__)
    add_weights(parser)
    parser.add_argument("--source", default="0", help="number of a camera, a video file or the address of a stream (0)")
    parser.add_argument(
        "--confidence-threshold", "--threshold", type=float, default=0.7, help="least score of a detection (0.7)"
    )
    parser.add_argument(
        "--min-image-size",
        type=int,
        default=224,
        help="shorter side of the network's input, pixels (224); less is faster",
    )
    parser.add_argument("--show-mask-heatmaps", action="store_true", help="show the values of the best masks instead")
    parser.add_argument("--masks-per-dim", type=int, default=2, help="of these, how many along each side (2)")
    parser.add_argument("--out", default="", metavar="FILE", help="also write a video; without a display webcam.mp4")
    parser.add_argument("--no-window", action="store_true", help="write a video only, as without a display")
    parser.add_argument("--frames", type=int, metavar="N", help="end after so many frames")
    return parser


def main(demo_class: type[COCODemo] = COCODemo) -> None:
    """Run the command; `demo_class` detects and draws, COCODemo or a class with its constructor and `run_on_opencv_image`."""
    args = build_parser().parse_args()
    with command_line():
        if not 0 <= args.confidence_threshold <= 1:
            raise ConfigError(f"--confidence-threshold lies between 0 and 1; got {args.confidence_threshold}.")
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # finish the video then too
        config, weights = model_files(args)
        cfg = defaults.clone()
        cfg.merge_from_file(config)
        cfg.merge_from_list(args.opts)
        window = not args.no_window and has_display()
        out = args.out or ("" if window else _unused("webcam.mp4"))
        if out:
            check_other_file(out, args.source, "--out")
        with Video(args.source) as video:
            demo = demo_class(
                cfg,
                confidence_threshold=args.confidence_threshold,
                show_mask_heatmaps=args.show_mask_heatmaps,
                masks_per_dim=args.masks_per_dim,
                min_image_size=args.min_image_size,
                weight_loading=weights,
            )
            watch(demo, video, out, window, args.frames)
        if window:
            cv2.destroyAllWindows()
