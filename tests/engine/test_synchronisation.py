"""How often the host must wait for the device in a training step and in an inference, counted where there is none, and
measured where there is.

What must wait: the number of boxes that a selection keeps. Suppression, losses, sampling, targets, poolers, the optimizer's
step and the watch over it must not.
"""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.engine.step import Step
from maskrcnn_benchmark.engine.step_watch import StepWatch
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.optimize import optimize_for_inference
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from tests.support.helpers import SMALL

CONFIGS = Path(__file__).parents[2] / "configs"
# Operators whose result has a size that depends on values, or that read a value.
WAITING = {
    "nonzero",
    "_local_scalar_dense",
    "masked_select",
    "_unique2",
    "unique_dim",
    "bincount",
    "equal",
    "batched_nms",
}
# Python numbers that become a tensor: copied to a GPU, the host waits for them. Not where they are pinned first and then copied
# without waiting, or stay on the host.
CONSTANTS = "lift_fresh"
NOT_WAITING = {"boxes.py:constant", "masks.py:crop_and_resize", "winograd.py:_kernel_transform"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Waits(TorchDispatchMode):
    """Counts the operators for which a GPU would make the host wait, by the line of the package that calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[1]
        by_mask = name in INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in WAITING or name == CONSTANTS or by_mask:
            frames = [f for f in traceback.extract_stack() if "maskrcnn_benchmark/" in f.filename]
            place = [f"{Path(f.filename).name}:{f.name}" for f in frames[:-3:-1]]
            if name != CONSTANTS or place[:1] and place[0] not in NOT_WAITING:
                self.places[(name, *place)] += 1
        return func(*args, **(kwargs or {}))


def make_config(name: str, device: str):
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / name))
    cfg.merge_from_list([*SMALL, "MODEL.DEVICE", device, "SEED", 1])
    return cfg


def make_step(name: str, device: str) -> tuple[Step, StepWatch, tuple]:
    """A training step of two images with three objects each."""
    cfg = make_config(name, device)
    torch.manual_seed(0)
    model = build_detection_model(cfg).to(device).train()
    optimizer = make_optimizer(cfg, model)
    target = BoxList([[10.0, 12, 70, 60], [30, 30, 100, 120], [5, 5, 20, 30]], (256, 192))
    target.add_field("labels", torch.tensor([5, 6, 7]))
    outlines = [[[x1, y1, x2, y1, x2, y2]] for x1, y1, x2, y2 in target.bbox.tolist()]
    target.add_field("masks", SegmentationMask(outlines, (256, 192)))
    images = to_image_list(list(torch.randn(2, 3, 192, 256)), 32).to(device)
    watch = StepWatch(optimizer)
    step = Step(cfg, model, optimizer, make_lr_scheduler(cfg, optimizer), torch.device(device), watch)
    return step, watch, (images, [target.to(device), target.to(device)])


# In a step of any number of images, Faster R-CNN: how many proposals each image has, and how many are drawn there. Mask R-CNN:
# also how many of these stand for an object, and with polygons, which are filled on the host, the boxes of each image.
ALLOWED = {
    "e2e_faster_rcnn_R_50_FPN_1x.yaml": 2,
    "e2e_mask_rcnn_R_50_FPN_1x.yaml": 3 + 2,
    "retinanet/retinanet_R-50-FPN_1x.yaml": 0,
}


# In an inference: how many proposals each image has, how many pairs of a proposal or an anchor and a class are above the
# threshold, and how many detections each image has. RetinaNet has no proposals, but picks the best of each level. Of a single
# class, as a person, none are picked; keypoints ask for the boxes' sizes, to which heatmaps are enlarged.
ALLOWED_IN_INFERENCE = {
    "e2e_faster_rcnn_R_50_FPN_1x.yaml": 3,
    "e2e_mask_rcnn_R_50_FPN_1x.yaml": 3,
    "e2e_keypoint_rcnn_R_50_FPN_1x.yaml": 3,
    "retinanet/retinanet_R-50-FPN_1x.yaml": 3,
}


@contextlib.contextmanager
def counted_waits(monkeypatch) -> Iterator[Counter]:
    to_list = torch.Tensor.tolist

    def counted(tensor: torch.Tensor) -> object:
        caller = traceback.extract_stack()[-2]
        waits.places[("tolist", f"{Path(caller.filename).name}:{caller.name}")] += 1
        return to_list(tensor)

    with Waits() as waits, monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "tolist", counted)
        yield waits.places


@pytest.mark.parametrize("name", ALLOWED)
def test_a_step_waits_for_sizes_alone(name, monkeypatch):
    step, watch, batch = make_step(name, "cpu")
    step(1, [batch], [1, 2])
    with counted_waits(monkeypatch) as places:
        step(2, [batch], [1, 2])
    assert sum(places.values()) == ALLOWED[name], places


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("name", ALLOWED_IN_INFERENCE)
def test_an_inference_waits_for_sizes_alone(name, images, monkeypatch):
    cfg = make_config(name, "cpu")
    # Something is found, by chance.
    cfg.merge_from_list(["MODEL.ROI_HEADS.SCORE_THRESH", 0.01, "MODEL.RETINANET.INFERENCE_TH", 0.005])
    cfg.merge_from_list(["MODEL.ROI_HEADS.DETECTIONS_PER_IMG", 5])
    torch.manual_seed(0)
    model = build_detection_model(cfg).eval()
    batch = to_image_list(list(torch.randn(images, 3, 192, 256)), 32)
    with torch.no_grad(), counted_waits(monkeypatch) as places:  # inference_mode would show composite operators
        found = model(batch)
    assert all(len(boxes) for boxes in found)
    assert sum(places.values()) == ALLOWED_IN_INFERENCE[name], places


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ALLOWED)
def test_the_same_on_a_gpu(name):
    step, watch, batch = make_step(name, "cuda")
    for iteration in (1, 2):
        step(iteration, [batch], [1, 2])
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step(3, [batch], [1, 2])
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [str(w.message) for w in caught if "called a synchronizing" in str(w.message)]
    assert len(waits) <= ALLOWED[name], waits


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimized", [False, True], ids=["plain", "optimized"])
def test_what_is_of_fixed_size_fits_into_a_cuda_graph(optimized):
    """Body, pyramid with ENL and the dense head: what follows them depends on what is found."""
    cfg = make_config("e2e_faster_rcnn_R_50_FPN_1x.yaml", "cuda")
    cfg.merge_from_list(["MODEL.NON_LOCAL.TOP_DOWN.TYPE", "enl", "MODEL.NON_LOCAL.INIT_STD", 0.06])
    torch.manual_seed(0)
    model = build_detection_model(cfg).cuda().eval()
    if optimized:
        model = optimize_for_inference(model, torch.bfloat16)

    def compute(pixels: torch.Tensor) -> list[torch.Tensor]:
        features = model.backbone(pixels)
        return [*features, *(part for parts in model.rpn.head(features) for part in parts)]

    pixels, other = torch.randn(2, 1, 3, 192, 256, device="cuda").unbind()
    with torch.inference_mode():
        for _ in range(2):  # libraries choose their algorithms
            compute(pixels)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = compute(pixels)
        expected = compute(other)
        pixels.copy_(other)
        graph.replay()
    for value, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(value, wanted)
