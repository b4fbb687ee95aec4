"""Detection on a whole data set, with a detector that sees the same thing in every image."""

import json

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.inference import compute_on_dataset, inference
from maskrcnn_benchmark.engine.results import to_original_image
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.timer import Timer
from tests.support.helpers import CONFIG, options, write_coco


class Detector(nn.Module):
    """One box of 10 x 20 pixels of the network's image, label 2, and a mask that fills it; notes its batches."""

    def __init__(self):
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images) -> list[BoxList]:
        assert not self.training and not torch.is_grad_enabled()
        self.batches.append(len(images.image_sizes))
        found = []
        for height, width in images.image_sizes:
            boxlist = BoxList(torch.tensor([[4.0, 6.0, 13.0, 25.0]]), (width, height))
            boxlist.add_field("scores", torch.tensor([0.75]))
            boxlist.add_field("labels", torch.tensor([2]))
            boxlist.add_field("mask", torch.ones(1, 1, 28, 28))
            found.append(boxlist)
        return found


@pytest.fixture
def loader(tmp_path):
    """Five images; the network sees them at twice their size."""

    def make(**keys: object):
        write_coco(tmp_path, images=5)
        config = cfg.clone()
        config.merge_from_file(str(CONFIG))
        config.merge_from_list(options(tmp_path, INPUT__MIN_SIZE_TEST=128, **keys))
        return make_data_loader(config, is_train=False)[0]

    return make


def test_predictions_are_the_networks_and_results_the_original_images(loader):
    model, timer = Detector().train(), Timer()
    results = compute_on_dataset(model, loader(), torch.device("cpu"), bbox_aug=False, timer=timer)
    assert sorted(results) == [0, 1, 2, 3, 4]
    assert model.batches == [2, 2, 1] and timer.calls == 3
    for index, seen in results.items():
        width = 64 if index % 2 else 80
        assert seen.size == (2 * width, 128) and seen.bbox.tolist() == [[4.0, 6.0, 13.0, 25.0]]
        prediction = to_original_image(seen, width, 64)
        assert prediction.size == (width, 64)
        assert prediction.bbox.tolist() == [[2.0, 3.0, 6.5, 12.5]]
        assert not prediction.has_field("mask")
        bitmap = mask_utils.decode(prediction.get_field("rle"))[:, :, 0]
        assert bitmap.shape == (64, prediction.size[0])
        rows, columns = bitmap.nonzero()
        assert np.abs(np.array([columns.min(), rows.min(), columns.max(), rows.max()]) - [2, 3, 6.5, 12.5]).max() <= 1


def test_boxes_without_masks_keep_their_fields():
    boxlist = BoxList(torch.tensor([[4.0, 6.0, 13.0, 25.0]]), (100, 50))
    boxlist.add_field("scores", torch.tensor([0.5]))
    original = to_original_image(boxlist, 200, 25)
    assert original.bbox.tolist() == [[8.0, 3.0, 26.0, 12.5]] and original.size == (200, 25)
    assert original.fields() == ["scores"] and boxlist.size == (100, 50)


def test_predictions_and_metrics_are_written(loader, tmp_path):
    out = tmp_path / "out"
    results, entries = inference(Detector(), loader(), "set", ("bbox", "segm"), device="cpu", output_folder=str(out))
    assert {p.name for p in out.iterdir()} == {
        "predictions.pth",
        "coco_results.pth",
        "bbox.json",
        "segm.json",
        "metrics.json",
    }
    predictions = torch.load(out / "predictions.pth", weights_only=False)
    assert [p.bbox.tolist() for p in predictions] == [[[4.0, 6.0, 13.0, 25.0]]] * 5
    assert json.loads((out / "bbox.json").read_text()) == entries["bbox"]
    assert [e["image_id"] for e in entries["bbox"]] == [10, 11, 12, 13, 14]
    assert entries["bbox"][0] == {"image_id": 10, "category_id": 7, "bbox": [2.0, 3.0, 5.5, 10.5], "score": 0.75}
    assert json.loads((out / "metrics.json").read_text())["bbox"] == results.results["bbox"]


@pytest.mark.parametrize("broken", [(1,), (2, 3)])  # part of a batch, and a whole one
def test_images_that_cannot_be_read_count_as_empty(loader, tmp_path, log, broken):
    data = loader()
    for i in broken:
        (tmp_path / "set" / f"{i}.jpg").write_bytes(b"broken")
    results, entries = inference(
        Detector(), data, "set", ("bbox", "segm"), device="cpu", output_folder=str(tmp_path / "out")
    )
    predictions = torch.load(tmp_path / "out" / "predictions.pth", weights_only=False)
    assert [len(p) for p in predictions] == [int(i not in broken) for i in range(5)]
    assert [p.size for p in predictions if len(p)] == [
        (128, 128) if i % 2 else (160, 128) for i in range(5) if i not in broken
    ]
    assert [p.size for p in predictions if not len(p)] == [(64, 64) if i % 2 else (80, 64) for i in broken]
    assert len(entries["bbox"]) == len(entries["segm"]) == 5 - len(broken)
    said = "1 image has no predictions and counts" if len(broken) == 1 else "2 images have no predictions and count"
    assert f"{said} as empty, for example {broken[0]}.jpg" in log.text


class Proposer(nn.Module):
    """Proposes the whole of every image."""

    def forward(self, images) -> list[BoxList]:
        found = []
        for height, width in images.image_sizes:
            boxlist = BoxList(torch.tensor([[0.0, 0.0, width - 1, height - 1]]), (width, height))
            boxlist.add_field("objectness", torch.tensor([0.5]))
            found.append(boxlist)
        return found


def test_proposals(loader, tmp_path):
    data = loader()
    (tmp_path / "set" / "1.jpg").write_bytes(b"broken")
    results, entries = inference(Proposer(), data, "set", box_only=True, device="cpu")
    assert entries == {} and results.results["box_proposal"]["AR@100"] == 0.0  # no object fills its image
