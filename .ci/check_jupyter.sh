#!/usr/bin/env bash
# What .ci/test_docker.sh runs inside the image of docker/docker-jupyter/Dockerfile: the server answers, to its token alone, and a
# notebook finds the package.
set -euo pipefail

fail() {
    echo "check_jupyter.sh: $*" >&2
    exit 1
}

if [ "$(id -u)" = 0 ]; then fail "runs as root; docker/docker-jupyter/Dockerfile must end with USER 1000."; fi
export JUPYTER_TOKEN=check
jupyter lab --ip=0.0.0.0 --port=8888 --no-browser --ServerApp.root_dir=/workspace >/tmp/jupyter.log 2>&1 &
server=$!
trap 'kill "$server"' EXIT
python - <<'PYTHON' || fail "the server does not answer as it should: $(tail -n 5 /tmp/jupyter.log)"
import time
import urllib.error
import urllib.request


def status(token: str) -> int:
    request = urllib.request.Request("http://127.0.0.1:8888/api/contents", headers={"Authorization": f"token {token}"})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code


for _ in range(100):
    try:
        assert (status("check"), status("wrong")) == (200, 403)
        break
    except urllib.error.URLError:
        time.sleep(0.5)
else:
    raise SystemExit("no answer within 50 seconds")
PYTHON

cd /workspace
python - <<'PYTHON'
import nbformat

cell = nbformat.v4.new_code_cell("import matplotlib, torch\nimport maskrcnn_benchmark._C\nfrom maskrcnn_benchmark.config import cfg")
nbformat.write(nbformat.v4.new_notebook(cells=[cell]), "/tmp/check.ipynb")
PYTHON
jupyter execute /tmp/check.ipynb || fail "a notebook cannot import the package."
echo "check_jupyter.sh: as user $(id -u): the server answers and a notebook runs"
