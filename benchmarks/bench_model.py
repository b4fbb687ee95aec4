"""Whole detectors against torchvision's: inference and a training step on 800 x 1120 images, in turn, in one process.

torchvision's fasterrcnn_resnet50_fpn and maskrcnn_resnet50_fpn get FrozenBatchNorm2d and fixed stem and res2, as this
package's R-50-FPN models have; both detectors keep 1000 proposals in testing and train on 512. Weights are random, from
one seed, with class scores spread out so that testing keeps its 100 detections; their masks are pasted into the image by
both. Times are seconds, medians over --repeat turns; ratio is torchvision / this package, the median over the turns.

    python benchmarks/bench_model.py [--device cuda] [--dtype bfloat16] [--batch 8] [--compile] [--models faster mask]
"""

import argparse
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import torch
import torchvision
from torch import nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import Masker
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

HEIGHT, WIDTH, OBJECTS = 800, 1120, 12
CONFIGS = os.path.join(os.path.dirname(__file__), "..", "configs")


def sample(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list]:
    """An image in [0, 1], boxes, labels and a diamond as the polygon of each object."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, HEIGHT // 16, WIDTH // 16, generator=generator)
    image = nn.functional.interpolate(image[None], size=(HEIGHT, WIDTH), mode="bicubic")[0].clamp(0, 1)
    corner = torch.rand(OBJECTS, 2, generator=generator) * torch.tensor([WIDTH - 330.0, HEIGHT - 330.0])
    extent = 16 + torch.rand(OBJECTS, 2, generator=generator) * 300
    boxes = torch.cat((corner, corner + extent), 1)
    labels = torch.randint(1, 81, (OBJECTS,), generator=generator)
    polygons = [[[(a + c) / 2, b, c, (b + d) / 2, (a + c) / 2, d, a, (b + d) / 2]] for a, b, c, d in boxes.tolist()]
    return image.to(device), boxes.to(device), labels.to(device), polygons


def ours(
    config_file: str, device: torch.device, batch: int, compiled: bool
) -> tuple[nn.Module, Callable[[], object], Callable[[], object]]:
    config = cfg.clone()
    config.merge_from_file(config_file)
    model = build_detection_model(config).to(device)
    if compiled:
        model.backbone.compile(dynamic=True)  # as MODEL.COMPILE does
    image, boxes, labels, polygons = sample(device)
    mean = torch.tensor(config.INPUT.PIXEL_MEAN, device=device)[:, None, None]
    pixels = (image[[2, 1, 0]] * 255 - mean).expand(batch, -1, -1, -1).contiguous()
    target = BoxList(boxes, (WIDTH, HEIGHT))
    target.add_field("labels", labels)
    target.add_field("masks", SegmentationMask(polygons, (WIDTH, HEIGHT)))
    masker = Masker()

    def detect() -> object:
        detections = model(pixels)
        return masker([d.get_field("mask") for d in detections], detections) if config.MODEL.MASK_ON else detections

    spread_scores(model, model.roi_heads.box.predictor.cls_score, detect)
    return model, detect, lambda: model(pixels, [target] * batch)


def theirs(kind: str, device: torch.device, batch: int) -> tuple[nn.Module, Callable[[], object], Callable[[], object]]:
    build = fasterrcnn_resnet50_fpn if kind == "faster" else maskrcnn_resnet50_fpn
    model = build(
        weights=None, weights_backbone=None, num_classes=81, min_size=HEIGHT, max_size=1333, trainable_backbone_layers=5
    )
    _freeze_norms(model)
    for name, parameter in model.backbone.body.named_parameters():
        parameter.requires_grad_(not name.startswith(("conv1", "layer1")))
    model = model.to(device)
    image, boxes, labels, polygons = sample(device)
    masks = SegmentationMask(polygons, (WIDTH, HEIGHT)).get_mask_tensor().to(device)
    target = {"boxes": boxes, "labels": labels, "masks": masks}
    spread_scores(model, model.roi_heads.box_predictor.cls_score, lambda: model([image]))
    return model, lambda: model([image] * batch), lambda: model([image] * batch, [target] * batch)


def spread_scores(model: nn.Module, predictor: nn.Linear, detect: Callable[[], object]) -> None:
    """Scale the class logits to a standard deviation of 2; random weights leave all classes below the score threshold."""
    logits: list[torch.Tensor] = []
    handle = predictor.register_forward_hook(lambda module, args, output: logits.append(output))
    model.eval()
    with torch.no_grad():
        detect()
        predictor.weight.mul_(2 / logits[0].std())
    handle.remove()


def _freeze_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, torchvision.ops.FrozenBatchNorm2d(child.num_features))
        else:
            _freeze_norms(child)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def inference(model: nn.Module, detect: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        model.eval()
        with torch.inference_mode():
            return detect()

    return run


def training(model: nn.Module, losses: Callable[[], dict]) -> Callable[[], object]:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-5, momentum=0.9)

    def run() -> None:
        model.train()
        optimizer.zero_grad()
        sum(losses().values()).backward()
        optimizer.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--models", nargs="+", default=["faster", "mask"], choices=("faster", "mask"))
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--batch", type=int, default=1, help="images at a time (default 1)")
    parser.add_argument("--compile", action="store_true", help="with this package's body and pyramid compiled")
    args = parser.parse_args()
    device = torch.device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    warnings.filterwarnings("ignore", "Changing trainable_backbone_layers")  # they are fixed below
    print(
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, {platform.machine()}, {name}, {args.dtype}, "
        f"batch {args.batch}{', compiled' * args.compile}"
    )
    print(f"{'model':8} {'what':10} {'torchvision':>12} {'this package':>13} {'ratio':>6}")
    for kind in args.models:
        torch.manual_seed(0)
        config_file = os.path.join(CONFIGS, f"e2e_{kind}_rcnn_R_50_FPN_1x.yaml")
        sides = [theirs(kind, device, args.batch), ours(config_file, device, args.batch, args.compile)]
        for what, make, index in (("inference", inference, 1), ("training", training, 2)):
            runs = [make(side[0], side[index]) for side in sides]
            times: list[list[float]] = [[], []]
            with torch.autocast(device.type, dtype=getattr(torch, args.dtype), enabled=args.dtype != "float32"):
                for turn in range(args.repeat + 1):
                    for series, run in zip(times, runs, strict=True):
                        elapsed = seconds(run, device)
                        if turn:  # the first turn warms up
                            series.append(elapsed)
            a, b = (statistics.median(series) for series in times)
            ratio = statistics.median(x / y for x, y in zip(*times, strict=True))
            print(f"{kind:8} {what:10} {a:12.3f} {b:13.3f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
