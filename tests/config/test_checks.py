"""Values that cannot be used are refused at the start: the key, the value and what is allowed."""

import subprocess
import sys
from pathlib import Path

import pytest
from yacs.config import CfgNode

from maskrcnn_benchmark.config import ConfigError, cfg, checks
from maskrcnn_benchmark.config.checks import RULES, check_config
from maskrcnn_benchmark.config.options import OPTIONS
from maskrcnn_benchmark.config.standard import STANDARD

ROOT = Path(__file__).parents[2]
KEYS = dict((*checks._flat(STANDARD), *checks._flat(OPTIONS)))


def with_value(key: str, value: object) -> CfgNode:
    config = cfg.clone()
    node = config
    *groups, last = key.split(".")
    for group in groups:
        node = node[group]
    node[last] = value
    return config


def test_every_rule_is_of_a_key_and_allows_its_default():
    assert set(RULES) <= set(KEYS)
    check_config(cfg)


def test_every_number_and_tuple_has_a_rule():
    """A new key of these kinds wants a line in the table."""
    kinds = {k: v for k, v in KEYS.items() if isinstance(v, (int, float, list, tuple)) and not isinstance(v, bool)}
    assert sorted(set(kinds) - set(RULES)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: p.name)
def test_every_configuration_that_is_shipped_is_allowed(path):
    config = cfg.clone()
    config.merge_from_file(str(path))
    check_config(config)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("SOLVER.STEPS", "100", "a tuple of any number of entries, each a number, 0 or more"),
        ("SOLVER.STEPS", ("100",), "a tuple of"),
        ("SOLVER.STEPS", (200, 100), "the iterations must increase"),
        ("SOLVER.LOG_PERIOD", 0, "a whole number, 1 or more"),
        ("SOLVER.LOG_PERIOD", True, "a whole number, 1 or more"),
        ("SOLVER.BASE_LR", -0.1, "a number, 0 or more"),
        ("SOLVER.BASE_LR", float("nan"), "a number, 0 or more"),
        ("SOLVER.MOMENTUM", 1.0, "a number, 0 or more and below 1"),
        ("SOLVER.MAX_ITER", None, "a whole number"),
        ("SOLVER.WARMUP_METHOD", "cubic", "one of 'linear', 'constant'"),
        ("INPUT.MIN_SIZE_TRAIN", (), "be a whole number from 1 to 65536, or a tuple of 1 or more such entries."),
        ("INPUT.MIN_SIZE_TRAIN", (0,), "a tuple of"),
        ("INPUT.PIXEL_STD", (1.0, 0.0, 1.0), "a tuple of 3 entries, each a number, above 0"),
        ("INPUT.SCALE_JITTER", (2.0, 0.1), "the lower scale comes first"),
        ("MODEL.RPN.ANCHOR_STRIDE", (4, 8), "of the length of ANCHOR_SIZES"),
        ("MODEL.RPN.ANCHOR_SIZES", (), "entries, each a number, above 0, or a tuple of 1 or more such entries."),
        ("MODEL.RPN.BG_IOU_THRESHOLD", 0.9, "at most FG_IOU_THRESHOLD, 0.7"),
        ("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 1, "2 or more"),
        *(("MODEL.DEVICE", name, "a device such as") for name in ("gpu", "cdua", "mps", "cuda:x", "")),
        ("MODEL.WEIGHT", None, "text"),
        ("MODEL.MASK_ON", 1, "True or False"),
        ("MODEL.RESNETS.STAGE_WITH_DCN", (True,), "a tuple of 4 entries, each True or False"),
        ("DATALOADER.PREFETCH_FACTOR", 0, "1 or more"),
        ("DATALOADER.NUM_WORKERS", -1, "0 or more"),
        ("DATASETS.TRAIN", "coco_2017_train", "a tuple of"),
        ("TEST.EXPECTED_RESULTS", [1, 2], "a list of (task, metric, mean, standard deviation)"),
        ("DTYPE", "half", "one of 'float32', 'float16', 'bfloat16'"),
        ("TIMEOUT", 10**400, "a number, 0 or more"),
        ("OUTPUT_DIR", "a\0b", "text"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(key, value, allowed):
    with pytest.raises(ConfigError) as raised:
        check_config(with_value(key, value))
    said = str(raised.value)
    assert said.startswith(f"{key} is ") and allowed in said and "\n" not in said


def test_all_faults_are_said_together():
    config = with_value("SOLVER.LOG_PERIOD", 0)
    config.DTYPE = "half"
    with pytest.raises(ConfigError) as raised:
        check_config(config)
    assert [line.split()[0] for line in str(raised.value).splitlines()] == ["DTYPE", "SOLVER.LOG_PERIOD"]


def test_a_key_of_another_kind_in_a_forks_defaults_is_the_forks(monkeypatch):
    monkeypatch.delattr(checks.defaults, "STANDARD")
    check_config(with_value("SOLVER.STEPS", "by hand"))
    check_config(with_value("TIMEOUT", "never"))
    with pytest.raises(ConfigError, match="SOLVER.LOG_PERIOD is 0"):
        check_config(with_value("SOLVER.LOG_PERIOD", 0))


def test_what_a_file_nests_is_shown_shortened():
    nested: list = []
    for _ in range(60):
        nested = [nested, nested]  # 2**60 brackets, if they were all written
    with pytest.raises(ConfigError) as raised:
        check_config(with_value("SOLVER.STEPS", nested))
    assert len(str(raised.value)) < 500


def test_a_program_ends_before_it_does_anything(tmp_path):
    words = ["OUTPUT_DIR", str(tmp_path / "run"), "SOLVER.LOG_PERIOD", "0"]
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "train_net.py", *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1 and not (tmp_path / "run").exists()
    assert done.stderr.strip() == "error: SOLVER.LOG_PERIOD is 0; it must be a whole number, 1 or more."
