"""Builds the native operators; everything else about the package is in pyproject.toml.

CPU kernels are always built. CUDA kernels are built too when there is a GPU, torch is a CUDA build and a toolkit of the same
major version is found (CUDA_HOME, nvcc on the PATH or /usr/local/cuda). Without a GPU they take minutes that most do not
need, and are built where they are asked for: by TORCH_CUDA_ARCH_LIST, which names the architectures, or FORCE_CUDA=1, for
DEFAULT_ARCHITECTURES. FORCE_CUDA=1 also makes a missing toolkit an error and takes one of any version; FORCE_CUDA=0 builds
the CPU kernels alone.

The library uses PyTorch's stable ABI and Python's limited API: one build runs on every supported torch and Python.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


def find_cuda_home() -> str | None:
    """The first place that holds a whole toolkit: a compiler with its headers, not only a command called nvcc."""
    nvcc = shutil.which("nvcc")
    guesses = (os.environ.get("CUDA_HOME"), nvcc and Path(nvcc).resolve().parents[1], "/usr/local/cuda")
    for home in filter(None, guesses):
        if Path(home, "bin", "nvcc").exists() and Path(home, "include", "cuda_runtime.h").exists():
            return str(home)
    return None


CUDA_HOME = find_cuda_home()
if CUDA_HOME is not None:
    os.environ["CUDA_HOME"] = CUDA_HOME  # torch reads it on import

try:
    import torch
    from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension
except ModuleNotFoundError:
    sys.exit("Building maskrcnn_benchmark needs torch: install it, then run `pip install --no-build-isolation -e .`.")

ROOT = Path(__file__).resolve().parent
CSRC = Path("maskrcnn_benchmark", "csrc")
GENERATED = Path("build", "generated")
SHIPPED = ("configs/**/*.yaml", "demo/models/*", "demo/pictures/scene.jpg")
# Turing, Ampere (data centre, desktop), Ada, Hopper; PTX for whatever comes later.
DEFAULT_ARCHITECTURES = "7.5;8.0;8.6;8.9;9.0+PTX"
STABLE_ABI = ["-DTORCH_TARGET_VERSION=0x020a000000000000"]  # only what torch 2.10 offers
# Comparisons and roots need no errno and no floating-point traps; without them loops vectorise. -Wno-psabi: the vector
# types it warns of never cross a function that is not inlined.
CXX = ["-O3", "-g0", "-std=c++20", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
CXX_WINDOWS = ["/O2", "/std:c++20"]


def wants_cuda() -> bool:
    forced = os.environ.get("FORCE_CUDA")
    if forced == "1" and CUDA_HOME is None:
        sys.exit("FORCE_CUDA=1, but no CUDA toolkit was found: set CUDA_HOME to the folder that holds bin/nvcc.")
    if forced in ("0", "1") or CUDA_HOME is None or torch.version.cuda is None:
        return forced == "1"
    if not torch.cuda.is_available() and not os.environ.get("TORCH_CUDA_ARCH_LIST"):
        print(
            f"A CUDA toolkit is at {CUDA_HOME}, but there is no GPU: the CPU operators alone are built (FORCE_CUDA=1: both)."
        )
        return False
    printed = subprocess.run([f"{CUDA_HOME}/bin/nvcc", "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+)\.", printed)
    return release is not None and release[1] == torch.version.cuda.partition(".")[0]


def write_source_hash() -> str:
    """Write the header with the sources' fingerprint, only if it changed, and return its folder."""
    fingerprint = runpy.run_path(str(ROOT / "maskrcnn_benchmark/ops/source_hash.py"))["source_hash"](ROOT / CSRC)
    folder = ROOT / GENERATED
    folder.mkdir(parents=True, exist_ok=True)
    header, text = folder / "source_hash.h", f'#define MRB_SOURCE_HASH "{fingerprint}"\n'
    if not header.exists() or header.read_text() != text:
        header.write_text(text)
    return str(folder)


def sources(pattern: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / CSRC).glob(pattern))


def extension():
    cuda = wants_cuda()
    flags = {"cxx": [*STABLE_ABI, *(CXX_WINDOWS if sys.platform == "win32" else CXX)]}
    if cuda:
        flags["cxx"].append("-DMRB_WITH_CUDA")
        flags["nvcc"] = [*STABLE_ABI, "-O3", "-std=c++20", "-DUSE_CUDA"]
        if not torch.cuda.is_available() and not os.environ.get("TORCH_CUDA_ARCH_LIST"):
            os.environ["TORCH_CUDA_ARCH_LIST"] = DEFAULT_ARCHITECTURES
    return (CUDAExtension if cuda else CppExtension)(
        "maskrcnn_benchmark._C",
        sources("*.cpp") + sources("cpu/*.cpp") + (sources("cuda/*.cu") if cuda else []),
        include_dirs=[write_source_hash()],
        extra_compile_args=flags,
        py_limited_api=True,
    )


class BuildWithShipped(build_py):
    """Puts the files that come with the package (see utils/shipped.py) into a wheel, in the folders that they have here."""

    def _shipped(self) -> dict[str, str]:
        """Where each file goes, and where it is."""
        found = [path for pattern in SHIPPED for path in ROOT.glob(pattern)]
        package = Path(self.build_lib, "maskrcnn_benchmark")
        return {str(package / path.relative_to(ROOT)): str(path) for path in sorted(found)}

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for target, source in self._shipped().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        shipped = [] if self.editable_mode else list(self._shipped())
        return super().get_outputs(include_bytecode) + shipped


setup(
    ext_modules=[extension()],
    cmdclass={"build_ext": BuildExtension, "build_py": BuildWithShipped},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
