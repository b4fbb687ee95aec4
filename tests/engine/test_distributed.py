"""Training in two processes: one answer, the gradients of the joint batch, and nobody left waiting."""

import json
import math
import os
from pathlib import Path
from unittest import mock

import pytest
import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.engine.errors import NonFiniteLossError
from maskrcnn_benchmark.engine.run import distribute
from maskrcnn_benchmark.engine.training import train
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.utils import distributed as comm
from maskrcnn_benchmark.utils.checkpoint import Checkpointer
from maskrcnn_benchmark.utils.seed import seed_everything
from tests.support.fakes import Loader, Run
from tests.support.helpers import CONFIG, options
from tests.support.processes import run_in_processes


def train_until_it_fails(folder: str) -> dict:
    """The third batch of process 1 is not a number; every process has data of its own."""
    rank = comm.get_rank()
    run = Run(Path(folder, "run"), 6)
    wrapped = distribute(run.model, torch.device("cpu"))
    try:
        run.train(Loader(6, bad=3 * rank, seed=rank), wrapped, checkpoint_period=1)
    except NonFiniteLossError as error:
        message = str(error)
    return {"message": message, "weight": run.model.linear.weight.tolist(), "seen": run.model.seen}


@pytest.mark.slow
def test_a_bad_loss_in_one_process_stops_all_of_them(tmp_path):
    first, second = run_in_processes(train_until_it_fails, str(tmp_path))
    assert first["message"] == second["message"]
    assert "iteration 3 is not finite (rank 1: {'loss_fit': nan}, images [106, 107])" in first["message"]
    assert "rank 0" not in first["message"]
    # Neither took the step; the gradient of one is in the weights of both.
    saved = torch.load(tmp_path / "run" / "model_nonfinite.pth", weights_only=True)["model"]
    assert first["weight"] == second["weight"] == saved["linear.weight"].tolist()
    before = torch.load(tmp_path / "run" / "model_0000002.pth", weights_only=True)["model"]
    assert torch.equal(saved["linear.weight"], before["linear.weight"])
    assert (tmp_path / "run" / "last_checkpoint").read_text().endswith("model_0000002.pth")
    # Reported are means over both processes.
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2]
    for line, a, b in zip(lines, first["seen"], second["seen"], strict=False):
        assert a["loss_fit"] != b["loss_fit"]
        assert line["loss_fit"] == pytest.approx((a["loss_fit"] + b["loss_fit"]) / 2, rel=1e-5)


def train_with_an_unused_layer(folder: str, keys: list) -> dict:
    run = Run(Path(folder, "run"), 3)
    run.cfg.merge_from_list(keys)
    run.model.idle = torch.nn.Linear(2, 2)
    wrapped = distribute(run.model, torch.device("cpu"), run.cfg.SOLVER.FIND_UNUSED_PARAMETERS)
    try:
        run.train(Loader(3, seed=comm.get_rank()), wrapped)
    except RuntimeError as error:
        return {"error": str(error)}
    return {"weight": run.model.linear.weight.tolist()}


@pytest.mark.slow
def test_parameters_that_a_step_does_not_use_need_a_key(tmp_path):
    first, second = run_in_processes(train_with_an_unused_layer, str(tmp_path), ["SOLVER.FIND_UNUSED_PARAMETERS", True])
    assert first["weight"] == second["weight"]
    for failed in run_in_processes(train_with_an_unused_layer, str(tmp_path / "without"), []):
        assert "find_unused_parameters" in failed["error"]


def configuration(folder: str, **keys: object):
    """A tiny detector without batch statistics, which would differ between the processes."""
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    fixed = {
        "MODEL__RESNETS__STEM_FUNC": "StemWithFixedBatchNorm",
        "MODEL__RESNETS__TRANS_FUNC": "BasicBlockWithFixedBatchNorm",
        "MODEL__RPN__FPN_POST_NMS_PER_BATCH": False,
        "MODEL__RPN__BATCH_SIZE_PER_IMAGE": 64,
        "MODEL__ROI_HEADS__BATCH_SIZE_PER_IMAGE": 32,
    }
    config.merge_from_list(options(Path(folder), **fixed, **keys))
    return config


def sample(index: int, objects: int = 2) -> tuple[torch.Tensor, BoxList]:
    """A random image of 64 x 64 pixels and its target."""
    image = 20 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(index))
    boxes = torch.tensor([[5.0, 8.0, 30.0, 27.0], [28.0, 33.0, 59.0, 60.0]]) + index
    target = BoxList(boxes[:objects], (64, 64))
    target.add_field("labels", torch.tensor([1, 2])[:objects])
    outlines = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in target.bbox.tolist()]
    target.add_field("masks", SegmentationMask(outlines, (64, 64)))
    return image, target


def always_the_same(n: int, device: torch.device | None = None) -> torch.Tensor:
    """In place of torch.rand: draws from an image the same samples whichever batch it is in."""
    return torch.arange(n) * 0.6180339887 % 1


def gradients(folder: str, images: list[int], wrap: bool) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Of the losses of a joint batch; also how many proposals of each image the box head drew."""
    config = configuration(folder, MODEL__MASK_ON=False)
    seed_everything(0)
    model = build_detection_model(config).train()
    drawn: list[int] = []
    subsample = model.roi_heads["box"].loss_evaluator.subsample

    def counted(*args):
        proposals = subsample(*args)
        drawn.extend(len(p) for p in proposals)
        return proposals

    model.roi_heads["box"].loss_evaluator.subsample = counted
    pictures, targets = zip(*(sample(i) for i in images), strict=True)
    wrapped = distribute(model, torch.device("cpu")) if wrap else model
    with mock.patch.object(torch, "rand", always_the_same):
        losses = wrapped(to_image_list(pictures), list(targets))
    sum(losses.values()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, drawn


def gradients_of_own_image(folder: str) -> tuple[dict, list[int]]:
    found, drawn = gradients(folder, [comm.get_rank()], wrap=True)
    return {name: gradient.contiguous().numpy() for name, gradient in found.items()}, drawn


@pytest.mark.slow
def test_averaged_gradients_are_those_of_the_joint_batch(tmp_path):
    (first, drawn_first), (second, drawn_second) = run_in_processes(gradients_of_own_image, str(tmp_path))
    joint, drawn = gradients(str(tmp_path), [0, 1], wrap=False)
    assert drawn == drawn_first + drawn_second == [32, 32]  # so both images weigh the same
    assert len(joint) > 60 and set(joint) == set(first) == set(second)
    # In so small an image no anchor of the coarsest level lies inside: two tensors have no gradient.
    assert sum(bool(gradient.norm() > 0) for gradient in joint.values()) >= len(joint) - 2
    for name, expected in joint.items():
        averaged = torch.from_numpy(first[name])
        assert torch.equal(averaged, torch.from_numpy(second[name])), name
        assert (averaged - expected).norm() <= 1e-5 * expected.norm(), name


class Samples:
    """Process 0 has objects; in process 1 the first image has none, and later ones have."""

    class dataset:
        @staticmethod
        def get_img_info(index: int) -> dict:
            return {"id": index}

    def __iter__(self):
        rank = comm.get_rank()
        for i, objects in enumerate((0, 0, 2) if rank else (2, 0, 2)):
            image, target = sample(2 * i + rank, objects)
            yield to_image_list([image]), (target,), (2 * i + rank,)


def train_with_empty_images(folder: str) -> dict:
    config = configuration(folder, SOLVER__MAX_ITER=3, OUTPUT_DIR=os.path.join(folder, "run"))
    seed_everything(0)
    model = build_detection_model(config)
    optimizer = make_optimizer(config, model)
    train(
        config,
        distribute(model, torch.device("cpu")),
        Samples(),
        optimizer,
        make_lr_scheduler(config, optimizer),
        Checkpointer(model, save_dir=config.OUTPUT_DIR),
        torch.device("cpu"),
        0,
        0,
        {"iteration": 0},
    )
    return {name: p.detach().sum().item() for name, p in model.named_parameters()}


@pytest.mark.slow
def test_images_without_objects_in_one_process_or_all_hang_nobody(tmp_path):
    first, second = run_in_processes(train_with_empty_images, str(tmp_path))
    assert first == second and all(math.isfinite(v) for v in first.values())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    assert all(math.isfinite(v) for line in lines for v in line.values())
    # Without any object there is no mask and no box to regress to, and still background to learn.
    assert lines[1]["loss_mask"] == lines[1]["loss_box_reg"] == 0 < lines[1]["loss_objectness"]
    assert lines[0]["loss_mask"] > 0 and lines[2]["loss_mask"] > 0
