"""The notebooks run from their first cell to their last, and are stored without what they print."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path.name for path in (ROOT / "demo").glob("*.ipynb"))


def test_there_are_three():
    assert NOTEBOOKS == ["ENL_demo.ipynb", "Mask_R-CNN_demo.ipynb", "own_data_with_tiles.ipynb"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_outputs_are_not_stored(name):
    cells = json.loads((ROOT / "demo" / name).read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_runs(name, tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for folder in ("configs", "demo", "projects", "tools"):
        os.symlink(ROOT / folder, tmp_path / folder)
    monkeypatch.setenv("MRB_NOTEBOOK_ITERATIONS", "4")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(ROOT / "demo" / name, as_version=4)
    nbclient.NotebookClient(book, timeout=400, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs) >= 4
    assert len(json.dumps(outputs)) < 1_000_000
    if folder := os.environ.get("MRB_KEEP_NOTEBOOKS"):  # to be looked at
        nbformat.write(book, Path(folder, name))
