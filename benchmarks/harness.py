"""What the benchmarks share: their arguments, the machine in a line, and runs that take turns, with medians and ratios."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
import torchvision

os.environ.setdefault(
    "THP_MEM_ALLOC_ENABLE", "1"
)  # as for this package's programs (engine/command_line.py), for all sides

CPU = torch.device("cpu")
DTYPES = ("float32", "bfloat16", "float16")
Run = Callable[[], object]
T = TypeVar("T")


def argument_parser(
    about: str | None, repeat: int | None = None, dtypes: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """A parser with --repeat (turns), if there is a default for it, and with --device and --dtype, if there are dtypes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    if repeat is not None:
        parser.add_argument("--repeat", type=int, default=repeat, help=f"turns (default {repeat})")
    if dtypes:
        parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        parser.add_argument("--dtype", default=dtypes[0], choices=dtypes)
    return parser


def device_and_dtype(args: argparse.Namespace) -> tuple[torch.device, torch.dtype]:
    return torch.device(args.device), getattr(torch, args.dtype)


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Mixed precision in `dtype`; nothing for float32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def processor() -> str:
    """The CPU's name and what it multiplies narrow numbers with."""
    name, units = platform.processor() or platform.machine(), ""
    if os.path.isfile("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            lines = dict(line.split(":", 1) for line in f.read().split("\n\n")[0].splitlines())
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        name = fields.get("model name", name)
        known = {"avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}
        units = ", ".join(sorted(known & set(fields.get("flags", "").split())))
    return f"{name} ({units})" if units else name


def describe(device: torch.device) -> str:
    """The GPU's name, or the number of threads on the CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"


def machine(device: torch.device = CPU) -> str:
    """What a result has to be read with: the date, the processor, the device, the versions."""
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    return f"{datetime.date.today()}, {processor()}, {describe(device)}, {versions}"


def seconds(run: Run, device: torch.device = CPU, calls: int = 1) -> float:
    """Of so many calls, to the end of what they start on a GPU."""
    _synchronize(device)
    begin = time.perf_counter()
    for _ in range(calls):
        run()
    _synchronize(device)
    return time.perf_counter() - begin


def seconds_of_short(run: Run, device: torch.device = CPU) -> float:
    """Of one call; short calls are repeated until they take 5 milliseconds together."""
    calls = 1
    while True:
        elapsed = seconds(run, device, calls)
        if elapsed > 5e-3:
            return elapsed / calls
        calls *= 4


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def take_turns(
    sides: Mapping[str, Run], repeat: int, measure: Callable[[Run], T], warm_up: int = 1
) -> dict[str, list[T]]:
    """What `measure` finds of each side in each of `repeat` turns, after `warm_up` turns that do not count.

    All sides run in every turn, so that what else the machine does meets them alike. Every second turn runs backwards: who
    comes later finds memory that is paged in.
    """
    found: dict[str, list[T]] = {name: [] for name in sides}
    for turn in range(-warm_up, repeat):
        for name in sides if turn % 2 == 0 else reversed(list(sides)):
            value = measure(sides[name])
            if turn >= 0:
                found[name].append(value)
    return found


def ratio(dividend: Sequence[float], divisor: Sequence[float]) -> float:
    """The median of the turns' ratios."""
    return statistics.median(a / b for a, b in zip(dividend, divisor, strict=True))
