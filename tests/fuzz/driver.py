"""Runs inputs that are changed at random, each with a limit on time and memory, and judges how they end."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.util
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

SECONDS, BYTES = 5.0, 1 << 30  # of a processor; machines may be busy with other work
MOST_WAITING = 12  # times as many seconds on the clock
MOST_OF_BLOCK = 1200.0  # seconds of the clock that a process has for its block
LONGEST_END = 10.0  # seconds of the clock for a process to end once it has told its outcome
# How errors of the package end that a user can put right; see engine/command_line.py.
SENTENCE_AT_LEAST = 20  # characters


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Args:
        make: an input of a random number generator; the same for the same state of it.
        run: what a program does with it.
        allowed: the errors that it may end with.
        prepare: called once in each process, before time and memory are measured.
    """

    name: str
    make: Callable[[random.Random], Any]
    run: Callable[[Any], None]
    allowed: tuple[type[BaseException], ...]
    prepare: Callable[[], Any] = lambda: None


@dataclass
class Outcome:
    """How many inputs ended in which way; `faults` are the other ends: (seed, what it was)."""

    ends: Counter = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)


@functools.cache
def _folder_of(process: int) -> Path:
    shm = Path("/dev/shm")  # files there cost no disk
    root = shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
    place = root / f"maskrcnn-benchmark-fuzz-{os.getuid()}-{process}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    multiprocessing.util.Finalize(None, shutil.rmtree, (place, True), exitpriority=0)
    return place


def folder() -> Path:
    """A folder of this process for the files of its inputs; it is there as long as the process."""
    return _folder_of(os.getpid())


class _TooSlow(BaseException):
    """No `except Exception` catches it."""


def _stop(number: int, frame: Any) -> None:
    raise _TooSlow


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[0]) * resource.getpagesize()


def _is_of_memory(error: BaseException | None) -> bool:
    """Whether an error stands for one of memory: a program must see that it would need too much before it asks for it."""
    while error is not None:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def judge(kind: Kind, seed: int) -> tuple[str, str]:
    """(how the input of a seed ends, what is wrong with that; "" for an end that is allowed)."""
    value = kind.make(random.Random(f"{kind.name} {seed}"))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = {number: signal.signal(number, _stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    began = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + BYTES, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
    signal.setitimer(signal.ITIMER_REAL, MOST_WAITING * SECONDS)
    end, wrong = "success", ""
    try:
        kind.run(value)
    except kind.allowed as error:
        end = type(error).__name__
        said = str(error)
        if _is_of_memory(error):
            wrong = f"{end} for lack of memory: {said}"
        elif len(said) < SENTENCE_AT_LEAST or " " not in said:
            wrong = f"{end} without a sentence: {said!r}"
    except _TooSlow:
        end, wrong = "time", f"more than {2 * SECONDS:g} s, or it waits for something"
    except BaseException as error:  # noqa: B036 (what fuzzing is for)
        end = type(error).__name__
        wrong = "".join(traceback.format_exception(error)[-3:])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    seconds = time.process_time() - began
    if not wrong and seconds > SECONDS:
        end, wrong = "time", f"{seconds:.1f} s"
    return end, wrong


def run_cases(kind: Kind, seeds: range) -> Outcome:
    """All inputs of some seeds in this process."""
    outcome = Outcome()
    kind.prepare()
    for seed in seeds:
        end, wrong = judge(kind, seed)
        outcome.ends[end] += 1
        if wrong:
            outcome.faults.append((seed, wrong))
    return outcome


def in_processes(
    kind: Kind, first: int, cases: int, processes: int, block: int = 1000
) -> Iterator[tuple[int, Outcome]]:
    """`run_cases` in blocks, each in a process of its own, which may die of its input; yields (inputs done, outcome)."""
    blocks = [range(start, min(start + block, first + cases)) for start in range(first, first + cases, block)]
    context = multiprocessing.get_context("fork")
    running: dict[int, tuple] = {}
    while blocks or running:
        while blocks and len(running) < processes:
            seeds = blocks.pop(0)
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_send, args=(sender, kind, seeds))
            child.start()
            sender.close()
            running[child.pid or 0] = (child, receiver, seeds, time.monotonic() + MOST_OF_BLOCK)
        for pid, (child, receiver, seeds, end) in list(running.items()):
            if time.monotonic() > end:
                child.kill()  # it waits where no signal reaches it; then the pipe ends
            if receiver.poll(0.05):
                try:
                    outcome = receiver.recv()
                except EOFError:
                    child.join()
                    ended = f"the process ended with status {child.exitcode} (one of seeds {seeds.start} to {seeds.stop - 1})"
                    outcome = Outcome(Counter({"died": 1}), [(seeds.start, ended)])
                child.join(LONGEST_END)
                child.kill()  # a thread that an input left behind would keep it alive
                child.join()
                del running[pid]
                yield len(seeds), outcome


def _send(sender: Any, kind: Kind, seeds: range) -> None:
    torch.set_num_threads(
        1
    )  # the threads that the parent computed with are not in a fork of it, which would wait for them
    sender.send(run_cases(kind, seeds))
    sender.close()
