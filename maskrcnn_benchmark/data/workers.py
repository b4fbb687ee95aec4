"""What a loader's worker processes are told when they start."""

import contextlib
import ctypes
import os
import signal

import cv2
import torch
from PIL import Image

# glibc's mallopt: free memory at the heap's end that is kept, and the size from which memory is taken from the system.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 256 * 2**20
# Blocks of 16 MB that Pillow keeps.
PILLOW_BLOCKS = 8


def start_worker(worker_id: int) -> None:
    """One thread each, and memory for pixels that is used again.

    A worker takes and frees tens of megabytes an image. Given back to the system and taken anew, every page of them costs a
    fault, which together is more than the arithmetic on the pixels.
    """
    _leave_signals_to_the_main_process()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with contextlib.suppress(AttributeError):  # other libraries than glibc have no mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    with contextlib.suppress(AttributeError):
        Image.core.set_blocks_max(PILLOW_BLOCKS)


def _leave_signals_to_the_main_process() -> None:
    """A terminal and torchrun signal whole groups of processes; the main one stops in its own time, and its loader with it.

    SIGTERM must still reach this process by itself: that is how the main one ends it.
    """
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
