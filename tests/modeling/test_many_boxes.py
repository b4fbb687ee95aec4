"""Memory of a training step with very many objects in an image."""

import resource
import subprocess
import sys

import pytest
import torch

from tests.support.helpers import CONFIG

WIDTH, HEIGHT = 560, 400
# What 5,000 objects may take more than 10, MB of 10^6 bytes. Their IoU with the 59,859 anchors alone would be 1,197 MB.
LIMIT = 250


def step(objects: int, masks: bool) -> float:
    """Peak memory of this process, MB, after two training steps of a small FPN detector on one 400 x 560 image."""
    from maskrcnn_benchmark.config import cfg
    from maskrcnn_benchmark.modeling.detector import build_detection_model
    from maskrcnn_benchmark.structures.bounding_box import BoxList
    from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    config.MODEL.MASK_ON = masks
    model = build_detection_model(config).train()
    corner = torch.rand(objects, 2) * torch.tensor([WIDTH - 70.0, HEIGHT - 70.0])
    boxes = torch.cat((corner, corner + 8 + torch.rand(objects, 2) * 60), 1)
    target = BoxList(boxes, (WIDTH, HEIGHT))
    target.add_field("labels", torch.randint(1, 13, (objects,)))
    if masks:
        outlines = [
            [[(a + c) / 2, b, c, (b + d) / 2, (a + c) / 2, d, a, (b + d) / 2] * 6] for a, b, c, d in boxes.tolist()
        ]
        target.add_field("masks", SegmentationMask(outlines, (WIDTH, HEIGHT)))
    for _ in range(2):
        losses = model(torch.rand(1, 3, HEIGHT, WIDTH), [target])
        total = sum(losses.values())
        assert torch.isfinite(total) and ("loss_mask" in losses) == masks
        total.backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def peak(objects: int, masks: bool) -> float:
    """`step` in a process of its own."""
    program = f"from tests.modeling.test_many_boxes import step; print(step({objects}, {masks}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("masks", [False, True])
def test_5000_objects_train_in_little_more_memory_than_10(masks):
    few, many = peak(10, masks), peak(5000, masks)
    print(f"masks {masks}: {few:.0f} MB with 10 objects, {many:.0f} with 5,000")
    assert many - few < LIMIT
