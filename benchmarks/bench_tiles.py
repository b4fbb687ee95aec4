"""Detection in tiles: what merging costs and whether it is that of other tools, and what it gains to batch tiles.

    python benchmarks/bench_tiles.py merge [--sets 24] [--predictions FILE ...]
    python benchmarks/bench_tiles.py network --config-file FILE --ckpt FILE [--size 2000x1125] [--batch 8] [KEY VALUE ...]

`merge` joins detections as tiles give them: some five boxes around each object, boxes of a cut object among them. Seconds are
of the processor, medians over the turns. Where supervision and SAHI are installed, suppression is compared with
supervision's box_non_max_suppression (its exclusive corners are the package's inclusive ones plus 1), greedy merging with SAHI's
GreedyNMMPostprocess, on random sets and on the detections in FILEs (predictions.pth of a test: each image's boxes are doubled
with an offset, so that there is something to merge).

`network` cuts one image of noise into tiles: all of them together, and one after another through a Predictor, as a
program around a detector does. With --size, whatever it is, INPUT.TILES of the configuration counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

import harness
from maskrcnn_benchmark.data.tiles import make_tiling
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.structures.merging import merge_greedily, suppress

Detections = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes [N, 4] with inclusive corners, scores [N], labels [N]


def from_tiles(count: int, seed: int) -> Detections:
    """Boxes of objects of 15 to 60 pixels in a frame that grows with their number, five around each, of three classes."""
    rng = np.random.default_rng(seed)
    objects, frame = max(count // 5, 1), 60 * count**0.5
    centres, sizes, classes = (
        rng.uniform(20, frame + 20, (objects, 2)),
        rng.uniform(15, 60, (objects, 2)),
        rng.integers(1, 4, objects),
    )
    which = rng.integers(0, objects, count)
    corners = centres[which] + rng.normal(0, 3, (count, 2))
    extent = sizes[which] * rng.uniform(0.4, 1.2, (count, 2))
    boxes = np.concatenate((corners, corners + extent), axis=1).round(2)
    return boxes, rng.permutation(count) / count, classes[which]


def of_file(path: str) -> list[Detections]:
    sets = []
    for found in torch.load(path, weights_only=False):
        if not len(found):
            continue
        boxes = torch.cat((found.bbox, found.bbox + 3)).double().numpy()
        scores = torch.cat((found.get_field("scores"), 0.9 * found.get_field("scores"))).double().numpy()
        sets.append((boxes, scores, np.tile(found.get_field("labels").numpy(), 2)))
    return sets


def suppressed(detections: Detections, threshold: float = 0.5) -> list[int]:
    boxes, scores, labels = map(torch.from_numpy, detections)
    return suppress(boxes.float(), scores.float(), labels, threshold).tolist()


def merged(detections: Detections, threshold: float = 0.5, metric: str = "ios") -> np.ndarray:
    boxes, scores, labels = detections
    return merge_greedily(boxes + (0, 0, 1, 1), scores, labels, threshold, metric)[1]


def of_supervision(detections: Detections, threshold: float = 0.5) -> list[int]:
    from supervision.detection.utils.iou_and_nms import box_non_max_suppression

    boxes, scores, labels = detections
    table = np.concatenate(((boxes + (0, 0, 1, 1)).astype(np.float32), scores[:, None], labels[:, None]), axis=1)
    return np.flatnonzero(box_non_max_suppression(table, threshold)).tolist()


def of_sahi(detections: Detections, threshold: float = 0.5, metric: str = "ios") -> np.ndarray:
    from sahi.postprocess.combine import GreedyNMMPostprocess
    from sahi.prediction import ObjectPrediction

    side = int(detections[0].max()) + 10
    found = [
        ObjectPrediction(bbox=box.tolist(), score=float(score), category_id=int(label), full_shape=[side, side])
        for box, score, label in zip(detections[0] + (0, 0, 1, 1), *detections[1:], strict=True)
    ]
    joined = GreedyNMMPostprocess(match_threshold=threshold, match_metric=metric.upper(), class_agnostic=False)(found)
    return np.array([p.bbox.to_xyxy() for p in joined]).reshape(-1, 4)


def equal(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """The same boxes in any order, to a thousandth of a pixel."""
    if ours.shape != theirs.shape:
        return False
    ours, theirs = (a[np.lexsort(a.round(3).T)] for a in (ours, theirs))
    return bool(np.abs(ours - theirs).max(initial=0) < 1e-3)


def compare(name: str, sets: list[Detections]) -> None:
    try:
        import supervision  # noqa: F401

        same = [sorted(suppressed(s)) == of_supervision(s) for s in sets]
        print(f"{name}: suppression is supervision's in {sum(same)} of {len(same)} sets")
    except ImportError:
        print(f"{name}: supervision is not installed")
    try:
        import sahi  # noqa: F401

        for metric in ("iou", "ios"):
            same = [equal(merged(s, metric=metric), of_sahi(s, metric=metric)) for s in sets]
            print(f"{name}: merging by {metric} is SAHI's in {sum(same)} of {len(same)} sets")
    except ImportError:
        print(f"{name}: SAHI is not installed")


def processor_ms(run: Callable[[], object]) -> float:
    begin = time.process_time()
    run()
    return 1000 * (time.process_time() - begin)


def merge(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    print("| detections | suppression, ms | merging by IoU, ms | merging by IoS, ms |")
    print("|---|---|---|---|")
    for count in args.counts:
        found = from_tiles(count, 0)
        sides = {
            "nms": lambda d=found: suppressed(d),
            "iou": lambda d=found: merged(d, metric="iou"),
            "ios": lambda d=found: merged(d, metric="ios"),
        }
        times = harness.take_turns(sides, args.repeat, processor_ms)
        print(f"| {count} | " + " | ".join(f"{statistics.median(times[side]):.2f}" for side in sides) + " |")
    print()
    compare("random, 400 each", [from_tiles(args.boxes, seed) for seed in range(args.sets)])
    for path in args.predictions:
        compare(path, of_file(path))


def network(args: argparse.Namespace) -> None:
    width, height = map(int, args.size.split("x"))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))
    together = Predictor(
        args.config_file, args.ckpt, threshold=0.05, opts=[*args.opts, "TEST.IMS_PER_BATCH", args.batch]
    )
    tiling = make_tiling(together.cfg)
    if tiling is None:
        raise SystemExit("INPUT.TILES.SIZE of the configuration is 0: nothing is cut.")
    tiles = tiling.tiles(image.size)
    side = round(tiling.size * tiling.scale)
    alone_opts = ["INPUT.TILES.SIZE", 0, "INPUT.MIN_SIZE_TEST", side, "INPUT.MAX_SIZE_TEST", side]
    alone = Predictor(args.config_file, args.ckpt, threshold=0.05, opts=[*args.opts, *alone_opts])
    whole = Predictor(args.config_file, args.ckpt, threshold=0.05, opts=[*args.opts, "INPUT.TILES.SIZE", 0])

    def tile_by_tile() -> None:
        if tiling.whole:
            whole(image)
        for tile in tiles:
            alone(image.crop(tile.box))

    sides = {"batched": lambda: together(image), "tile by tile": tile_by_tile}
    times = harness.take_turns(sides, args.repeat, lambda run: harness.seconds(run, together.device))
    print(f"{width} x {height}, {len(tiles)} tiles of {tiling.size} at scale {tiling.scale:g}, {args.batch} at a time")
    for name in sides:
        print(f"{name}: {statistics.median(times[name]):.3f} s")
    print(f"ratio {harness.ratio(times['tile by tile'], times['batched']):.2f}")


def main() -> None:
    parser = harness.argument_parser(__doc__, repeat=5)
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("merge")
    one.add_argument("--sets", type=int, default=24, help="random sets to compare")
    one.add_argument("--boxes", type=int, default=400, help="detections in each of them")
    one.add_argument("--counts", type=int, nargs="+", default=(400, 20_000), help="detections to time")
    one.add_argument("--predictions", nargs="*", default=(), metavar="FILE")
    one.set_defaults(run=merge)
    other = kinds.add_parser("network")
    other.add_argument("--config-file", default="", metavar="FILE")
    other.add_argument("--ckpt", default="", metavar="FILE")
    other.add_argument("--size", default="2000x1125", metavar="WIDTHxHEIGHT")
    other.add_argument("--batch", type=int, default=8, help="tiles that go through the network together")
    other.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    other.set_defaults(run=network)
    args = parser.parse_args()
    print(harness.machine(), end="\n\n")
    args.run(args)


if __name__ == "__main__":
    main()
