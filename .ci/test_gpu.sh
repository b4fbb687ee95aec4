#!/usr/bin/env bash
# What only a GPU can show: the operators' tests on it, memory errors and races in the kernels, and the timings.
# Without a GPU it lists the commands it would have run, and fails.
set -euo pipefail

cd "$(dirname "$0")/.."
python=${PYTHON:-python}
results=${RESULTS:-runs/gpu}
sanitizer=$(command -v compute-sanitizer || echo "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer")

if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    has_gpu=1
    mkdir -p "$results"
    FORCE_CUDA=1 "$python" setup.py --quiet build_ext --inplace >/dev/null
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

run tests.txt "$python" -m pytest -q tests/ops tests/layers tests/analysis tests/engine/test_synchronisation.py
# Without PyTorch's caching allocator an access beyond a tensor is one beyond an allocation. Tests of compilation and of the
# build start other compilers and are left out.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1
for tool in memcheck racecheck; do
    run "$tool.txt" "$sanitizer" --tool "$tool" --error-exitcode 1 --target-processes all \
        "$python" -m pytest -q tests/ops tests/layers -k "cuda and not compile and not build"
done
unset PYTORCH_NO_CUDA_MEMORY_CACHING
for dtype in float32 bfloat16; do
    run "ops_$dtype.txt" "$python" benchmarks/bench_ops.py --device cuda --dtype "$dtype"
    run "model_$dtype.txt" "$python" benchmarks/bench_model.py --device cuda --dtype "$dtype"
    run "model_batch_$dtype.txt" "$python" benchmarks/bench_model.py --device cuda --dtype "$dtype" --batch 8
    run "model_compiled_$dtype.txt" "$python" benchmarks/bench_model.py --device cuda --dtype "$dtype" --batch 8 --compile
    for what in maps model scaling; do
        run "non_local_${what}_$dtype.txt" "$python" benchmarks/bench_non_local.py "$what" --device cuda --dtype "$dtype" \
            --plot "$results/non_local_$dtype.png"
    done
done

if [ -z "$has_gpu" ]; then exit 1; fi
echo "test_gpu.sh: all passed; the logs are in $results"
