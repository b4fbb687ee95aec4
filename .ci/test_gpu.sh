#!/usr/bin/env bash
# What only a GPU can show, in some eight minutes on an H100 or H200 after the build: the tests on it, the timings, and memory
# errors and races in the kernels. Without a GPU it lists the commands it would have run, and fails.
# TORCH_CUDA_ARCH_LIST defaults to the GPU's own architecture.
set -euo pipefail

cd "$(dirname "$0")/.."
python=${PYTHON:-python}
results=${RESULTS:-runs/gpu}
sanitizer=$(command -v compute-sanitizer || echo "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer")

if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    has_gpu=1
    mkdir -p "$results"
    architecture=$("$python" -c 'import torch; print("{}.{}".format(*torch.cuda.get_device_capability()))')
    FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$architecture} \
        "$python" setup.py --quiet build_ext --inplace >/dev/null
else
    has_gpu=
    echo "test_gpu.sh: torch finds no GPU here. On a machine with one this would run:"
fi

run() { # log, command ...
    local log=$1
    shift
    echo "+ $*"
    if [ -n "$has_gpu" ]; then "$@" 2>&1 | tee "$results/$log"; fi
}

run tests.txt "$python" -m pytest -q tests/ops tests/layers tests/engine/test_synchronisation.py -k "(cuda or gpu) and not build"
for dtype in float32 bfloat16; do
    run "ops_$dtype.txt" "$python" benchmarks/bench_ops.py --device cuda --dtype "$dtype" --repeat 5
    for batch in 1 8; do
        run "model_${dtype}_$batch.txt" "$python" benchmarks/bench_model.py --device cuda --dtype "$dtype" --batch "$batch"
    done
    run "non_local_$dtype.txt" "$python" benchmarks/bench_non_local.py model --device cuda --dtype "$dtype"
done
# Without PyTorch's caching allocator an access beyond a tensor is one beyond an allocation. Tests of compilation start other
# compilers and are left out; those of NMS have the kernels in which blocks wait for each other.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1
for tool in memcheck racecheck; do
    run "$tool.txt" "$sanitizer" --tool "$tool" --error-exitcode 1 --target-processes all \
        "$python" -m pytest -q tests/ops/test_nms.py tests/ops/test_deform_conv.py tests/ops/test_roi_pool.py \
        -k "cuda and not compile and not opcheck"
done

if [ -z "$has_gpu" ]; then exit 1; fi
echo "test_gpu.sh: all passed; the logs are in $results"
