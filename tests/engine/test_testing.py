"""Tests of every kind of data set give one kind of result; a kind of one's own and its evaluator take one line each."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.datasets import evaluation
from maskrcnn_benchmark.data.datasets.cityscapes import CityScapesDataset
from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.evaluation.build import evaluate, make_evaluator
from maskrcnn_benchmark.data.datasets.evaluation.coco import coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import use_coco_evaluator
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import (
    EvaluationResult,
    Evaluator,
    check_expected,
    evaluated,
    percent_note,
)
from maskrcnn_benchmark.data.datasets.evaluation.functions import COCOEvaluator, VOCEvaluator, result_of
from maskrcnn_benchmark.data.datasets.facts import groundtruth
from maskrcnn_benchmark.data.datasets.voc import PascalVOCDataset
from maskrcnn_benchmark.data.registries import DATASETS, EVALUATORS
from maskrcnn_benchmark.engine import run as engine_run
from maskrcnn_benchmark.engine.errors import EvaluationError
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.engine.periodic_test import PeriodicTest
from maskrcnn_benchmark.engine.saving import Saver
from maskrcnn_benchmark.engine.testing import check_best_metric, evaluate_model
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.cityscapes_set import write_cityscapes
from tests.support.helpers import CONFIG, options, write_coco
from tests.support.voc_set import write_voc


class Counted(COCODataset):
    """A kind of data set of one's own, whose annotation file has another place."""

    evaluator = "counting"

    def __init__(self, folder: str, transforms=None):
        super().__init__(f"{folder}/set.json", f"{folder}/set", False, transforms)


class Counting(Evaluator):
    """Detections an image, by hand: not one of the package's tasks."""

    def evaluate(self) -> EvaluationResult:
        numbers = [len(prediction) for prediction in self.predictions]
        return EvaluationResult({"number": {"mean": sum(numbers) / len(numbers), "none": math.nan}})


class Detector(nn.Module):
    """As many boxes in each image as it has been asked for tests, or one."""

    boxes = 1

    def forward(self, images) -> list[BoxList]:
        found = []
        for height, width in images.image_sizes:
            boxlist = BoxList(torch.tensor([[4.0, 6.0, 13.0, 25.0]]).repeat(self.boxes, 1), (width, height))
            boxlist.add_field("scores", torch.full((self.boxes,), 0.75))
            boxlist.add_field("labels", torch.full((self.boxes,), 2))
            found.append(boxlist)
        return found


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The configuration and the loader of a data set of one's own kind."""
    monkeypatch.setitem(DATASETS, "Counted", Counted)
    monkeypatch.setitem(EVALUATORS, "counting", Counting)
    write_coco(tmp_path, images=3)
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    config.merge_from_list(options(tmp_path, MODEL__MASK_ON=False))
    key = "DATASETS.DEFINITIONS.mine."
    config.merge_from_list([f"{key}FACTORY", "Counted", f"{key}FOLDER", str(tmp_path), "DATASETS.TEST", ("mine",)])
    return config, make_data_loader(config, is_train=False)[0]


def test_a_kind_of_data_set_and_an_evaluator_of_ones_own(mine, tmp_path, log):
    config, loader = mine
    config.TEST.EXPECTED_RESULTS = [["number", "mean", 2.0, 0.01]]
    assert isinstance(loader.dataset, Counted) and len(loader.dataset) == 3
    result = evaluate_model(config, Detector(), loader, "mine", torch.device("cpu"), str(tmp_path / "out"))
    assert result.metrics["number"]["mean"] == 1.0 and result.scalars == {"number/mean": 1.0}
    assert result.table.split() == ["number", "mean", "none", "1", "-"] and f"mine:\n{result.table}" in log.text
    assert "number mean is 1.0000, NOT as expected" in log.text
    assert (tmp_path / "out" / "predictions.pth").is_file()
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written == {"number": {"mean": 1.0, "none": None}, "per_class": {}, "per_class_metrics": {}}
    asked_as_upstream = inference(Detector(), loader, "mine", device="cpu")
    assert isinstance(asked_as_upstream, EvaluationResult) and asked_as_upstream.metrics["number"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("bbox/AP", ""),
        ("set/bbox/APs", ""),
        ("AR@100", ""),
        ("bbox/ap", "Did you mean 'bbox/AP'"),
        ("segm/AP", "There are"),
    ],
)
def test_a_metric_that_no_evaluator_gives_is_said_before_the_first_step(mine, metric, hint):
    config, _ = mine
    config.merge_from_list(["TEST.BEST_METRIC", metric])
    check_best_metric(config)  # of one's own evaluator nothing is known
    config.merge_from_list(["DATASETS.TEST", ("set",)])
    if not hint:
        check_best_metric(config)
        return
    with pytest.raises(ConfigError, match=rf"TEST.BEST_METRIC '{metric}' is none of .* {hint}.* set/bbox/AP50"):
        check_best_metric(config)


@pytest.mark.parametrize("evaluator", ["coco", "voc"])
def test_the_metrics_that_are_known_beforehand_are_those_that_are_given(tmp_path, evaluator):
    write_coco(tmp_path)
    dataset = COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), True)
    dataset.evaluator = evaluator
    found = []
    for _, target, _ in dataset:
        target.add_field("scores", torch.ones(len(target)))
        found.append(target.copy_with_fields(["labels", "scores"]))
    with use_coco_evaluator("pycocotools", 300, (), (("tiny", 0, 100), ("big", 100, 1e5))):
        made = make_evaluator(dataset)
        names = type(made).metric_names(("bbox",), False)
        if evaluator == "coco":
            assert set(evaluated(made, found).flat) == set(names)
        else:
            assert names == ["bbox/AP50"]

        class Own(type(made)):
            def evaluate(self):
                return super().evaluate()

        assert Own.metric_names(("bbox",), False) is None


def test_it_chooses_the_best_checkpoint_and_the_end(mine, tmp_path):
    """Tests find 1, 3, 2 and 1 boxes an image: the second model is the best, and two tests later nothing is gained."""
    config, loader = mine
    config.merge_from_list(["SOLVER.EARLY_STOP", 2, "TEST.BEST_METRIC", "number/mean"])
    saved: list[dict] = []
    checkpointer = SimpleNamespace(
        has_checkpoint=lambda: False, save=lambda name, **values: saved.append({"name": name, **values["best"]})
    )
    model, numbers, arguments = Detector(), iter((1, 3, 2, 1)), {}

    def tested(pictures: dict) -> list:
        model.boxes = next(numbers)
        return [evaluate_model(config, model, loader, "mine", torch.device("cpu"))]

    noted: list[dict] = []
    test = PeriodicTest(
        config, tested, Saver(checkpointer, 0), arguments, lambda iteration, metrics, _: noted.append(metrics)
    )
    assert [test.run(iteration) for iteration in (1, 2, 3, 4)] == [False, False, False, True]
    assert [(entry["name"], entry["iteration"]) for entry in saved] == [("model_best", 1), ("model_best", 2)]
    assert noted == [{"mine/number/mean": float(n)} for n in (1, 3, 2, 1)]


def found_exactly(dataset) -> list[BoxList]:
    predictions = []
    for i in range(len(dataset)):
        prediction = groundtruth(dataset, i).copy_with_fields(["labels"])
        prediction.add_field("scores", torch.full((len(prediction),), 0.5))
        predictions.append(prediction)
    return predictions


@pytest.mark.parametrize("kind", ["coco", "voc", "cityscapes"])
def test_every_format_gives_one_kind_of_result(kind, tmp_path):
    dataset: object
    if kind == "coco":
        write_coco(tmp_path, images=3)
        dataset = COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), False)
    elif kind == "voc":
        write_voc(tmp_path)
        dataset = PascalVOCDataset(str(tmp_path), "val", use_difficult=True)
    else:
        write_cityscapes(tmp_path)
        dataset = CityScapesDataset(str(tmp_path / "leftImg8bit"), str(tmp_path / "gtFine"), "val")
    out = tmp_path / "out"
    out.mkdir()
    (out / "older.txt").write_text("not written by this test")
    evaluator = make_evaluator(dataset, str(out))
    assert type(evaluator) is EVALUATORS[kind]
    predictions = found_exactly(dataset)
    order = list(range(len(predictions)))[::-1]
    evaluator.process([predictions[i] for i in order[:1]], order[:1])
    evaluator.process([predictions[i] for i in order[1:]], order[1:])
    result = evaluator.evaluate()
    assert isinstance(result, EvaluationResult)
    assert result.metrics["bbox"]["AP50"] == pytest.approx(1.0) and result.scalars["bbox/AP50"] == pytest.approx(1.0)
    assert all(name in result.table for name in result.metrics["bbox"])
    aps = {name: ap for name, ap in result.per_class["bbox"].items() if not math.isnan(ap)}
    assert {"coco": "red", "voc": "chair", "cityscapes": "car"}[kind] in aps and "__background__" not in aps
    assert list(aps.values()) == pytest.approx([1.0] * len(aps))
    written = {"coco": "bbox.json", "voc": "result.txt", "cityscapes": "cityscapes_bbox.json"}[kind]
    assert result.files[written] == str(out / written) and "older.txt" not in result.files


def test_what_could_not_be_measured_is_not_a_number():
    coco = SimpleNamespace(results={"bbox": {"AP": 0.5, "APl": -1.0}})
    assert result_of((coco, {})).scalars == {"bbox/AP": 0.5}
    assert "-" in result_of((coco, {})).table
    assert result_of({}).metrics == result_of(None).metrics == {}
    voc = result_of({"ap": [math.nan, 0.25, 0.75], "map": 0.5})
    assert voc.metrics == {"bbox": {"AP50": 0.5}} and voc.per_class["bbox"]["2"] == 0.75


def test_a_data_set_without_annotations_has_no_metrics(tmp_path):
    """None that could choose the best model for ever, that is."""
    content = write_coco(tmp_path, images=3)
    del content["annotations"]
    (tmp_path / "set.json").write_text(json.dumps(content))
    dataset = COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), False)
    evaluator = make_evaluator(dataset)
    evaluator.process([BoxList(torch.zeros(0, 4), (4, 4))] * 3, range(3))
    for prediction in evaluator.predictions:
        prediction.add_field("labels", torch.zeros(0, dtype=torch.int64))
        prediction.add_field("scores", torch.zeros(0))
    assert evaluator.evaluate().metrics == {}


def test_fractions_are_shown_in_percent_and_other_values_as_they_are():
    metrics = {"bbox": {"AP": 0.5, "APl": -1.0}, "count": {"mae": 91.66666, "bias of all": -0.25, "cars": 1234567.0}}
    box, count = EvaluationResult(metrics).table.split("\n")[:2], EvaluationResult(metrics).table.split("\n")[2:]
    assert box == ["        bbox      AP     APl", "               50.00       -"]
    assert count == [
        "       count      mae  bias of all         cars",
        "              91.6667        -0.25  1.23457e+06",
    ]
    named = EvaluationResult({"quality": {"f1": 0.5}}, fractions=("quality",))
    assert named.table.split() == ["quality", "f1", "50.00"]
    notes = [percent_note(tasks, ("bbox", "segm")) for tasks in (["bbox", "segm"], ["bbox", "count"], ["count"])]
    assert notes == [", in percent", ", bbox in percent", ""]


def test_an_image_without_predictions_is_noticed():
    evaluator = VOCEvaluator(dataset=None)
    evaluator.process([BoxList(torch.zeros(0, 4), (4, 4))], [1])
    with pytest.raises(ValueError, match="predictions of 1 image, but none of image 0"):
        evaluator.evaluate()


def test_an_expectation_of_something_that_was_not_measured(log):
    check_expected({}, [["bbox", "AP", 0.3, 0.01]], 4)
    assert "bbox AP is nan, NOT as expected" in log.text


def test_the_metrics_written_are_those_of_cocos_evaluation_by_itself(mine, tmp_path, monkeypatch):
    config, loader = mine
    out, alone = tmp_path / "out", tmp_path / "alone"
    for folder in (out, alone):
        folder.mkdir()
    monkeypatch.setattr(Counted, "evaluator", "coco")
    result = evaluate_model(config, Detector(), loader, "mine", torch.device("cpu"), str(out))
    predictions = torch.load(out / "predictions.pth", weights_only=False)
    coco_evaluation(loader.dataset, predictions, str(alone), False, ("bbox",), (), 4)
    written = (out / "metrics.json").read_text()
    assert written == (alone / "metrics.json").read_text() and result.files["metrics.json"] == str(out / "metrics.json")
    assert {"red", "blue"} == set(json.loads(written)["per_class_metrics"]["bbox"]) and "-1.0" in written


def test_the_metrics_written_of_vocs_classes(tmp_path):
    write_voc(tmp_path)
    dataset = PascalVOCDataset(str(tmp_path), "val", use_difficult=True)
    result = evaluated(make_evaluator(dataset), found_exactly(dataset))
    result.write(str(tmp_path))
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["bbox"] == {"AP50": 1.0} and written["per_class"]["bbox"]["chair"] == 1.0
    assert -1 in written["per_class"]["bbox"].values()


def test_an_evaluator_may_add_to_another(tmp_path):
    class WithGap(COCOEvaluator):
        def evaluate(self) -> EvaluationResult:
            result = super().evaluate()
            result.metrics["bbox"]["gap"] = result.metrics["bbox"]["AP50"] - result.metrics["bbox"]["AP75"]
            return result

    write_coco(tmp_path, images=3)
    dataset = COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), False)
    result = evaluated(WithGap(dataset), found_exactly(dataset))
    result.write(str(tmp_path))
    assert json.loads((tmp_path / "metrics.json").read_text())["bbox"]["gap"] == result.metrics["bbox"]["gap"] == 0.0


def test_a_forks_own_evaluate_counts(mine, monkeypatch):
    """Its functions and shapes are maskrcnn-benchmark's."""
    config, loader = mine
    asked: list[dict] = []

    def forks(dataset, predictions, output_folder, **kwargs):
        asked.append({"images": len(predictions), **kwargs})
        return SimpleNamespace(results={"bbox": {"AP": 0.5}}), {}

    assert evaluation.evaluate is evaluate
    monkeypatch.setattr(evaluation, "evaluate", forks)
    monkeypatch.setattr("maskrcnn_benchmark.engine.inference.evaluate", forks)
    result = evaluate_model(config, Detector(), loader, "mine", torch.device("cpu"))
    assert result.metrics == {"bbox": {"AP": 0.5}} and asked[0]["images"] == 3
    assert json.dumps(asked[0]["iou_types"]) == '["bbox"]'


def test_an_evaluation_that_fails_is_one_kind_of_error(mine, monkeypatch):
    config, loader = mine

    def failing(self: object) -> None:
        raise KeyError("area")

    monkeypatch.setattr(Counting, "evaluate", failing)
    with pytest.raises(EvaluationError, match="evaluation on mine failed: 'area'") as raised:
        evaluate_model(config, Detector(), loader, "mine", torch.device("cpu"))
    assert isinstance(raised.value.__cause__, KeyError)


def test_the_other_results_come_with_the_failure(mine, monkeypatch):
    config, _ = mine
    config.DATASETS.TEST = ("mine", "set")
    returning(monkeypatch, None)
    monkeypatch.setattr(engine_run, "cfg", config)
    with pytest.raises(EvaluationError, match="evaluation on mine failed") as raised:
        engine_run.test(Detector(), torch.device("cpu"), is_periodic=True)
    failed, other = raised.value.results
    assert failed is None and other is not None and other.scalars["bbox/AP"] >= 0


def returning(monkeypatch, value: object) -> None:
    monkeypatch.setattr(Counting, "evaluate", lambda self: value)


@pytest.mark.parametrize("value", [np.float32(0.5), torch.tensor(0.5), np.array(0.5), torch.tensor([0.5])])
def test_numbers_of_numpy_and_torch_are_numbers(mine, monkeypatch, value):
    config, loader = mine
    returning(monkeypatch, EvaluationResult({"number": {"mean": value}}, {"number": {1: value, 2: None}}))
    result = evaluate_model(config, Detector(), loader, "mine", torch.device("cpu"))
    assert json.dumps([result.scalars, result.per_class]) == '[{"number/mean": 0.5}, {"number": {"1": 0.5, "2": NaN}}]'


@pytest.mark.parametrize("metrics", [{}, {"number": {"mean": math.inf, "none": math.nan}}])
def test_an_evaluator_that_measures_nothing_is_told_so(mine, monkeypatch, log, metrics):
    config, loader = mine
    returning(monkeypatch, EvaluationResult(metrics))
    evaluate_model(config, Detector(), loader, "mine", torch.device("cpu"))
    assert "Nothing could be measured on mine: Counting.evaluate returned no finite number." in log.text
    assert "no objects" not in log.text and ("mine:\n" in log.text) == bool(metrics)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"number": {"mean": 0.5}},
        EvaluationResult(None),  # type: ignore[arg-type]
        EvaluationResult({"mean": 0.5}),  # type: ignore[dict-item]
        EvaluationResult({"number": {"mean": None}}),  # type: ignore[dict-item]
        EvaluationResult({"number": {"mean": "12"}}),  # type: ignore[dict-item]
        EvaluationResult({"number": {"mean": torch.zeros(2)}}),  # type: ignore[dict-item]
        EvaluationResult({"number": {1: 0.5}}),  # type: ignore[dict-item]
    ],
)
def test_anything_but_numbers_by_task_and_name_is_one_kind_of_error(mine, monkeypatch, value):
    config, loader = mine
    returning(monkeypatch, value)
    said = r"evaluation on mine failed: Counting.evaluate returned .*; it must return an EvaluationResult of numbers"
    with pytest.raises(EvaluationError, match=said) as raised:
        evaluate_model(config, Detector(), loader, "mine", torch.device("cpu"))
    assert isinstance(raised.value.__cause__, ValueError)  # a command ends with the sentence alone
