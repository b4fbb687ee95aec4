import pytest
import torch
from torch import nn

from maskrcnn_benchmark.checkpoint.errors import ShapeMismatchError
from maskrcnn_benchmark.checkpoint.matching import load_state_dict, match_names, strip_prefix_if_present
from maskrcnn_benchmark.layers.non_local import EfficientNonLocal, LinearAttention


@pytest.mark.parametrize(
    ("model", "loaded", "expected"),
    [
        (["a.b.c"], ["a.b.c", "b.c", "c"], {"a.b.c": "a.b.c"}),
        (["a.b.c"], ["b.c", "c"], {"a.b.c": "b.c"}),
        (["a.bb.c"], ["b.c"], {}),  # whole words only
        (["x.w", "y.w"], ["w"], {"x.w": "w", "y.w": "w"}),
        (["a.b"], ["z.a.b"], {}),
        ([], ["a"], {}),
    ],
)
def test_names_match_by_their_longest_dotted_tail(model, loaded, expected):
    assert match_names(model, loaded) == expected


def test_a_prefix_goes_only_if_all_have_it():
    value = torch.zeros(1)
    assert list(strip_prefix_if_present({"module.a": value, "module.b": value}, "module.")) == ["a", "b"]
    mixed = {"module.a": value, "b": value}
    assert strip_prefix_if_present(mixed, "module.") is mixed
    assert strip_prefix_if_present({}, "module.") == {}


class Body(nn.Module):
    def __init__(self, classes: int = 3):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.head = nn.Linear(2, classes)


def test_all_weights_arrive_by_value():
    source, model = Body(), Body()
    load_state_dict(model, source.state_dict())
    assert all(torch.equal(v, source.state_dict()[n]) for n, v in model.state_dict().items())
    source.body.weight.data.zero_()
    assert model.body.weight.count_nonzero() == 4  # a copy


def test_other_shapes_are_listed_and_nothing_is_loaded():
    source, model = Body(5), Body(3)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    with pytest.raises(ShapeMismatchError, match="MODEL.WEIGHT_ALLOW_MISMATCH") as raised:
        load_state_dict(model, source.state_dict())
    for line in (
        "head.weight: [5, 2] in the file, [3, 2] in the model",
        "head.bias: [5] in the file, [3] in the model",
    ):
        assert line in str(raised.value)
    assert "body.weight" not in str(raised.value)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_other_shapes_stay_when_that_is_allowed(log):
    source, model = Body(5), Body(3)
    head = model.head.weight.clone()
    load_state_dict(model, source.state_dict(), allow_mismatch=True)
    assert torch.equal(model.body.weight, source.body.weight) and torch.equal(model.head.weight, head)
    assert "2 weights of another shape keep their initial values" in log.text


def test_a_context_module_of_another_kind_starts_anew_as_a_whole(log):
    """ENL's values and its output have names and shapes that other kinds have too."""

    class Model(nn.Module):
        def __init__(self, context: nn.Module):
            super().__init__()
            self.body, self.non_local_res5 = nn.Linear(2, 2), context

    source, model = Model(EfficientNonLocal(32)), Model(LinearAttention(32))
    nn.init.ones_(source.non_local_res5.out.weight)
    load_state_dict(model, source.state_dict(), allow_mismatch=True)
    assert torch.equal(model.body.weight, source.body.weight)
    assert not model.non_local_res5.out.weight.any()  # the identity at the start
    assert "non_local_res5.out.weight: of a context module of another kind" in log.text


def test_what_is_missing_and_what_is_left_over_is_said(log):
    state = Body().state_dict()
    del state["head.bias"]
    state["optimizer.step"] = torch.zeros(1)
    load_state_dict(Body(), state)
    assert "1 weight is not in the file and keeps its initial values: head.bias" in log.text
    assert "1 weight of the file is not used: optimizer.step" in log.text
