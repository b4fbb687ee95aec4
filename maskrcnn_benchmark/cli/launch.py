"""torchrun whose exit status tells a run that was stopped from one that failed.

    mrb launch --nproc_per_node=4 -m maskrcnn_benchmark train CONFIG ... (all of torchrun's arguments)

torchrun ends with 1 in either case. Schedulers have to know: after 128 + a signal's number a checkpoint was saved and the same
command goes on from there; after anything else it would fail again. SIGUSR1, by which Slurm warns, stops a run as SIGTERM does.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any

from torch.distributed import DistError, run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError

# How a training ends when it, or a process of the same run on another machine, was asked to stop.
STOPPED = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
# Seconds from the signal to SIGKILL: an iteration ends and a checkpoint is written. torchrun's own 30 are few for slow disks.
TIMEOUT = "100"


def build_parser() -> ArgumentParser:
    """torchrun's, with what is different here as its description."""
    parser: ArgumentParser = run.get_args_parser()
    parser.description, parser.formatter_class = __doc__, RawDescriptionHelpFormatter
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    def stop(number: int, frame: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", TIMEOUT)
    signal.signal(signal.SIGUSR1, stop)
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in ("-h", "--help"):
        build_parser().print_help()
        return 0
    try:
        run.main(arguments)
    except SignalException as stopped:
        return 128 + stopped.sigval
    except ChildFailedError as failure:
        statuses = {process.exitcode for process in failure.failures.values()}
        if statuses <= STOPPED:
            return max(statuses)
        print(failure, file=sys.stderr)
        return 1
    except (RendezvousError, DistError) as error:
        print(f"error: the nodes did not find each other, or one left before the others: {error}", file=sys.stderr)
        return 1
    return 0
