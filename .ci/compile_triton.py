"""Compiles the Triton kernels of the Efficient Non-Local operator for sm_80 and sm_90 on a machine without a GPU.

The operator runs on CPU tensors of the shapes it is made for, with the launches recorded instead of made; each distinct
kernel is compiled as the launch would compile it. Prints registers, spilled bytes and shared memory, and fails where a
kernel spills or needs more shared memory than a block can have.

Usage: python .ci/compile_triton.py [--all-formats] [--kernel NAME] [--dtype NAME]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from maskrcnn_benchmark.layers.non_local import Weights, triton_kernels, triton_passes

SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}
SPILL_LIMIT = 64  # bytes a thread, stores and loads together
POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
CHANNELS, HEIGHT, WIDTH, FREQUENCIES = 256, 100, 136, 9


class Launch:
    """What decides how a kernel is compiled, taken from one call of it."""

    def __init__(self, kernel: JITFunction, grid: Any, arguments: tuple, keywords: dict[str, Any]):
        names = kernel.arg_names
        values = dict(zip(names, arguments, strict=False)) | {k: v for k, v in keywords.items() if k in names}
        self.kernel, self.grid = kernel, tuple(grid)
        self.options = {k: v for k, v in keywords.items() if k in ("num_warps", "num_stages", "maxnreg")}
        self.signature: dict[str, str] = {}
        self.constants: dict[tuple[int, ...], Any] = {}
        self.attributes: dict[tuple[int, ...], list] = {}
        for index, (name, parameter) in enumerate(zip(names, kernel.params, strict=True)):
            value = values[name]
            special = not parameter.do_not_specialize
            if parameter.is_constexpr or value is None or (special and isinstance(value, int) and value == 1):
                self.signature[name] = "constexpr"
                self.constants[(index,)] = value
            elif isinstance(value, float):
                self.signature[name] = "fp32"
            else:
                pointer = isinstance(value, torch.Tensor)
                self.signature[name] = POINTERS[value.dtype] if pointer else "i32"
                if special and (value.data_ptr() if pointer else value) % 16 == 0:
                    self.attributes[(index,)] = [["tt.divisibility", 16]]

    def compile(self, architecture: int) -> triton.compiler.CompiledKernel:
        source = ASTSource(self.kernel, self.signature, self.constants, self.attributes)
        return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=self.options)


def record(function: Any, *arguments: Any, **keywords: Any) -> list[Launch]:
    launches: list[Launch] = []
    original = JITFunction.run

    def run(self: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        launches.append(Launch(self, grid, args, kwargs))

    try:
        JITFunction.run = run
        function(*arguments, **keywords)
    finally:
        JITFunction.run = original
    return launches


def resources(compiled: triton.compiler.CompiledKernel, architecture: int) -> tuple[int, int]:
    """Registers of a thread and the bytes it spills, as ptxas reports them."""
    suffix = "a" if architecture >= 90 else ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(compiled.asm["ptx"])
        command = [
            triton.knobs.nvidia.ptxas.path,
            "-v",
            "--regAllocOptLevel=2",
            f"--gpu-name=sm_{architecture}{suffix}",
        ]
        said = subprocess.run([*command, path, "-o", os.devnull], capture_output=True, text=True, check=True).stderr
    registers = re.search(r"Used (\d+) registers", said)
    assert registers is not None, said
    return int(registers[1]), sum(int(n) for n in re.findall(r"(\d+) bytes spill", said))


def cases(all_formats: bool) -> list[tuple[str, list[Launch]]]:
    kh = torch.empty(HEIGHT, FREQUENCIES)
    kw = torch.empty(WIDTH, FREQUENCIES)
    matrix = torch.empty(2, CHANNELS, CHANNELS)
    spectrum = torch.empty(2, CHANNELS, FREQUENCIES**2)
    inner = CHANNELS // 2
    parts = [torch.empty(size) for _ in range(3) for size in ((inner, CHANNELS), (inner,))]
    weights = Weights(*parts, torch.empty(CHANNELS, inner), torch.empty(CHANNELS))
    result = []
    for dtype, precision in (
        (torch.bfloat16, "ieee"),
        (torch.float16, "ieee"),
        (torch.float32, "tf32"),
        (torch.float32, "ieee"),
    ):
        torch.backends.cuda.matmul.fp32_precision = precision
        name = str(dtype).removeprefix("torch.")
        name += f" {triton_kernels.float32_precision()}" if dtype == torch.float32 else ""
        maps = [torch.empty(2, CHANNELS, HEIGHT, WIDTH, dtype=dtype) for _ in range(2)]
        for last in (False, True):
            if last:
                maps = [m.to(memory_format=torch.channels_last) for m in maps]
            x, u = maps
            layout = "last" if last else "nchw"
            label = f"{name} {layout}"
            result.append((label, record(triton_passes.position_sums, x, x, kh, kw)))
            result.append((label, record(triton_passes.contract, matrix, spectrum, HEIGHT * WIDTH, weights, True)))
            result.append((label + " backward", record(triton_passes.position_sums, u, x, kh, kw)))
            result.append((label, record(triton_passes.mix, x, matrix, spectrum, kh, kw)))
            result.append((label + " backward", record(triton_passes.mix, x, matrix, spectrum, kh, kw, u, matrix)))
            if all_formats and not last:
                mixed = u.to(memory_format=torch.channels_last)
                result.append((label + " last", record(triton_passes.position_sums, mixed, x, kh, kw)))
                result.append((label + " last", record(triton_passes.mix, x, matrix, spectrum, kh, kw, mixed, matrix)))
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all-formats", action="store_true", help="also the two maps in different memory formats")
    parser.add_argument("--kernel", default="", help="only kernels whose name begins so")
    parser.add_argument("--dtype", default="", help="only cases whose name begins so")
    arguments = parser.parse_args()
    failed = False
    seen = set()
    print(
        f"{'kernel':17}{'map':28}{'grid':>14} {'sm':>3}{'registers':>10}{'spilled':>8}{'shared':>8}{'wgmma':>6}{'mma':>5}"
    )
    for architecture, limit in SHARED_LIMIT.items():
        triton_kernels.wide_tiles = lambda device, wide=architecture >= 90: wide
        for label, launches in cases(arguments.all_formats):
            for launch in launches:
                name = launch.kernel.__name__
                key = (architecture, name, str(launch.signature), str(launch.constants), str(launch.attributes))
                if not name.startswith(arguments.kernel) or not label.startswith(arguments.dtype) or key in seen:
                    continue
                seen.add(key)
                compiled = launch.compile(architecture)
                registers, spilled = resources(compiled, architecture)
                shared = compiled.metadata.shared
                bad = spilled > SPILL_LIMIT or shared > limit
                failed |= bad
                ptx = compiled.asm["ptx"]
                wgmma, mma = len(re.findall(r"wgmma\.mma_async", ptx)), len(re.findall(r"mma\.sync", ptx))
                print(
                    f"{name:17}{label:28}{launch.grid!s:>14} {architecture:>3}{registers:>10}{spilled:>8}{shared:>8}"
                    f"{wgmma:>6}{mma:>5}{'  TOO MUCH' if bad else ''}",
                    flush=True,
                )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
