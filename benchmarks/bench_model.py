"""Whole detectors against torchvision's: inference and a training step on 800 x 1120 images, in turn, in one process.

torchvision's fasterrcnn_resnet50_fpn and maskrcnn_resnet50_fpn get FrozenBatchNorm2d and fixed stem and res2, as this
package's R-50-FPN models have; both detectors keep 1000 proposals in testing and train on 512. Weights are random, from
one seed, with class scores spread out so that testing keeps its 100 detections; their masks are pasted into the image by
both. Times are seconds, medians over --repeat turns; ratio is torchvision / this package, the median over the turns. MB are
10^6 bytes of the tensors that live at once at the peak, beyond the weights and what is there before.

    python benchmarks/bench_model.py [--device cuda] [--dtype bfloat16] [--batch 8] [--compile] [--models faster mask]
"""

import os
import statistics
import warnings
from collections.abc import Callable

import torch
import torchvision
from torch import nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn

import harness
from harness import Run
from maskrcnn_benchmark.analysis.memory import peak_memory
from maskrcnn_benchmark.analysis.sizes import Size, parse_size
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import Masker
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

SIZE, OBJECTS = (800, 1120), 12
CONFIGS = os.path.join(os.path.dirname(__file__), "..", "configs")


def sample(device: torch.device, size: Size = SIZE) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list]:
    """An image in [0, 1], boxes, labels and a diamond as the polygon of each object."""
    generator = torch.Generator().manual_seed(0)
    (height, width), unit = size, size[0] / SIZE[0]
    image = torch.rand(3, height // 16, width // 16, generator=generator)
    image = nn.functional.interpolate(image[None], size=size, mode="bicubic")[0].clamp(0, 1)
    corner = torch.rand(OBJECTS, 2, generator=generator) * torch.tensor([width - 330 * unit, height - 330 * unit])
    extent = (16 + torch.rand(OBJECTS, 2, generator=generator) * 300) * unit
    boxes = torch.cat((corner, corner + extent), 1)
    labels = torch.randint(1, 81, (OBJECTS,), generator=generator)
    polygons = [[[(a + c) / 2, b, c, (b + d) / 2, (a + c) / 2, d, a, (b + d) / 2]] for a, b, c, d in boxes.tolist()]
    return image.to(device), boxes.to(device), labels.to(device), polygons


def ours(
    config_file: str, device: torch.device, batch: int = 1, compiled: bool = False, size: Size = SIZE
) -> tuple[nn.Module, Run, Run]:
    """A model of this package with random weights, a detection and the losses of a training step."""
    config = cfg.clone()
    config.merge_from_file(config_file)
    model = build_detection_model(config).to(device)
    if compiled:
        model.backbone.compile(dynamic=True)  # as MODEL.COMPILE does
    image, boxes, labels, polygons = sample(device, size)
    mean = torch.tensor(config.INPUT.PIXEL_MEAN, device=device)[:, None, None]
    pixels = (image[[2, 1, 0]] * 255 - mean).expand(batch, -1, -1, -1).contiguous()
    target = BoxList(boxes, size[::-1])
    target.add_field("labels", labels)
    target.add_field("masks", SegmentationMask(polygons, size[::-1]))
    masker = Masker()

    def detect() -> object:
        detections = model(pixels)
        return masker([d.get_field("mask") for d in detections], detections) if config.MODEL.MASK_ON else detections

    spread_scores(model, model.roi_heads.box.predictor.cls_score, detect)
    return model, detect, lambda: model(pixels, [target] * batch)


def theirs(kind: str, device: torch.device, batch: int = 1, size: Size = SIZE) -> tuple[nn.Module, Run, Run]:
    """torchvision's model, likewise."""
    build = fasterrcnn_resnet50_fpn if kind == "faster" else maskrcnn_resnet50_fpn
    model = build(
        weights=None,
        weights_backbone=None,
        num_classes=81,
        min_size=min(size),
        max_size=1333,
        trainable_backbone_layers=5,
    )
    _freeze_norms(model)
    for name, parameter in model.backbone.body.named_parameters():
        parameter.requires_grad_(not name.startswith(("conv1", "layer1")))
    model = model.to(device)
    image, boxes, labels, polygons = sample(device, size)
    masks = SegmentationMask(polygons, size[::-1]).get_mask_tensor().to(device)
    target = {"boxes": boxes, "labels": labels, "masks": masks}
    spread_scores(model, model.roi_heads.box_predictor.cls_score, lambda: model([image]))
    return model, lambda: model([image] * batch), lambda: model([image] * batch, [target] * batch)


def spread_scores(model: nn.Module, predictor: nn.Linear, detect: Run) -> None:
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


def inference(model: nn.Module, detect: Run) -> Run:
    def run() -> object:
        model.eval()
        with torch.inference_mode():
            return detect()

    return run


def training(model: nn.Module, losses: Callable[[], dict]) -> Run:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-5, momentum=0.9)

    def run() -> None:
        model.train()
        optimizer.zero_grad()
        sum(losses().values()).backward()
        optimizer.step()

    return run


def main() -> None:
    parser = harness.argument_parser(__doc__, repeat=7, dtypes=harness.DTYPES)
    parser.add_argument("--models", nargs="+", default=["faster", "mask"], choices=("faster", "mask"))
    parser.add_argument("--batch", type=int, default=1, help="images at a time (default 1)")
    parser.add_argument("--compile", action="store_true", help="with this package's body and pyramid compiled")
    parser.add_argument("--size", type=parse_size, default=SIZE, metavar="HxW", help="of the image (default 800x1120)")
    args = parser.parse_args()
    device, dtype = harness.device_and_dtype(args)
    warnings.filterwarnings("ignore", "Changing trainable_backbone_layers")  # they are fixed below
    print(f"{harness.machine(device)}, {args.dtype}, batch {args.batch}{', compiled' * args.compile}")
    print(f"{'model':8} {'what':10} {'torchvision':>12} {'this package':>13} {'ratio':>6} {'MB':>7} {'MB':>7}")
    for kind in args.models:
        torch.manual_seed(0)
        config_file = os.path.join(CONFIGS, f"e2e_{kind}_rcnn_R_50_FPN_1x.yaml")
        other, detect_other, losses_other = theirs(kind, device, args.batch, args.size)
        own, detect, losses = ours(config_file, device, args.batch, args.compile, args.size)
        pairs = {
            "inference": {"other": inference(other, detect_other), "own": inference(own, detect)},
            "training": {"other": training(other, losses_other), "own": training(own, losses)},
        }
        for what, sides in pairs.items():
            with harness.autocast(device, dtype):
                times = harness.take_turns(sides, args.repeat, lambda run: harness.seconds(run, device))
                peaks = [peak_memory(run, device) / 1e6 for run in sides.values()]
            a, b = (statistics.median(series) for series in times.values())
            ratio = harness.ratio(times["other"], times["own"])
            print(f"{kind:8} {what:10} {a:12.3f} {b:13.3f} {ratio:6.2f} {peaks[0]:7.0f} {peaks[1]:7.0f}", flush=True)


if __name__ == "__main__":
    main()
