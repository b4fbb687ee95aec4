"""Weights of one kind of context module are not taken for another's of the same names and shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.checkpoint.checkpointer import DetectronCheckpointer
from maskrcnn_benchmark.checkpoint.context import kinds_of
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.layers.non_local import DotProduct, EfficientNonLocal, EmbeddedGaussian


class Model(nn.Module):
    def __init__(self, context: nn.Module):
        super().__init__()
        self.body, self.non_local_res5 = nn.Linear(2, 2), context


def checkpointer(context: nn.Module, folder: object = "", *keys: object) -> DetectronCheckpointer:
    cfg = defaults.clone()
    cfg.merge_from_list(list(keys))
    return DetectronCheckpointer(cfg, Model(context), save_dir=str(folder))


@pytest.fixture
def saved(tmp_path) -> Model:
    """In tmp_path/model_final.pth."""
    source = checkpointer(EfficientNonLocal(8), tmp_path)
    source.save("model_final", iteration=7)
    return source.model


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (EmbeddedGaussian(8), "non_local_res5: enl, DCT_SIZE 9 in the file, nl in the model"),
        (DotProduct(8), "nl_dot in the model"),
        (EfficientNonLocal(8, dct_size=3), "enl, DCT_SIZE 3 in the model"),
        (EfficientNonLocal(8, position=""), "enl, DCT_SIZE 0 in the model"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_another_kind_is_refused_and_starts_anew_where_that_is_allowed(context, said, saved, tmp_path, log):
    path = str(tmp_path / "model_final.pth")
    for folder in ("", tmp_path):  # as weights, and in a run that goes on
        with pytest.raises(CheckpointError, match=said):
            checkpointer(context, folder).load(path)
    with pytest.raises(CheckpointError, match=said):
        checkpointer(context, tmp_path, "MODEL.WEIGHT_ALLOW_MISMATCH", True).load(path)

    initial = context.theta.weight.clone()
    other = checkpointer(context, "", "MODEL.WEIGHT_ALLOW_MISMATCH", True)
    other.load(path)
    assert torch.equal(other.model.body.weight, saved.body.weight)
    assert torch.equal(other.model.non_local_res5.theta.weight, initial) and said in log.text


def test_the_same_kind_and_files_that_name_none_load(saved, tmp_path):
    resumed = checkpointer(EfficientNonLocal(8, literal=True), tmp_path)
    assert resumed.load() == {"iteration": 7}
    assert torch.equal(resumed.model.non_local_res5.theta.weight, saved.non_local_res5.theta.weight)
    torch.save({"model": saved.state_dict()}, tmp_path / "other.pth")
    other = checkpointer(DotProduct(8))
    other.load(str(tmp_path / "other.pth"))
    assert torch.equal(other.model.non_local_res5.theta.weight, saved.non_local_res5.theta.weight)


def test_kinds_are_named_as_in_the_configuration():
    class Own(EmbeddedGaussian):
        pass

    assert kinds_of(Model(Own(8))) == {"non_local_res5": "Own"}
    assert kinds_of(nn.Linear(2, 2)) == {}
