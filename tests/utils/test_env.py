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


def test_the_command_lines_run_it_first(tmp_path):
    module = tmp_path / "mine.py"
    module.write_text("def setup_environment():\n    print('set up')\n")
    tool = Path(__file__).parents[2] / "tools" / "train_net.py"
    done = subprocess.run(
        [sys.executable, str(tool), "--help"],
        env={**os.environ, "TORCH_DETECTRON_ENV_MODULE": str(module)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("set up\nusage:")
