import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskrcnn_benchmark.utils.cv2_util import findContours
from maskrcnn_benchmark.utils.env import setup_custom_environment, setup_environment


def test_the_named_module_is_set_up(tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    module = tmp_path / "fork.py"
    module.write_text(f"def setup_environment():\n    open({str(trace)!r}, 'w').write('set up')\n")
    monkeypatch.delenv("TORCH_DETECTRON_ENV_MODULE", raising=False)
    setup_environment()
    assert not trace.exists()
    monkeypatch.setenv("TORCH_DETECTRON_ENV_MODULE", str(module))
    setup_environment()
    assert trace.read_text() == "set up"


def test_said_in_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no Python file .*nowhere.py.*TORCH_DETECTRON_ENV_MODULE"):
        setup_custom_environment(str(tmp_path / "nowhere.py"))
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match="defines no function setup_environment"):
        setup_custom_environment(str(tmp_path / "empty.py"))


def test_contours_of_a_square():
    image = np.zeros((20, 20), np.uint8)
    image[5:12, 3:9] = 1
    contours, hierarchy = findContours(image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    assert len(contours) == 1 and cv2.boundingRect(contours[0]) == (3, 5, 6, 7) and hierarchy.shape == (1, 1, 4)


ROOT = Path(__file__).parents[2]
TRAIN = str(ROOT / "tools" / "train_net.py")


def run(module: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "TORCH_DETECTRON_ENV_MODULE": str(module), "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "words", [(TRAIN,), ("-m", "maskrcnn_benchmark", "predict"), ("-m", "maskrcnn_benchmark", "check")]
)
def test_every_command_runs_it_first(tmp_path, words):
    module = tmp_path / "mine.py"
    module.write_text("import sys\nassert 'torch' not in sys.modules\ndef setup_environment():\n    print('set up')\n")
    done = run(module, *words, "--help")
    assert done.stdout.startswith("set up\nusage:") and done.returncode == 0


def test_a_command_of_another_package_runs_it(tmp_path):
    module, program = tmp_path / "mine.py", tmp_path / "program.py"
    module.write_text("def setup_environment():\n    print('set up')\n")
    program.write_text(
        "from maskrcnn_benchmark.engine.command_line import command_line\nwith command_line():\n    print('begun')\n"
    )
    assert run(module, str(program)).stdout == "set up\nbegun\n"


def test_a_command_says_what_is_missing(tmp_path):
    done = run(tmp_path / "nowhere.py", TRAIN, "--help")
    assert done.returncode == 1 and done.stderr.startswith("error: There is no Python file ")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")  # the user's own fault keeps its traceback
    assert (
        "ModuleNotFoundError" in (done := run(tmp_path / "broken.py", TRAIN, "--help")).stderr and done.returncode == 1
    )
