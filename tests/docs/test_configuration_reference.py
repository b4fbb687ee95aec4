"""The reference of configuration keys has every key, once, with a sentence."""

from __future__ import annotations

import re

import pytest

import configuration_page
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.descriptions import DESCRIPTIONS, GROUPS

KEYS = configuration_page.all_keys()


def test_every_key_is_described_and_nothing_else():
    assert set(DESCRIPTIONS) == set(KEYS)
    assert set(KEYS) == {key for key, _ in configuration_page.keys_of(cfg)}, "keys of the whole configuration"
    assert set(GROUPS) == {key.rpartition(".")[0] for key in KEYS}


@pytest.mark.parametrize("key", KEYS)
def test_a_description_is_a_sentence(key):
    text = DESCRIPTIONS[key]
    assert text.endswith(".") and len(text) > 15 and "  " not in text and text[0] == text[0].upper()
    # Other keys that it names exist: with their group, or in its own group or a subgroup of it.
    group = key.rpartition(".")[0]
    names = (
        {name for name in KEYS} | {name.removeprefix(f"{group}.") for name in KEYS} | {k.rsplit(".")[-1] for k in KEYS}
    )
    for word in re.findall(r"\b[A-Z][A-Z0-9_]*(?:\.[A-Z][A-Z0-9_]*)+|\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", text):
        assert word in names or word in (
            "USE_GN",
            "BACKBONES",
            "RPN_HEADS",
            "META_ARCHITECTURES",
            *cfg.DATASETS,
            *EXTRA,
        ), word


# Names of registries, and of entries of DATASETS.DEFINITIONS.
EXTRA = ("ROI_HEADS", "IMG_DIR", "ANN_FILE", "DATA_DIR", "FIRST_PIXEL")


def test_the_page():
    text = configuration_page.reference()
    assert re.findall(r'<code id="([^"]+)">', text) and len(re.findall(r"^\| <code", text, re.MULTILINE)) == len(KEYS)
    assert '<code id="SOLVER.EMA">SOLVER.<wbr>EMA</code> ⁺ | Decay of an exponential' in text
    assert "<small>Default `0.0`; may be a number, 0 or more and below 1.</small> |" in text
    assert "/" not in KEYS["SEED"] and "site-packages" not in text and "/home" not in text
