import inspect
import json
import logging
import runpy
import sys

import pytest
import yaml

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.utils import run_record
from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.logger import setup_logger
from maskrcnn_benchmark.utils.miscellaneous import save_config, save_labels


def test_a_written_configuration_can_be_read_back(tmp_path):
    config = cfg.clone()
    config.merge_from_list(["SOLVER.STEPS", (3, 5), "DATASETS.DEFINITIONS.mine.IMG_DIR", "images"])
    save_config(config, str(tmp_path / "config.yml"))
    again = cfg.clone()
    again.merge_from_file(str(tmp_path / "config.yml"))
    assert again == config != cfg and yaml.safe_load((tmp_path / "config.yml").read_text())["SOLVER"]


class Named:
    def class_names(self) -> dict[int, str]:
        return {1: "cat"}


def test_labels_are_written_where_there_are_any(tmp_path):
    save_labels([object()], str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    save_labels([Named(), object()], str(tmp_path))
    assert json.loads((tmp_path / "labels.json").read_text()) == {"1": "cat"}


def test_labels_of_several_sets_are_the_firsts_in_the_order_of_the_labels(tmp_path):
    class Ordered:
        def __init__(self, ids: dict[int, int], names: dict[int, str]):
            self.contiguous_category_id_to_json_id, self.categories = ids, names

    first, second = Ordered({1: 7, 2: 3}, {3: "cat", 7: "dog"}), Ordered({1: 3, 2: 7}, {3: "dog", 7: "cat"})
    save_labels([first, second], str(tmp_path))
    assert (tmp_path / "labels.json").read_text() == '{"7": "dog", "3": "cat"}'


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(run_record, "is_main_process", lambda: False)
    save_labels([Named()], str(tmp_path))
    save_config(cfg, str(tmp_path / "config.yml"))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def logger_name():
    """A logger that is taken apart afterwards."""
    yield "test of logging"
    for handler in list(logging.getLogger("test of logging").handlers):
        logging.getLogger("test of logging").removeHandler(handler)
        handler.close()


def test_the_main_process_logs_to_the_console_and_in_detail_to_a_file(tmp_path, capsys, logger_name):
    for _ in range(2):  # a second call adds no second line
        logger = setup_logger(logger_name, str(tmp_path), 0)
    logger.info("told")
    logger.debug("detail")
    printed = capsys.readouterr().out
    assert printed.count("INFO: told") == 1 and "detail" not in printed
    assert [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()] == [
        "INFO: told",
        "DEBUG: detail",
    ]


def test_other_processes_only_warn_and_say_who_they_are(tmp_path, capsys, logger_name):
    logger = setup_logger(logger_name, str(tmp_path), 3)
    logger.info("told")
    logger.warning("careful")
    printed = capsys.readouterr().out
    assert "rank 3 WARNING: careful" in printed and "told" not in printed
    assert list(tmp_path.iterdir()) == []


def test_a_file_can_stand_in_for_a_module(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("VALUE = 3\n")
    monkeypatch.delitem(sys.modules, "a.name.of.mine", raising=False)
    assert import_file("a.name.of.mine", str(tmp_path / "mine.py")).VALUE == 3
    assert "a.name.of.mine" not in sys.modules
    module = import_file("a.name.of.mine", str(tmp_path / "mine.py"), make_importable=True)
    assert sys.modules.pop("a.name.of.mine") is module
    with pytest.raises(FileNotFoundError, match="is not a Python file; check PATHS_CATALOG"):
        import_file("a.name.of.mine", str(tmp_path / "mine.txt"))


def test_a_report_of_the_environment_names_the_versions():
    import PIL
    import torch

    report = collect_env_info()
    assert torch.__version__ in report and PIL.__version__ in report


def test_the_report_is_a_command(capsys):
    """python -m maskrcnn_benchmark.utils.collect_env, as docs/troubleshooting.md has it."""
    path = inspect.getsourcefile(collect_env_info)
    runpy.run_path(path, run_name="__main__")
    assert "PyTorch version" in capsys.readouterr().out
