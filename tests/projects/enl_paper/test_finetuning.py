"""projects/enl_paper/reproduce.py finetune: a data set of one's own with and without context, from runs to a table."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from statistics import fmean

import pytest
import yaml

from enl_paper import experiment, finetuning
from enl_paper.comparison import t_quantile
from enl_paper.relations.spec import RELATIONS_CATEGORIES

MODELS = ("baseline", "+3LA, TD")
DEFINITIONS = {"mine_test": {"IMG_DIR": "test", "ANN_FILE": "test.json"}}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump(
            {"DATASETS": {"DEFINITIONS": DEFINITIONS, "TEST": ["mine_test"]}, "MODEL": {"WEIGHT": "start.pth"}}
        )
    )
    return str(path)


def write_results(run, values, **of_categories) -> None:
    place = run.folder + "/inference/mine_test"
    os.makedirs(place, exist_ok=True)
    open(run.folder + "/model_final.pth", "w").close()
    metrics = dict(zip(finetuning.METRICS, values, strict=True))
    with open(place + "/metrics.json", "w") as f:
        per_class = {name: dict.fromkeys(finetuning.METRICS, value) for name, value in of_categories.items()}
        json.dump({"bbox": metrics, "per_class_metrics": {"bbox": per_class}}, f)


def test_models_differ_in_their_modules_alone(config, tmp_path):
    runs = finetuning.plan(config, str(tmp_path / "out"), [0, 3], MODELS, ["SOLVER.MAX_ITER", "7"])
    assert [(run.row.model, run.seed) for run in runs] == [(m, s) for s in (0, 3) for m in MODELS]
    configs = {run.row.model: run.cfg for run in runs}
    assert configs["+3LA, TD"].MODEL.NON_LOCAL.TOP_DOWN.TYPE == "linear_attention"
    assert configs["+3LA, TD"].MODEL.WEIGHT == "start.pth" and configs["+3LA, TD"].SOLVER.MAX_ITER == 7
    configs["+3LA, TD"].MODEL.NON_LOCAL = configs["baseline"].MODEL.NON_LOCAL
    assert configs["+3LA, TD"].dump() == configs["baseline"].dump()


def test_the_table_has_means_and_differences_with_their_intervals(config, tmp_path):
    runs = finetuning.plan(config, str(tmp_path / "out"), [0, 1, 2], MODELS)
    assert finetuning.as_markdown(finetuning.figures(runs)).startswith("Runs done: 0.")
    base, other = [0.50, 0.52, 0.57], [0.53, 0.54, 0.61]
    for run in runs:
        ap = (base if run.row.model == "baseline" else other)[run.seed]
        write_results(run, (ap, 0.8, 0.2, 0.4, -1.0))
    found = finetuning.figures(runs)
    table = finetuning.as_markdown(found)
    differences = [100 * (b - a) for a, b in zip(base, other, strict=True)]
    mean = fmean(differences)
    deviation = (sum((d - mean) ** 2 for d in differences) / 2) ** 0.5
    interval = t_quantile(0.975, 2) * deviation / 3**0.5  # of a paired comparison
    assert f"| +3LA, TD | {100 * fmean(other):.2f} ({mean:+.2f} ± {interval:.2f}) | 80.00 (+0.00 ± 0.00) |" in table
    assert "| baseline | 53.00 | 80.00 | 20.00 | 40.00 | - |" in table
    lines = list(csv.DictReader(finetuning.as_csv(found).splitlines()))
    assert len(lines) == 6 * 5 and lines[0] == {"model": "baseline", "seed": "0", "metric": "AP", "percent": "50.0000"}
    read = finetuning.read_csv(finetuning.as_csv(found))
    assert read.keys() == found.keys() and finetuning.as_markdown(read) == table


def test_the_figures_of_one_category(config, tmp_path):
    words = config, str(tmp_path / "out"), [0], MODELS, ()
    for run in finetuning.plan(*words):
        write_results(run, (0.5,) * 5, car=0.25, bus=0.75)
    runs = finetuning.plan(*words)
    assert set(finetuning.figures([replace(run, category="car") for run in runs]).values()) == {(25.0,) * 5}
    with pytest.raises(ValueError, match="has no category 'tram'"):
        finetuning.figures([replace(run, category="tram") for run in runs])


def test_runs_of_other_settings_are_not_mixed_in(config, tmp_path):
    words = config, str(tmp_path / "out"), [0], MODELS
    for run in finetuning.plan(*words, ["SOLVER.MAX_ITER", "7"]):
        os.makedirs(run.folder)
        cfg = run.cfg
        cfg.OUTPUT_DIR, cfg.SEED, cfg.MODEL.DEVICE = run.folder, run.seed, "cuda"
        (tmp_path / run.folder / "config.yml").write_text(cfg.dump())
    finetuning.plan(*words, ["SOLVER.MAX_ITER", "7", "DATALOADER.NUM_WORKERS", "3"])
    for key, value in (
        ("DATASETS.TRAIN", "('coco_2014_train',)"),
        ("DATASETS.DEFINITIONS.mine_test.ANN_FILE", "corrected.json"),
        ("DATALOADER.REPEAT_FACTOR_THRESHOLD", "0.1"),
        ("TEST.COCO_MAX_DETECTIONS", "500"),
    ):
        with pytest.raises(ValueError, match="other settings: " + key.removesuffix(".mine_test.ANN_FILE")):
            finetuning.plan(*words, ["SOLVER.MAX_ITER", "7", key, value])
    with pytest.raises(ValueError, match=r"other settings: SOLVER.MAX_ITER 7 instead of 8\. Take another --out"):
        finetuning.plan(*words, ["SOLVER.MAX_ITER", "8"])


def test_a_configuration_without_a_test_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match="names no data set to test on"):
        finetuning.plan(config, str(tmp_path / "out"), [0], MODELS, ["DATASETS.TEST", "()"])


KEPT = sorted((experiment.PROJECT.parent / "results" / "finetuning").glob("*.csv"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_the_tables_that_are_kept_are_those_of_their_runs(path):
    text = (path.parents[1] / "finetuning.md").read_text()
    _, _, rows = finetuning.as_markdown(finetuning.read_csv(path.read_text())).partition("\n\n")
    assert rows.startswith("| model | AP |") and rows in text


@pytest.mark.slow
def test_from_a_configuration_to_a_table(run_tool, tmp_path):
    make = ("make_relations", "--quiet", "--out", tmp_path / "scenes", "--preset", "small", "--train", 4, "--val", 2)
    assert run_tool(*make)[0] == 0
    definitions = {
        f"mine_{split}": {
            "IMG_DIR": str(tmp_path / "scenes" / split),
            "ANN_FILE": str(tmp_path / "scenes" / "annotations" / f"instances_{split}.json"),
        }
        for split in ("train", "val")
    }
    content = {
        "_BASE_": str(experiment.PROJECT / "configs" / "small.yaml"),
        "DATASETS": {"DEFINITIONS": definitions, "TRAIN": ["mine_train"], "TEST": ["mine_val"]},
        "MODEL": {"RESNETS": {"BACKBONE_OUT_CHANNELS": 32}, "ROI_BOX_HEAD": {"MLP_HEAD_DIM": 16}},
        "SOLVER": {"MAX_ITER": 2, "STEPS": [], "IMS_PER_BATCH": 2},
    }
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(content))
    words = ("finetune", "--config-file", config, "--out", tmp_path / "out", "--processes", 1, "--seeds", 0, 1)
    code, text = run_tool("reproduce", *words, "--models", *MODELS, "--jobs", 2)
    assert code == 0 and text.count("starting: ") == 4, text
    assert "| +3LA, TD | " in (tmp_path / "out" / "finetuning.md").read_text()
    code, text = run_tool("reproduce", *words[:-2], 2, "--category", "tram")
    assert code == 1 and "knows no class 'tram'" in text and "starting: " not in text, text
    name = RELATIONS_CATEGORIES[0]["name"]
    code, text = run_tool("reproduce", *words, "--models", *MODELS, "--category", name)
    assert code == 0 and "starting: " not in text, text
    assert (tmp_path / "out" / f"finetuning_{name}.md").read_text().startswith(f"Of the category {name}. ")
