"""Progress bars: on a terminal, in the main process, of what takes longer than a moment; nothing in logs."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import time

import pytest

from maskrcnn_benchmark.utils import progress_bar as bars
from maskrcnn_benchmark.utils.progress_bar import following, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_is_shown_to_nobody(capsys):
    assert list(progress_bar(range(3), delay=0)) == [0, 1, 2]
    with following(lambda: 1, 2, "reading"):
        pass
    assert capsys.readouterr().err == ""


def test_on_a_terminal_what_takes_long_has_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress_bar(range(3), desc="short")) == [0, 1, 2]
    assert "%" not in terminal.getvalue()
    monkeypatch.setattr(bars, "DELAY_S", 0.05)
    for _ in progress_bar(range(3), desc="long"):
        time.sleep(0.1)
    assert "long: 100%" in terminal.getvalue()


def test_other_processes_have_none(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(bars.distributed, "is_main_process", lambda: False)
    assert progress_bar(range(3)).disable and not bars.is_watched()


def test_another_thread_follows_and_ends_with_the_block(monkeypatch):
    terminal, place = Terminal(), [0]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(bars, "DELAY_S", 0)
    monkeypatch.setattr(bars, "INTERVAL_S", 0.01)
    with pytest.raises(KeyError), following(lambda: place[0], 1000, "reading x.json"):
        for place[0] in (250, 500):
            time.sleep(0.15)
        raise KeyError
    shown = terminal.getvalue()
    assert "reading x.json:  25%" in shown and "50%" in shown
    time.sleep(0.05)
    assert terminal.getvalue() == shown


def test_converting_shows_one_on_a_terminal(tmp_path):
    """`mrb convert` under a pseudo-terminal, where reading and writing are made to look slow."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 9, "height": 9} for i in range(50)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 3, 3], "area": 9, "iscrowd": 0} for i in range(50)
    ]
    content = {"images": images, "categories": [{"id": 1, "name": "x"}], "annotations": annotations}
    (tmp_path / "set.json").write_text(json.dumps(content))
    program = (
        "from maskrcnn_benchmark.utils import progress_bar\n"
        "progress_bar.DELAY_S = 0\n"
        "from maskrcnn_benchmark.cli.commands import main\n"
        "main(['convert', 'set.json', '--to', 'voc', '--out', 'voc'])\n"
    )
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # one of no columns shows nothing
    done = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=other, text=True
    )
    printed, _ = done.communicate(timeout=120)
    os.set_blocking(main, False)
    shown = os.read(main, 100_000).decode()
    os.close(other)
    os.close(main)
    assert done.returncode == 0 and "\nWrote 50 images" in printed, shown
    assert "writing annotations" in shown
