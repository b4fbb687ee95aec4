# make demo   train, evaluate and draw on the generated Relations scenes (CPU, minutes)
# make test   the test suite without its slow whole runs, in two processes
# make test-slow   what `make test` leaves out: whole runs that take minutes
# make docs   the documents as a site, in site/
# make check  lint, format and types, shell scripts and Dockerfiles too
# make cuda   compile the CUDA operators and the Triton kernels, no GPU needed
# make wheel  one wheel, tested on two versions of Python and the oldest and newest torch
# make docker  the container images, built and tried: wants a docker daemon, or buildah and root; see .ci/test_docker.sh
# make test-gpu   on a machine with a GPU: the operators' tests, compute-sanitizer and the timings
#
# All of them first make the environment in .venv and build the native operators, and reuse both afterwards. `make demo` needs the
# package alone, the others what tests and checks need too.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch torchvision
BIN := $(VENV)/bin
DEMO := runs/demo
SCENES := datasets/relations
FINETUNING := projects/enl_paper/results/finetuning.md
# With the context module that has the highest AP in a training of this length, see there.
DEMO_CONFIG := --config-file configs/demo/relations_R_18_FPN_enl.yaml
DEMO_KEYS := MODEL.NON_LOCAL.TOP_DOWN.TYPE linear_attention OUTPUT_DIR $(DEMO)

# The tests start hundreds of Python processes, and where compiled modules are not kept each of them compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow docs check cuda wheel docker test-gpu clean
.DELETE_ON_ERROR:

INSTALLED := $(VENV)/.installed
PACKAGE := $(VENV)/.package
BUILT := $(VENV)/.built
# setuptools warns that folders beside a checkout may be imported in its place.
EDITABLE := PYTHONWARNINGS="ignore:Editable installation" $(BIN)/pip install --quiet --no-build-isolation
SOURCES := setup.py $(wildcard maskrcnn_benchmark/csrc/*.cpp maskrcnn_benchmark/csrc/*/*)

$(INSTALLED):
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: $(PYTHON) -m venv failed; on Debian or Ubuntu: apt install python3-venv python3-dev" >&2; exit 1; }
	$(BIN)/pip install --quiet --upgrade pip "setuptools>=77" wheel ninja
	$(BIN)/pip install --quiet $(TORCH)
	touch $@

# A system without a desktop lacks libraries that opencv-python's windows need; the build without windows takes its place.
$(PACKAGE): $(INSTALLED) pyproject.toml $(SOURCES)
	$(EDITABLE) -e .
	@$(BIN)/python -c "import cv2" 2>/dev/null || { echo "OpenCV without windows: this system lacks libraries for them."; \
	    $(BIN)/pip install --quiet --force-reinstall --no-deps opencv-python-headless; }
	touch $@

$(BUILT): $(PACKAGE)
	$(EDITABLE) -e ".[dev,docker,docs]"
	touch $@

$(SCENES)/relations.json: | $(PACKAGE)
	$(BIN)/python projects/enl_paper/make_relations.py --out $(SCENES) --preset demo --train 1500 --val 100

$(DEMO)/model_final.pth: $(SCENES)/relations.json | $(PACKAGE)
	$(BIN)/python tools/train_net.py --skip-test $(DEMO_CONFIG) $(DEMO_KEYS)

$(DEMO)/inference/relations_val/metrics.json: $(DEMO)/model_final.pth | $(PACKAGE)
	$(BIN)/python tools/test_net.py $(DEMO_CONFIG) $(DEMO_KEYS)

demo: $(DEMO)/inference/relations_val/metrics.json
	@tail -n 5 $(DEMO)/log.txt
	$(BIN)/python tools/draw_detections.py --ann-file $(SCENES)/annotations/instances_val.json --img-dir $(SCENES)/val \
	    --results $(DEMO)/inference/relations_val --out $(DEMO)/pictures
	@echo "Pictures: $(DEMO)/pictures/sheet.jpg   Metrics: $(DEMO)/inference/relations_val/metrics.json"
	@echo "Box AP of this training without context and with each kind of it, linear_attention (LA) as here ($(FINETUNING)):"
	@sed -n '/^## The demo/,/^## What/{/^|/p}' $(FINETUNING)

# One thread in each of two processes takes half the time of two threads in one.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test: $(BUILT)
	$(PYTEST) -m "not slow"

test-slow: $(BUILT)
	$(PYTEST) -m slow

docs: $(BUILT)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documents: site/index.html; with search: $(BIN)/python -m http.server -d site"

check: $(BUILT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck .ci/*.sh .ci/run docker/slurm/train.sbatch
	$(BIN)/hadolint docker/Dockerfile docker/docker-jupyter/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

cuda: $(BUILT)
	PYTHON=$(BIN)/python .ci/compile_cuda.sh
	$(BIN)/python .ci/compile_triton.py

wheel: $(BUILT)
	PYTHON=$(BIN)/python .ci/test_wheel.sh

docker: $(BUILT)
	PYTHON=$(BIN)/python .ci/test_docker.sh

test-gpu: $(BUILT)
	PYTHON=$(BIN)/python .ci/test_gpu.sh

clean:
	rm -rf build runs/demo $(SCENES) .cuda .wheel .docker maskrcnn_benchmark/_C*.so maskrcnn_benchmark.egg-info $(PACKAGE) $(BUILT)
