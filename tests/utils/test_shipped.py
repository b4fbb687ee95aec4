"""Names of configurations: files of the working directory first, then those that come with the package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskrcnn_benchmark.checkpoint.weights import load_weights
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.utils import shipped
from maskrcnn_benchmark.utils.shipped import config_names, find_config, name_of

ENL = "enl/faster_rcnn_R_50_FPN_3enl_td"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [ENL, f"{ENL}.yaml", f"configs/{ENL}", f"configs/{ENL}.yaml"])
def test_a_name_stands_for_the_packages_own(name):
    assert Path(find_config(name)) == shipped.CONFIGS / f"{ENL}.yaml"
    config = cfg.clone()
    config.merge_from_file(Path(name))
    assert config.MODEL.NON_LOCAL.TOP_DOWN.TYPE == "enl" and config.SOLVER.MAX_ITER == 360000


def test_files_of_the_working_directory_come_first(empty_folder):
    for place in (f"configs/{ENL}.yaml", f"{ENL}.yml", ENL):
        path = empty_folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("SEED: 3\n")
        assert os.path.samefile(find_config(ENL), path)


def test_every_name_is_found_and_named_again():
    names = config_names()
    assert ENL in names and "e2e_mask_rcnn_R_50_FPN_1x" in names and len(names) > 70
    for name in names:
        assert os.path.splitext(name_of(find_config(name)))[0] == name
    model = str(shipped.MODEL.with_suffix(".yaml"))
    assert find_config(name_of(model)) == model
    assert name_of("mine.yaml") == os.path.abspath("mine.yaml")


def test_a_base_may_be_one_of_the_packages(empty_folder):
    (empty_folder / "mine.yaml").write_text(f'_BASE_: "{ENL}"\nSEED: 4\n')
    config = cfg.clone()
    config.merge_from_file("mine")
    assert config.SEED == 4 and config.MODEL.NON_LOCAL.TOP_DOWN.TYPE == "enl"
    (empty_folder / "other.yaml").write_text('_BASE_: "enl/faster_rcnn_R_50_FPN_3enl"\n')
    with pytest.raises(FileNotFoundError, match=f"other.yaml: _BASE_ names no file.*Did you mean {ENL}"):
        cfg.clone().merge_from_file("other.yaml")


@pytest.mark.parametrize(
    "name, hint",
    [
        ("faster_rcnn_R_50_FPN_3enl_td.yaml", f"Did you mean {ENL}"),
        ("e2e_mask_rcnn_R_50_FPN", "Did you mean e2e_mask_rcnn_R_50_FPN_1x"),
        ("qqqq.yaml", "`mrb suggest` writes one"),
        ("", "`mrb suggest` writes one"),
    ],
)
def test_a_name_of_nothing_gets_the_nearest(name, hint):
    with pytest.raises(FileNotFoundError, match=f"no configuration file {name!r} .*{hint}"):
        find_config(name)


def test_all_that_is_shipped_is_there():
    """In a checkout; .ci/test_wheel.sh tries a wheel in an empty folder."""
    for path in (shipped.MODEL.with_suffix(".yaml"), shipped.MODEL.with_suffix(".pth"), shipped.IMAGE):
        assert path.is_file()
    assert shipped.IMAGE.stat().st_size < 100_000


def test_the_weights_of_the_model_are_found_by_their_name():
    """As `mrb suggest` writes them, in any folder and on any machine."""
    name = name_of(str(shipped.MODEL.with_suffix(".pth")))
    assert name == "demo/models/relations_enl.pth" and not os.path.exists(name)
    assert load_weights(cfg, name)["model"]
