"""Tiles by the objects of the training set."""

import pytest
import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.auto_tiles import choose_tiles
from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.set_facts import facts_of, facts_of_dataset
from maskrcnn_benchmark.data.suggest import TILE_INPUT, WANTED, tile_for
from tests.support.helpers import CONFIG, options, write_annotations, write_coco
from tests.support.real_sets import AERIAL, needs


def of_photographs(*words):
    config = cfg.clone()
    config.merge_from_list(
        ["DATASETS.DEFINITIONS.cars.ANN_FILE", str(AERIAL / "train.txt"), "DATASETS.TRAIN", ("cars",)]
    )
    config.merge_from_list(["INPUT.TILES.AUTO", True, *words])
    choose_tiles(config)
    return config.INPUT.TILES


@needs(AERIAL)
def test_of_photographs(caplog):
    tiles, facts = of_photographs(), facts_of(formats.read(str(AERIAL / "train.txt")))
    assert tiles.SCALE == pytest.approx(max(WANTED / facts.small, 1), abs=0.02)
    assert tiles.SIZE * tiles.SCALE == pytest.approx(TILE_INPUT, rel=0.01)
    assert facts.large < tiles.OVERLAP * tiles.SIZE
    given = of_photographs("INPUT.TILES.SIZE", 300)
    assert (given.SIZE, given.SCALE, given.OVERLAP) == (300, 1.0, 0.25)
    assert "INPUT.TILES.AUTO chooses nothing, as INPUT.TILES.SIZE is 300; with SIZE 0 it does." in caplog.text


def test_a_tile_is_not_larger_than_the_images():
    def tile(width: int, height: int) -> int:
        content = formats.Content("nowhere")
        content.name_classes(["thing"])
        content.add(content.add_image("a.jpg", (width, height)), 1, (5, 5, 24, 24))
        return tile_for(facts_of(content))[0]

    assert (tile(300, 200), tile(301, 10), tile(3000, 2000), tile(9, 7)) == (300, 301, TILE_INPUT, 16)


def test_a_set_without_objects_is_named(tmp_path):
    content = write_coco(tmp_path)
    write_annotations(tmp_path, "set", {**content, "annotations": []})
    config = cfg.clone()
    config.merge_from_list(["INPUT.TILES.AUTO", True, *options(tmp_path)])
    with pytest.raises(
        ConfigError, match=r"and could not\. There are no objects to go by: 4 images, 0 objects\. Set INPUT"
    ):
        choose_tiles(config)


def test_a_set_that_is_not_there_is_named():
    config = cfg.clone()
    config.merge_from_list(["INPUT.TILES.AUTO", True, "DATASETS.TRAIN", ("coco_2014_train",)])
    with pytest.raises(
        ConfigError, match="chooses tiles from the objects of DATASETS.TRAIN.*config.yml from the OUTPUT_DIR"
    ):
        choose_tiles(config)


@pytest.mark.slow
def test_a_training_keeps_what_was_chosen(tmp_path, run_program):
    write_coco(tmp_path, size=200)
    tools = CONFIG.parents[2] / "tools"
    words = ["--config-file", str(CONFIG), *options(tmp_path, INPUT__TILES__AUTO=True, INPUT__TILES__TRAIN=True)]
    code, said = run_program(tools / "train_net.py", *words, "SOLVER.MAX_ITER", "1")
    assert code == 0 and "INPUT.TILES.AUTO: objects of" in said, said
    kept = cfg.clone()
    kept.defrost()
    kept.merge_from_file(str(tmp_path / "run/config.yml"))
    assert kept.INPUT.TILES.SIZE > 0
    code, said = run_program_again(
        run_program, tools / "test_net.py", "--config-file", str(tmp_path / "run/config.yml")
    )
    assert code == 0 and "INPUT.TILES.AUTO" not in said, said
    assert torch.load(tmp_path / "run/inference/set/predictions.pth", weights_only=False)


def run_program_again(run_program, *words):
    cfg.defrost()
    return run_program(*words)


def test_facts_of_a_set_are_those_of_its_file(tmp_path):
    write_coco(tmp_path, images=5, empty=(1,))
    loaded = facts_of_dataset(COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), False))
    read = facts_of(formats.read(str(tmp_path / "set.json"), images=str(tmp_path / "set")))
    for name in ("images", "objects", "classes", "small", "median", "large", "densest", "longest", "masks"):
        assert getattr(loaded, name) == pytest.approx(getattr(read, name)), name
