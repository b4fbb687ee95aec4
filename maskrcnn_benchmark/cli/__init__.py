"""The command line: `mrb COMMAND`, or `python -m maskrcnn_benchmark COMMAND`; commands.py lists the commands, a module for each.

The programs of tools/ call the same modules under upstream's names.
"""

import sys

from maskrcnn_benchmark.engine.errors import NoSetupError

try:
    import maskrcnn_benchmark.utils.env  # noqa: F401  # before all else: the user's own parts, by their names in any command
except NoSetupError as error:
    sys.exit(f"error: {error}")
try:
    import cv2  # noqa: F401  # here, because on a system without a desktop it is what most often fails, and any command needs it
except ImportError as error:
    sys.exit(
        f"error: OpenCV does not load: {error}. Install the libraries of the system that its windows need (Debian, Ubuntu: apt "
        "install libgl1 libglib2.0-0), or OpenCV without windows: pip install --force-reinstall --no-deps opencv-python-headless"
    )
