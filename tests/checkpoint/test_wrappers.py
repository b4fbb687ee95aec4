"""Weights saved from wrapped models are all loaded, or the file is refused; never a part of them."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.checkpoint.matching import load_state_dict
from maskrcnn_benchmark.checkpoint.weights import with_model
from maskrcnn_benchmark.checkpoint.wrappers import unwrapped, without_wrappers


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.heads = nn.ModuleDict({"box": nn.Linear(4, 2), "mask": nn.Linear(4, 2)})


class System(nn.Module):
    """What a training framework holds beside the detector."""

    def __init__(self, detector: nn.Module):
        super().__init__()
        self.model = detector
        self.criterion = nn.Linear(1, 1)


class Named(nn.Module):
    def __init__(self, name: str, inner: nn.Module):
        super().__init__()
        self.add_module(name, inner)


def compiled_backbone(source: Detector) -> Detector:
    source.backbone = torch.compile(source.backbone)
    return source


def compiled_leaves(source: Detector) -> Detector:
    source.heads["box"] = torch.compile(nn.DataParallel(source.heads["box"]))
    return source


WRAPPED = {
    "DataParallel": nn.DataParallel,
    "compiled": torch.compile,
    "compiled, then parallel": lambda model: nn.DataParallel(torch.compile(model)),
    "parallel, then compiled": lambda model: torch.compile(nn.DataParallel(model)),
    "a compiled part": compiled_backbone,
    "a part that is wrapped twice": compiled_leaves,
    "averaged": AveragedModel,
    "averaged in a system": lambda model: System(AveragedModel(model)),
    "in a system": System,
    "under a name that nobody knows": lambda model: Named("my_detector_v2", Named("inner", model)),
    "all of it": lambda model: Named("lit", System(nn.DataParallel(compiled_backbone(model)))),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_every_weight_of_a_wrapped_model_is_loaded(wrap):
    source, model = Detector(), Detector()
    expected = {name: value.clone() for name, value in source.state_dict().items()}
    load_state_dict(model, wrap(source).state_dict())
    torch.testing.assert_close(model.state_dict(), expected, rtol=0, atol=0)


def test_what_is_renamed_is_said(log):
    load_state_dict(Detector(), torch.compile(Detector()).state_dict())
    assert (
        "have other names in the file" in log.text
        and "_orig_mod.backbone.0.weight is loaded as backbone.0.weight" in log.text
    )


def test_two_sets_of_weights_are_refused_unless_they_are_the_same():
    one, other = Detector(), Detector()
    both = {f"student.{n}": v for n, v in one.state_dict().items()}
    both |= {f"teacher.{n}": v for n, v in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"two sets of weights: student\.\S+ and teacher\.\S+ differ"):
        load_state_dict(Detector(), both)
    tied = both | {f"teacher.{n}": v.clone() for n, v in one.state_dict().items()}
    model = Detector()
    load_state_dict(model, tied)
    torch.testing.assert_close(model.state_dict(), one.state_dict())


def test_the_plain_names_come_before_an_average_beside_them():
    plain, average = Detector(), Detector()
    file = {**plain.state_dict(), **{f"ema_model.{n}": v for n, v in average.state_dict().items()}}
    model = Detector()
    load_state_dict(model, file)
    torch.testing.assert_close(model.state_dict(), plain.state_dict())


def test_an_unknown_part_inside_the_names_is_refused_and_nothing_is_loaded():
    state = Detector().state_dict()
    odd = {n.replace("backbone.", "backbone.quantum."): v for n, v in state.items()}
    model = Detector()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"file's backbone\.quantum\.0\.\w+ seems to be the model's backbone\.0\."
    ):
        load_state_dict(model, odd)
    torch.testing.assert_close(model.state_dict(), before)
    load_state_dict(model, odd, allow_mismatch=True)
    torch.testing.assert_close(model.heads.state_dict(), {n: state[f"heads.{n}"] for n in model.heads.state_dict()})


def test_parts_of_the_models_own_names_stay():
    weights = {"net.module.weight": torch.zeros(1), "module.net.module.bias": torch.ones(1)}
    names = ["net.module.weight", "net.module.bias"]
    renamed, origins = unwrapped(weights, names)
    assert set(renamed) == set(names) and origins == {"net.module.bias": "module.net.module.bias"}
    assert without_wrappers("module.backbone._orig_mod.body.weight") == "backbone.body.weight"


STATE = {"a.weight": torch.zeros(1), "a.bias": torch.zeros(1)}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"model": STATE, "iteration": 3},
        {"state_dict": STATE, "epoch": 3, "optimizer_states": [{"state": {0: {"m": torch.zeros(1)}}}]},
        {"model": "ResNet", "model_state_dict": STATE, "optimizer": {"state": {0: torch.zeros(1)}, "param_groups": []}},
        {"checkpoint": {"network": STATE}, "config": {"lr": 0.1}},
        {"weights": {"weight": torch.zeros(1)}},
    ],
)
def test_the_state_dict_of_a_file_is_found_wherever_it_is(content):
    found = with_model(content, "w.pth")["model"]
    assert all(name.rpartition(".")[2] in ("weight", "bias") for name in found) and found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "holds no weights of a model; its entries are: none"),
        ({"model": {}, "epoch": 1}, "holds no weights of a model; its entries are: model, epoch"),
        ({"model": "ResNet"}, "holds no weights"),
        ({3: torch.zeros(1)}, "under numbers, not names"),
        ({"first": STATE, "second": STATE}, "several sets of weights, first and second"),
    ],
)
def test_a_file_without_one_state_dict_is_refused(content, said):
    with pytest.raises(CheckpointError, match=said):
        with_model(content, "w.pth")


@pytest.mark.parametrize("value", ["text", None, torch.zeros(2, 3).to_sparse(), torch.zeros(2, 3, device="meta"), 1j])
def test_a_weight_that_is_no_dense_tensor_is_refused(value):
    value = torch.full((2, 3), value) if isinstance(value, complex) else value
    with pytest.raises(CheckpointError, match=r"file's 0\.weight is no"):
        load_state_dict(nn.Sequential(nn.Linear(3, 2)), {"0.weight": value, "0.bias": torch.zeros(2)})


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn])
def test_weights_without_their_scales_are_refused_and_nothing_is_loaded(dtype):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {**before, "0.weight": torch.ones(2, 3).to(dtype), "1.bias": torch.ones(2, dtype=torch.float16)}
    said = rf"1 weight of the file, of 7 .*0\.weight is of {str(dtype).removeprefix('torch.')}, for one\. Quantized"
    with pytest.raises(CheckpointError, match=said):
        load_state_dict(model, state)
    assert all((value == before[name]).all() for name, value in model.state_dict().items())
    load_state_dict(model, {**state, "0.weight": torch.ones(2, 3, dtype=torch.float64)})
    assert (model[0].weight == 1).all() and (model[1].bias == 1).all()


def test_values_that_are_not_finite_are_said(log):
    state = Detector().state_dict()
    state["heads.box.bias"][0] = float("nan")
    load_state_dict(Detector(), state)
    assert "1 loaded weight holds infinite values or NaN" in log.text and "heads.box.bias" in log.text
