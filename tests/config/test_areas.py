"""TEST.COCO_AREAS: a preset's name or ranges, from a file, a command line, or a saved configuration."""

from __future__ import annotations

import pytest
import yaml

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.config.areas import NO_LIMIT, ranges
from maskrcnn_benchmark.config.checks import check_config

AI_TOD = (("vt", 0, 64), ("t", 64, 256), ("s", 256, 1024), ("m", 1024, NO_LIMIT))


def from_file(tmp_path, text: str):
    (tmp_path / "my.yaml").write_text(f"TEST:\n  COCO_AREAS: {text}\n")
    config = cfg.clone()
    config.merge_from_file(str(tmp_path / "my.yaml"))
    check_config(config)
    return config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("coco", (("s", 0, 1024), ("m", 1024, 9216), ("l", 9216, NO_LIMIT))),
        ("ai-tod", AI_TOD),
        ("visdrone", (("s", 0, 1024), ("m", 1024, 9216), ("l", 9216, NO_LIMIT))),
        ("{tiny: [0, 256], small: [256, 1024]}", (("tiny", 0, 256), ("small", 256, 1024))),
        ('{tiny: "(0, 256)", rest: [256, 1e10]}', (("tiny", 0, 256), ("rest", 256, NO_LIMIT))),
        ("[[tiny, 0, 256], [rest, 256, .inf]]", (("tiny", 0, 256), ("rest", 256, NO_LIMIT))),
        ("\n    tiny: (0, 256)", (("tiny", 0, 256),)),
    ],
)
def test_what_a_file_may_say(tmp_path, text, expected):
    config = from_file(tmp_path, text)
    assert ranges(config.TEST.COCO_AREAS) == expected
    again = cfg.clone()
    again.merge_from_list(["TEST.COCO_AREAS", yaml.safe_load(config.dump())["TEST"]["COCO_AREAS"]])
    assert again.TEST.COCO_AREAS == config.TEST.COCO_AREAS
    assert type(config.TEST.COCO_AREAS) is tuple


def test_on_a_command_line():
    config = cfg.clone()
    config.merge_from_list(["TEST.COCO_AREAS", "ai-tod"])
    assert ranges(config.TEST.COCO_AREAS) == AI_TOD
    config.merge_from_list(["TEST.COCO_AREAS", "{'tiny': (0, 256)}"])
    assert ranges(config.TEST.COCO_AREAS) == (("tiny", 0, 256),)
    config.merge_from_list(["TEST.COCO_AREAS", "{tiny: [0, 256], rest: [256, 1e10]}"])  # as a file and messages have it
    assert ranges(config.TEST.COCO_AREAS) == (("tiny", 0, 256), ("rest", 256, NO_LIMIT))
    config.merge_from_list(["TEST.COCO_AREAS", "{tiny: [0, 256"])
    with pytest.raises(ConfigError, match=r"TEST.COCO_AREAS is .* it must be"):
        check_config(config)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "aitod",
            "{tiny: [256, 0]}",
            "{tiny: 256}",
            "{tiny: [0, many]}",
            "{50: [0, 256]}",
            "{}",
            "[[a, 0, 1], [a, 1, 2]]",
        ),
        *("{tiny: [-1, 5]}", "[coco, visdrone]", "{tiny: [0, .nan]}", "{tiny: (0, 256)}", "{tiny: [0, true]}", "[[]]"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, text):
    with pytest.raises(
        ConfigError, match="TEST.COCO_AREAS is .*must be one of 'coco', 'ai-tod', 'visdrone', or names with"
    ):
        from_file(tmp_path, text)
