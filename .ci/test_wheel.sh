#!/usr/bin/env bash
# Builds one wheel and tries it on two versions of Python, one with the oldest of every dependency that pyproject.toml allows, one
# with the newest: its commands in an empty folder, and the operators' tests, of the newest two files.
#
# Everything lies below .wheel/. PYTHON names the interpreter that builds, by default `python`; OLD_PYTHON and NEW_PYTHON those that
# try the wheel, by default the oldest and the newest that are found from 3.10 to 3.13.
set -euo pipefail

cd "$(dirname "$0")/.."
python=$(command -v "${PYTHON:-python}")
folder=$PWD/.wheel

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

old=${OLD_PYTHON:-$(.ci/find_python.sh 3.10 3.11 3.12 3.13)}
new=${NEW_PYTHON:-$(.ci/find_python.sh 3.13 3.12 3.11 3.10)}
if [ "$(version_of "$old")" = "$(version_of "$new")" ]; then
    echo "test_wheel.sh: no second version of Python (3.10 to 3.13) was found; name one in OLD_PYTHON or NEW_PYTHON." >&2
    exit 1
fi

rm -rf "$folder/dist" "$folder/tests" build/lib* build/bdist* # setuptools would pack files that are gone from the sources
# The CPU kernels alone: a library with CUDA kernels is bound to torch builds of one major version of CUDA.
FORCE_CUDA=0 "$python" -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir "$folder/dist" .
wheel=$(echo "$folder"/dist/*.whl)
case $wheel in
    *-cp310-abi3-*.whl) ;;
    *)
        echo "test_wheel.sh: expected one cp310-abi3 wheel, got $wheel" >&2
        exit 1
        ;;
esac

# Away from the sources, which would be imported instead of the wheel.
mkdir -p "$folder/tests/tests/support" "$folder/tests/tests/layers" "$folder/tests/tests/ops"
cp tests/__init__.py "$folder/tests/tests"
cp tests/support/__init__.py tests/support/dense_non_local.py "$folder/tests/tests/support"
cp tests/layers/test_*.py "$folder/tests/tests/layers"
cp tests/ops/test_*.py "$folder/tests/tests/ops"
printf '[pytest]\nmarkers = slow\n    no_cover\n' >"$folder/tests/pytest.ini"
rm "$folder/tests/tests/ops/test_build.py" "$folder/tests/tests/ops/test_copies.py" # about the source tree

in_an_empty_folder() { # mrb
    rm -rf "$folder/empty"
    mkdir "$folder/empty"
    (
        cd "$folder/empty"
        "$1" demo MODEL.DEVICE cpu
        [ -s mrb_demo/scene.jpg ]
        "$1" scenes --out scenes --train 4 --val 2 --quiet
        "$1" suggest scenes/annotations/instances_train.json --img-dir scenes/train \
            --test scenes/annotations/instances_val.json --test-img-dir scenes/val --out mine.yaml
        "$1" train mine.yaml OUTPUT_DIR mine MODEL.DEVICE cpu SOLVER.MAX_ITER 2 SOLVER.IMS_PER_BATCH 2 DATALOADER.NUM_WORKERS 0
        [ -s mine/model_final.pth ]
        "$1" analyze enl/faster_rcnn_R_50_FPN_3enl_td --size 256x320 --repeat 0
        { "$1" reproduce table1 --dry-run || true; } | grep -c "enl/faster_rcnn_R_50_FPN_3enl_td"
        { "$1" train no_such_configuration 2>&1 || true; } | grep "mrb suggest"
    )
}

test_with() { # interpreter, oldest or newest, tests
    local environment
    environment=$folder/python$(version_of "$1")-$2
    "$1" -m venv --clear "$environment"
    "$environment/bin/pip" install --quiet --upgrade pip
    "$environment/bin/pip" install --quiet --no-cache-dir --constraint "$folder/$2.txt" "$wheel" pytest hypothesis
    "$environment/bin/python" -c 'import sys, torch; print("wheel:", sys.version.split()[0], "torch", torch.__version__)'
    in_an_empty_folder "$environment/bin/mrb"
    # One thread, as .ci/run has other tests beside it; what `make test` leaves out for its time is left out here too.
    (cd "$folder/tests" && OMP_NUM_THREADS=1 "$environment/bin/python" -m pytest -q -p no:cacheprovider -m "not slow" "${@:3}")
    rm -rf "$environment" # a CUDA build of torch takes several GB, and the next environment as many again
}

sed -n 's/^    "\([a-z-]*\)>=\([0-9.]*\)",$/\1==\2.*/p' pyproject.toml >"$folder/oldest.txt" # each dependency at its lower bound
: >"$folder/newest.txt"
# With the newest of everything `make test` has run all of them; that the operators load and compute is left to see.
test_with "$new" newest tests/ops/test_nms.py tests/ops/test_roi_align.py
test_with "$old" oldest tests
