#!/usr/bin/env bash
# Compiles the CUDA kernels on a machine that has no GPU and no CUDA toolkit, and checks the result as far as that goes:
# it holds machine code for the architectures asked for, it loads, and its CPU operators compute.
#
# Everything lies below .cuda/, so a `_C` built in place stays as it is. PYTHON names the interpreter, by default
# `python`; its torch must be a CUDA build, whose version of CUDA the compiler is fetched in.
set -euo pipefail

cd "$(dirname "$0")/.."
python=${PYTHON:-python}
folder=$PWD/.cuda
toolkit=$folder/toolkit

version=$("$python" -c 'import torch; print(torch.version.cuda or "")')
if [ -z "$version" ]; then
    echo "compile_cuda.sh: this torch is a CPU build; install a CUDA build of torch." >&2
    exit 1
fi

if [ "${version%%.*}" != 13 ]; then
    echo "compile_cuda.sh: torch was built with CUDA $version; pip fetches whole compilers from CUDA 13 on." >&2
    exit 1
fi

if [ "$(cat "$folder/version" 2>/dev/null || true)" != "$version" ]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    "$python" -m pip install --quiet --target "$toolkit" "cuda-toolkit[nvcc,cccl]==$version.*"
    # The reader of the result is not packaged for every version, and any version reads it.
    "$python" -m pip install --quiet --target "$folder/reader" --no-deps nvidia-cuda-cuobjdump
    parts=$toolkit/nvidia/cu13
    # Compilers expect lib64/libcudart.so, which the packages do not have.
    mkdir -p "$folder/home/lib64"
    ln -s "$parts/bin" "$parts/include" "$parts/nvvm" "$folder/home/"
    ln -s "$parts"/lib/libcudart.so.* "$folder/home/lib64/libcudart.so"
    echo "$version" >"$folder/version"
fi

export CUDA_HOME=$folder/home FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-8.0;9.0+PTX}"
"$python" setup.py --quiet build_ext --build-temp "$folder/temp" --build-lib "$folder/lib"
library=$(find "$folder/lib" -name '_C*.so')

.ci/check_architectures.sh "$folder/reader/nvidia/cu13/bin/cuobjdump" "$library" "$TORCH_CUDA_ARCH_LIST"
"$python" .ci/check_cuda_library.py "$library"
echo "compile_cuda.sh: $library holds code for $TORCH_CUDA_ARCH_LIST (CUDA $version) and works on the CPU."
