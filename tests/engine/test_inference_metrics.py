"""Metrics of a whole data set, detected batch by batch, against pycocotools run on the same detections by hand."""

import contextlib
import io
import zlib

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import Masker
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import CONFIG, options, write_coco

IMAGES, SCALE = 7, 2  # the network sees the images at twice their size
CATEGORIES = {1: 3, 2: 7}
MEAN = cfg.INPUT.PIXEL_MEAN


class RandomDetector(nn.Module):
    """Boxes near the bright rectangles of each image and elsewhere; what is drawn depends on the pixels alone."""

    def __init__(self):
        super().__init__()
        self.found: list[BoxList] = []

    def forward(self, images) -> list[BoxList]:
        results = []
        for tensor, (height, width) in zip(images.tensors, images.image_sizes, strict=True):
            pixels = tensor[:, :height, :width].contiguous()
            rng = np.random.default_rng(zlib.crc32(pixels.numpy().tobytes()))
            boxes = rng.uniform(0, 60, (6, 4)).astype(np.float32)
            boxes[:, 2:] += boxes[:, :2] + 8
            # Bright pixels bound the objects; a few boxes follow them.
            bright = (pixels + torch.tensor(MEAN)[:, None, None] > 160).any(0).numpy()
            rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
            around = np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)
            near = around + rng.uniform(-12, 12, (6, 4)).astype(np.float32)
            boxlist = BoxList(torch.from_numpy(np.concatenate((boxes, near))), (width, height)).clip_to_image()
            boxlist.add_field("scores", torch.from_numpy(rng.random(len(boxlist)).astype(np.float32)))
            boxlist.add_field("labels", torch.from_numpy(rng.integers(1, 3, len(boxlist))))
            boxlist.add_field("mask", torch.from_numpy(rng.random((len(boxlist), 1, 28, 28)).astype(np.float32) ** 0.3))
            results.append(boxlist)
        self.found += results
        return results


def by_hand(ann_file: str, found: list[BoxList], task: str) -> list[float]:
    entries = []
    for image, boxlist in enumerate(found):
        fields = (boxlist.bbox / SCALE, boxlist.get_field("labels"), boxlist.get_field("scores"))
        small = BoxList(fields[0], tuple(side // SCALE for side in boxlist.size))
        (bitmaps,) = Masker(threshold=0.5, padding=1)(boxlist.get_field("mask"), small)
        for bitmap, box, label, score in zip(bitmaps.numpy(), *(f.tolist() for f in fields), strict=True):
            entry = {"image_id": 10 + image, "category_id": CATEGORIES[label], "score": score}
            if task == "bbox":
                entry["bbox"] = [box[0], box[1], box[2] - box[0] + 1, box[3] - box[1] + 1]
            else:
                entry["segmentation"] = mask_utils.encode(np.asfortranarray(bitmap[0].astype(np.uint8)))
            entries.append(entry)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(ann_file)
        truth.dataset["info"] = {}
        evaluation = COCOeval(truth, truth.loadRes(entries), task)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.mark.parametrize("batch", [1, 3])
def test_metrics_are_those_of_pycocotools(tmp_path, batch):
    write_coco(tmp_path, images=IMAGES)
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    config.merge_from_list(options(tmp_path, INPUT__MIN_SIZE_TEST=64 * SCALE, TEST__IMS_PER_BATCH=batch))
    (loader,) = make_data_loader(config, is_train=False)
    model = RandomDetector()
    results, _ = inference(model, loader, "set", ("bbox", "segm"), device="cpu")
    assert len(model.found) == IMAGES
    for task in ("bbox", "segm"):
        expected = by_hand(str(tmp_path / "set.json"), model.found, task)
        assert 0.01 < expected[0] < 0.9
        assert list(results.results[task].values()) == pytest.approx(expected, abs=1e-9)
