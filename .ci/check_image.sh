#!/usr/bin/env bash
# What .ci/test_docker.sh runs inside the image of docker/Dockerfile, without a network: who it is, what the operators are, and a
# small training on the CPU that is stopped and goes on.
#
# Usage: check_image.sh ARCHITECTURES [CUOBJDUMP]     (ARCHITECTURES is empty for an image without CUDA)
set -euo pipefail

architectures=$1
checks=$(cd "$(dirname "$0")" && pwd)
cd "$HOME" # the workspace must not be what makes the package import

fail() {
    echo "check_image.sh: $*" >&2
    exit 1
}

if [ "$(id -u)" = 0 ]; then fail "runs as root; docker/Dockerfile must end with USER 1000."; fi
if [ -w /opt/venv ]; then fail "the user can change /opt/venv; it must belong to root."; fi
if [ "$(wc -l </proc/net/route)" -gt 1 ]; then fail "there is a network; run it without one."; fi
# What Triton does when its kernels first run.
gcc -fsyntax-only -I"$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')" -x c - <<<'#include <Python.h>' ||
    fail "gcc or Python's headers are missing, which Triton's kernels want on a GPU."

library=$(python -c 'import torch, maskrcnn_benchmark._C as library; print(library.__file__)')
case $library in
    /opt/venv/*) ;;
    *) fail "the operators come from $library, not from the wheel." ;;
esac
if [ -n "$architectures" ]; then
    python "$checks/check_cuda_library.py" "$library"
    "$checks/check_architectures.sh" "$2" "$library" "$architectures"
else
    python -c 'import sys, torch, maskrcnn_benchmark._C as library; sys.exit(library.WITH_CUDA)' ||
        fail "the operators have CUDA kernels, and were to have none."
fi

cd /workspace
python projects/enl_paper/make_relations.py --quiet --out datasets/relations --preset demo --train 32 --val 4
options=(--config-file configs/demo/relations_R_18_FPN_enl.yaml OUTPUT_DIR runs/check SOLVER.MAX_ITER 40 SOLVER.IMS_PER_BATCH 2
    SOLVER.LOG_PERIOD 1 INPUT.MIN_SIZE_TRAIN "(128,)" INPUT.MAX_SIZE_TRAIN 160 INPUT.MIN_SIZE_TEST 128 INPUT.MAX_SIZE_TEST 160
    TEST.IMS_PER_BATCH 2 DATALOADER.NUM_WORKERS 1)
export OMP_NUM_THREADS=1
here=(--local_addr=127.0.0.1) # without a network a container's name has no address

# Two "nodes", as under Slurm; one of them gets the signal, and both have to stop.
nodes=()
for rank in 0 1; do
    python tools/launch.py "${here[@]}" --nnodes=2 --node_rank="$rank" --nproc_per_node=1 --master_addr=127.0.0.1 \
        --master_port=29501 tools/train_net.py --skip-test "${options[@]}" &
    nodes+=($!)
done
for _ in $(seq 600); do
    if [ -s runs/check/metrics.jsonl ]; then break; fi
    sleep 0.2
done
if [ ! -s runs/check/metrics.jsonl ]; then fail "two nodes did not begin to train within two minutes."; fi
kill -USR1 "${nodes[1]}"
for node in "${nodes[@]}"; do
    status=0
    wait "$node" || status=$?
    if [ "$status" != 143 ]; then fail "a node that was to stop with a checkpoint ended with $status, not 143."; fi
done
if [ ! -s runs/check/last_checkpoint ]; then fail "the stopped run left no checkpoint."; fi

torchrun "${here[@]}" --standalone --nproc_per_node=2 tools/train_net.py "${options[@]}"
grep -q 'Training from iteration [1-9]' runs/check/log.txt || fail "the run did not go on from its checkpoint."
python - <<'PYTHON'
import json

metrics = json.load(open("runs/check/inference/relations_val/metrics.json"))
assert {"bbox", "segm"} <= set(metrics), metrics
PYTHON
echo "check_image.sh: as user $(id -u), without network: operators for '${architectures:-the CPU}', a training that was stopped and resumed, a test"
