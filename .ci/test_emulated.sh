#!/usr/bin/env bash
# What only a GPU would show, shown without one: the CUDA kernels compiled for the CPU, with a check for races, and training steps and
# inferences on a device that stands in for a GPU and counts where the host waits.
#
# Usage: test_emulated.sh HARNESS, the folder with these instruments (test_kernels.py, test_fakecuda.py). Everything is built below
# .cuda/. PYTHON names the interpreter, by default `python`.
set -euo pipefail

harness=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
python=$(command -v "${PYTHON:-python}")
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") # absolute, but not the interpreter behind a virtual environment's link
folder=$PWD/.cuda/emulated
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
cp -r "$harness" "$folder"
export PYTHONPATH=$PWD OMP_NUM_THREADS=1

cd "$folder"
"$python" build.py "$OLDPWD/maskrcnn_benchmark/csrc" plain racecheck
"$python" run_variant.py racecheck test_selftest.py test_kernels.py >racecheck.log 2>&1 &
races=$!
"$python" run_variant.py plain test_selftest.py test_kernels.py
# C4 runs at full size there: ten minutes, where the other models take five to eight seconds.
MAX_WAITS="faster=4,mask=7,keypoint=7,retinanet=0,inference=3" "$python" -m pytest -q -p no:cacheprovider test_fakecuda.py \
    -k "float32 and not C4"
wait "$races" || {
    cat racecheck.log
    exit 1
}
tail -n 1 racecheck.log
