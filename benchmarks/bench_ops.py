"""The operators against torchvision's, at the sizes of a Faster R-CNN and a Mask R-CNN step on one 800 x 1120 image.

Both sides run in turn, --repeat times, on the same inputs; a line gives both medians in milliseconds, their ratio (the median
over the turns; above 1 this package is faster), and the floor: the time in which the device moves the bytes that must be read
and written once, at the bandwidth that a copy reaches here. RoIAlign is torchvision's MultiScaleRoIAlign on contiguous maps and
this package's single operator on channels_last ones, the format of each one's models; NMS is torchvision's on x2 + 1, y2 + 1,
the same boxes by its convention; Winograd's 3 x 3 convolutions run against PyTorch's.

    python benchmarks/bench_ops.py [--device cuda] [--dtype bfloat16] [--only nms] [--repeat 9]
"""

import statistics
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor
from torch.nn import functional
from torchvision.ops import MultiScaleRoIAlign

import harness
from harness import Run
from maskrcnn_benchmark.layers import (
    batched_nms,
    deform_conv,
    modulated_deform_conv,
    multiscale_roi_align,
    nms,
    roi_pool,
)
from maskrcnn_benchmark.modeling.poolers import LevelMapper
from maskrcnn_benchmark.ops.convolution import conv3x3
from maskrcnn_benchmark.ops.library import ops
from maskrcnn_benchmark.ops.winograd import WinogradConv2d

HEIGHT, WIDTH, CHANNELS, STRIDES = 800, 1120, 256, (4, 8, 16, 32)


@dataclass
class Case:
    """Two functions of equal result, and the bytes that any implementation reads and writes at least once."""

    name: str
    ours: Run
    theirs: Run
    least_bytes: float


def random_boxes(count: int, device: torch.device, generator: torch.Generator, share: int = 1) -> Tensor:
    """Boxes with sides of 8 to 500 pixels, evenly over the logarithm, inside the image divided by `share`."""
    size = torch.tensor([WIDTH // share, HEIGHT // share])
    side = torch.exp(torch.empty(count, 2).uniform_(2.08, 6.2, generator=generator))
    corner = torch.rand(count, 2, generator=generator) * (size - side - 1).clamp(min=0)
    limit = size - 1.0
    return torch.cat((corner, torch.minimum(corner + side, limit)), dim=1).to(device)


def roi_align_cases(device: torch.device, dtype: torch.dtype, share: int) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    size = torch.finfo(dtype).bits // 8
    for count, images, bins, what in ((1000, 1, 7, "testing"), (512, 2, 7, "training"), (100, 1, 14, "masks")):
        count = count // share
        maps = [
            torch.randn(images, CHANNELS, HEIGHT // share // s, WIDTH // share // s, generator=generator)
            .to(device, dtype)
            .contiguous(memory_format=torch.channels_last)
            .requires_grad_()
            for s in STRIDES
        ]
        plain = [m.detach().contiguous().requires_grad_() for m in maps]
        boxes = [random_boxes(count, device, generator, share) for _ in range(images)]
        image = torch.arange(images, device=device).repeat_interleave(count)[:, None]
        rois = torch.cat((image, torch.cat(boxes)), dim=1)
        mapper, scales = LevelMapper(2, 5), [1 / s for s in STRIDES]
        pool = MultiScaleRoIAlign(list("0123"), bins, sampling_ratio=2)
        pool.scales, pool.map_levels = None, None

        def ours(maps=maps, rois=rois, mapper=mapper, scales=scales, bins=bins) -> Tensor:
            return multiscale_roi_align(maps, rois, mapper.levels(rois[:, 1:]), scales, bins, 2)

        of_maps = [box.to(dtype) for box in boxes]  # torchvision's wants both of one type

        def theirs(maps=plain, boxes=of_maps, pool=pool, images=images) -> Tensor:
            return pool(
                OrderedDict(zip("0123", maps, strict=True)), boxes, [(HEIGHT // share, WIDTH // share)] * images
            )

        output = rois.shape[0] * CHANNELS * bins * bins * size
        pixels = sum(m.numel() for m in maps) * size
        name = f"roi_align {images} x {count}, {bins} x {bins}, {what}"
        # Forward reads at most the maps; a bin of four samples reads no more than 16 pixels.
        yield Case(f"{name}, forward", no_grad(ours), no_grad(theirs), output + min(pixels, 16 * output))
        yield Case(f"{name}, backward", backward(ours, maps), backward(theirs, plain), output + pixels)


def no_grad(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    return torch.no_grad()(function)


def backward(function: Callable[[], Tensor], inputs: list[Tensor]) -> Run:
    """The backward pass alone, over and over on one graph."""
    output = function()
    gradient = torch.ones_like(output)
    return lambda: torch.autograd.grad(output, inputs, gradient, retain_graph=True)


def nms_cases(device: torch.device, dtype: torch.dtype, share: int) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    for count, classes, threshold in (
        (1000, 1, 0.7),
        (5000, 1, 0.7),
        (100_000, 1, 0.7),
        (1000, 80, 0.5),
        (5000, 80, 0.5),
        (100_000, 80, 0.5),
    ):
        count = count // share
        boxes = random_boxes(count, device, generator)
        scores = torch.rand(count, generator=generator).to(device)
        groups = torch.randint(classes, (count,), generator=generator).to(device)
        outer = boxes + boxes.new_tensor((0, 0, 1, 1))

        def ours(boxes=boxes, scores=scores, groups=groups, threshold=threshold, classes=classes) -> Tensor:
            return nms(boxes, scores, threshold) if classes == 1 else batched_nms(boxes, scores, groups, threshold)

        def theirs(boxes=outer, scores=scores, groups=groups, threshold=threshold, classes=classes) -> Tensor:
            if classes == 1:
                return torchvision.ops.nms(boxes, scores, threshold)
            return torchvision.ops.batched_nms(boxes, scores, groups, threshold)

        yield Case(f"nms {count} boxes, {classes} class{'es' * (classes > 1)}", ours, theirs, count * 20)


def roi_pool_cases(device: torch.device, dtype: torch.dtype, share: int) -> Iterator[Case]:
    generator, count = torch.Generator().manual_seed(0), 512 // share
    size = (2, CHANNELS, HEIGHT // share // 16, WIDTH // share // 16)
    map = torch.randn(size, generator=generator).to(device, dtype).requires_grad_()
    boxes = torch.cat([random_boxes(count, device, generator, share) for _ in range(2)]).to(dtype)
    rois = torch.cat((torch.arange(2, device=device, dtype=dtype).repeat_interleave(count)[:, None], boxes), dim=1)

    def ours() -> Tensor:
        return roi_pool(map, rois, (7, 7), 1 / 16)

    def theirs() -> Tensor:
        return torchvision.ops.roi_pool(map, rois, (7, 7), 1 / 16)

    least = (ours().numel() + map.numel()) * map.element_size()
    yield Case(f"roi_pool 2 x {count}, 7 x 7, forward", no_grad(ours), no_grad(theirs), least)
    yield Case(f"roi_pool 2 x {count}, 7 x 7, backward", backward(ours, [map]), backward(theirs, [map]), least)


def focal_loss_cases(device: torch.device, dtype: torch.dtype, share: int) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    count, classes = 200_000 // share, 80
    logits = torch.randn(count, classes, generator=generator).to(device, dtype).requires_grad_()
    targets = torch.randint(classes + 1, (count,), generator=generator).to(device)
    one_hot = torch.nn.functional.one_hot(targets, classes + 1)[:, 1:].to(dtype)

    def ours() -> Tensor:
        return ops.sigmoid_focal_loss(logits, targets, 2.0, 0.25)

    def theirs() -> Tensor:
        return torchvision.ops.sigmoid_focal_loss(logits, one_hot, 0.25, 2.0)

    least = 2 * logits.numel() * torch.finfo(dtype).bits // 8
    yield Case(f"sigmoid_focal_loss {count} x 80, forward", no_grad(ours), no_grad(theirs), least)
    yield Case(
        f"sigmoid_focal_loss {count} x 80, backward", backward(ours, [logits]), backward(theirs, [logits]), least
    )


def deform_conv_cases(device: torch.device, dtype: torch.dtype, share: int) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype).requires_grad_()

    height, width = HEIGHT // share // 16, WIDTH // share // 16
    x, weight = random(2, CHANNELS, height, width), random(CHANNELS, CHANNELS, 3, 3)
    offset, mask = random(2, 18, height, width), random(2, 9, height, width)
    for version, inputs in (("v1", [x, offset, weight]), ("v2", [x, offset, weight, mask])):

        def ours(inputs=inputs) -> Tensor:
            if len(inputs) == 4:
                return modulated_deform_conv(x, offset, mask, weight, None, 1, 1)
            return deform_conv(x, offset, weight, 1, 1)

        def theirs(inputs=inputs) -> Tensor:
            return torchvision.ops.deform_conv2d(x, offset, weight, padding=1, mask=mask if len(inputs) == 4 else None)

        least = sum(t.numel() for t in [*inputs, x]) * torch.finfo(dtype).bits // 8
        yield Case(
            f"deform_conv {version} 2 x 256 x {height} x {width}, forward", no_grad(ours), no_grad(theirs), least
        )
        yield Case(
            f"deform_conv {version} 2 x 256 x {height} x {width}, backward",
            backward(ours, inputs),
            backward(theirs, inputs),
            2 * least,
        )


def winograd_cases(device: torch.device, dtype: torch.dtype, share: int) -> Iterator[Case]:
    if device.type != "cpu" or dtype not in (torch.float32, torch.float64):
        return  # elsewhere 3 x 3 convolutions are PyTorch's
    for batch, channels, height, width in ((1, 64, 200, 280), (1, 256, 200, 280), (1, 256, 50, 70), (100, 256, 14, 14)):
        height, width = height // share, width // share
        conv = torch.nn.Conv2d(channels, channels, 3, padding=1).to(dtype, memory_format=torch.channels_last)
        x = torch.randn(batch, channels, height, width, dtype=dtype).contiguous(memory_format=torch.channels_last)
        least = (2 * x.numel() + conv.weight.numel()) * x.element_size()
        ours, theirs = (no_grad(lambda x=x, f=f: f(x)) for f in (WinogradConv2d(conv), conv))
        name = f"convolution {batch} x {channels} x {height} x {width}"
        yield Case(name, ours, theirs, least)
        weight = conv.weight.detach()
        trained = [x.requires_grad_(), weight.clone().requires_grad_()]
        plain = [t.detach().contiguous().requires_grad_() for t in trained]  # in which PyTorch's gradients are faster
        own = backward(lambda trained=trained: conv3x3(*trained, None), trained)
        other = backward(lambda plain=plain: functional.conv2d(*plain, padding=1), plain)
        yield Case(f"{name}, backward", own, other, least)


FAMILIES = {
    "roi_align": roi_align_cases,
    "nms": nms_cases,
    "roi_pool": roi_pool_cases,
    "focal_loss": focal_loss_cases,
    "deform_conv": deform_conv_cases,
    "winograd": winograd_cases,
}


def bandwidth(device: torch.device) -> float:
    """Bytes a second that a large copy reads and writes."""
    source = torch.empty(1 << 26, device=device)
    target = torch.empty_like(source)
    times = [harness.seconds_of_short(lambda: target.copy_(source), device) for _ in range(5)]
    return 2 * source.numel() * 4 / min(times)


def main() -> None:
    parser = harness.argument_parser(__doc__, repeat=9, dtypes=("float32", "float64", "bfloat16", "float16"))
    parser.add_argument("--only", nargs="+", default=sorted(FAMILIES), choices=sorted(FAMILIES), help="to be timed")
    parser.add_argument("--divide", type=int, default=1, metavar="N", help="sizes by N, to try the script out (10)")
    args = parser.parse_args()
    device, dtype = harness.device_and_dtype(args)
    rate = bandwidth(device)
    print(f"{harness.machine(device)}, {args.dtype}")
    print(f"a copy moves {rate / 1e9:.1f} GB/s; milliseconds:")
    print(f"{'operator':44} {'torchvision':>11} {'this package':>12} {'ratio':>6} {'floor':>8}")
    for family in args.only:
        for case in FAMILIES[family](device, dtype, args.divide):
            sides = {"theirs": case.theirs, "ours": case.ours}
            times = harness.take_turns(sides, args.repeat, lambda run: 1e3 * harness.seconds_of_short(run, device))
            theirs, ours = (statistics.median(series) for series in times.values())
            ratio = harness.ratio(times["theirs"], times["ours"])
            floor = 1e3 * case.least_bytes / rate
            print(f"{case.name:44} {theirs:11.3f} {ours:12.3f} {ratio:6.2f} {floor:8.3f}", flush=True)


if __name__ == "__main__":
    main()
