"""What the commands share: the options of most, and how they end.

Nothing here imports what trainings and tests take, so that a command which needs neither starts at once.
"""

import contextlib
import errno
import importlib
import logging
import os
import sys
import warnings
from argparse import SUPPRESS
from collections.abc import Iterator

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.config.command_line import KeyParser
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.engine.errors import EvaluationError, NonFiniteLossError, TrainingInterrupted
from maskrcnn_benchmark.utils import distributed

# What a user can put right; anything else is a fault of ours and keeps its traceback.
USER_ERRORS = (ConfigError, CheckpointError, NonFiniteLossError, OSError, ValueError, ImportError)


def argument_parser(description: str | None) -> KeyParser:
    """The options that training and testing share."""
    parser = KeyParser(description=description)
    parser.add_config()
    parser.add_argument(
        "--local_rank",
        "--local-rank",
        type=int,
        default=0,
        help=SUPPRESS,  # ignored: torchrun sets the environment
    )
    return parser


@contextlib.contextmanager
def command_line() -> Iterator[None]:
    """What a program runs in: ends with one sentence for what the user can put right, and leaves the group of processes in any
    case.
    """
    # PyTorch asks for pages of 2 MB before its first tensor. The maps of one 800 x 1120 image take 180,000 of 4 KB, each cleared
    # when it is first touched.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # Names of files may be no text, and a terminal may lack their letters: they are shown as well as can be.
    with contextlib.suppress(AttributeError, OSError, ValueError):  # of a stream that another program has put there
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Pillow's, of an image of many pixels. What is too large here is refused with a sentence (data/datasets/images.py).
    warnings.filterwarnings("ignore", "Image size .* exceeds limit")
    try:
        importlib.import_module(
            "maskrcnn_benchmark.utils.env"
        )  # for commands of other packages; those of cli/ have it already
        yield
    except TrainingInterrupted as stop:
        logging.getLogger("maskrcnn_benchmark").warning(stop.message)
        raise
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # whoever read the output, like `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to be flushed goes there
        raise SystemExit(141) from None
    except (*USER_ERRORS, EvaluationError) as error:
        if isinstance(error, EvaluationError) and not isinstance(error.__cause__, USER_ERRORS):
            raise
        logging.getLogger("maskrcnn_benchmark").debug("Stopped by an error", exc_info=True)  # into log.txt alone
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        said = str(error)
        if isinstance(error, OSError) and said.startswith("[Errno") and error.filename:
            said = f"{error.filename}: {error.strerror}. Name another file or folder."
        print(f"error: {'The disk is full. ' if full else ''}{said}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        distributed.shut_down()
