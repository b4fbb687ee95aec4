"""The training loader on real images: images a second and core, by stage, against torchvision's detection pipeline.

Both read the same COCO images from the folder in MRB_TEST_COCO, with one worker process of one thread, in batches of 2 with a
shorter side of 800 pixels (the longer at most 1333), flipped half the time, normalised and padded. Ours do all of it in the
worker; torchvision's reference (references/detection: PIL decoding, RandomHorizontalFlip, ToTensor of transforms v2, boxes
and labels alone) leaves resizing, normalising and batching to the model's GeneralizedRCNNTransform, which is timed on one
thread of the main process. Ours carry masks as polygons besides. What is counted is processor time (utime + stime of worker
and, for torchvision, of the transform), so that neighbours on the machine disturb little; wall time is given too. The two
take turns; figures are medians over the turns, ratios medians of the turns' ratios.

    MRB_TEST_COCO=... python benchmarks/bench_loader.py [--turns 7] [--images 80]
"""

import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable, Iterable

import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2

import harness
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.collate_batch import BatchCollator
from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.transforms import Compose, build_transforms

BATCH = 2


def configuration(root: str, batches: int):
    config = cfg.clone()
    folder, annotations = os.path.join(root, "train2017"), os.path.join(root, "annotations", "instances_train2017.json")
    config.merge_from_list(
        [
            *("DATASETS.DEFINITIONS.real.IMG_DIR", folder, "DATASETS.DEFINITIONS.real.ANN_FILE", annotations),
            *("DATASETS.TRAIN", ("real",), "SOLVER.IMS_PER_BATCH", BATCH, "SOLVER.MAX_ITER", batches),
            *("DATALOADER.NUM_WORKERS", 1, "DATALOADER.SIZE_DIVISIBILITY", 32, "MODEL.DEVICE", "cpu", "SEED", 1),
        ]
    )
    return config


def theirs(root: str, images: int) -> DataLoader:
    dataset = torchvision.datasets.CocoDetection(
        os.path.join(root, "train2017"),
        os.path.join(root, "annotations", "instances_train2017.json"),
        transforms=v2.Compose(
            [
                v2.RandomHorizontalFlip(0.5),
                v2.PILToTensor(),
                v2.ToDtype(torch.float, scale=True),
                v2.ConvertBoundingBoxFormat("XYXY"),
                v2.SanitizeBoundingBoxes(),
                v2.ToPureTensor(),
            ]
        ),
    )
    dataset.ids = [i for i in dataset.ids if dataset.coco.getAnnIds(i)]
    wrapped = torchvision.datasets.wrap_dataset_for_transforms_v2(dataset, target_keys=("boxes", "labels", "image_id"))
    picked = [i % len(dataset.ids) for i in range(images)]
    return DataLoader(
        Subset(wrapped, picked), BATCH, num_workers=1, collate_fn=lambda batch: tuple(zip(*batch, strict=True))
    )


def quiet(run: Callable, *args: object):
    with contextlib.redirect_stdout(io.StringIO()):
        return run(*args)


def processor_seconds(pid: int) -> float:
    """utime + stime of a process so far."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(loader: DataLoader, finish: Callable[[tuple], object] | None = None) -> dict[str, float]:
    """Processor and wall seconds of a pass over a loader after its first batch (start of the worker)."""
    batches = iter(loader)
    next(batches)
    (worker,) = batches._workers  # type: ignore[attr-defined]
    begin, used, mine, count = time.perf_counter(), processor_seconds(worker.pid), 0.0, 0
    for batch in batches:
        count += 1
        last = processor_seconds(worker.pid)
        if finish is not None:
            start = time.process_time()
            finish(batch)
            mine += time.process_time() - start
    wall = time.perf_counter() - begin
    images = count * BATCH
    return {"cpu": (last - used + mine) / images, "wall": wall / images, "model": mine / images}


def stages(config, images: int) -> dict[str, float]:
    """Mean milliseconds of processor time of an image in each stage of ours, in this process."""
    entry = config.DATASETS.DEFINITIONS.real
    dataset = COCODataset(entry["ANN_FILE"], entry["IMG_DIR"], True)
    steps = build_transforms(config, True).transforms
    collator = BatchCollator(config.DATALOADER.SIZE_DIVISIBILITY)
    spent: dict[str, list[float]] = {}
    waiting = []

    def stage(name: str, run: Callable, *args: object, share: int = 1) -> object:
        begin = time.process_time()
        result = run(*args)
        spent.setdefault(name, []).append((time.process_time() - begin) / share * 1e3)
        return result

    def read(index: int) -> bytes:
        with open(os.path.join(dataset.root, dataset.get_img_info(index)["file_name"]), "rb") as f:
            return f.read()

    def decode(content: bytes) -> Image.Image:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")

    for i in range(images):
        index = i % len(dataset)
        image = stage("decode", decode, stage("read", read, index))
        target = stage("target", dataset._target, dataset.ids[index], image.size)
        image, target = stage("resize", steps[0], image, target)
        image, target = stage("flip", lambda a, b: steps[2](*steps[1](a, b)), image, target)
        image, target = stage("to tensor, normalise", Compose(steps[3:]), image, target)
        waiting.append((image, target, index))
        if len(waiting) == BATCH:
            stage("collate", collator, waiting, share=BATCH)
            waiting = []
    return {name: statistics.mean(values) for name, values in spent.items()}


def medians(turns: Iterable[dict[str, float]]) -> dict[str, float]:
    turns = list(turns)
    return {key: statistics.median(t[key] for t in turns) for key in turns[0]}


def main() -> None:
    parser = harness.argument_parser(__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--images", type=int, default=80, help="images of a turn")
    args = parser.parse_args()
    root = os.environ.get("MRB_TEST_COCO", "")
    if not os.path.isdir(root):
        raise SystemExit(f"MRB_TEST_COCO must name a folder with train2017/ and annotations/; it is {root!r}.")
    torch.set_num_threads(1)
    config = configuration(root, args.images // BATCH)
    transform = GeneralizedRCNNTransform(800, 1333, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    print(harness.machine())
    sides: dict[str, Callable[[], dict[str, float]]] = {
        "stages": lambda: stages(config, args.images),
        "this package": lambda: timed(make_data_loader(config)),
        "torchvision": lambda: timed(
            quiet(theirs, root, args.images), lambda batch: transform(list(batch[0]), list(batch[1]))
        ),
    }
    torch.manual_seed(0)
    found = harness.take_turns(sides, args.turns, lambda run: run())  # the first, to warm up, fills the caches of files
    by_stage, ours, other = found.values()
    for name, value in medians(by_stage).items():
        print(f"| {name} | {value:.2f} |")
    print(f"| all stages | {statistics.median(sum(t.values()) for t in by_stage):.2f} |")
    for name, runs in (("this package", ours), ("torchvision", other)):
        m = medians(runs)
        print(
            f"{name}: {1 / m['cpu']:.1f} images a second and core ({m['cpu'] * 1e3:.1f} ms of processor time an image, of that "
            f"{m['model'] * 1e3:.1f} in the model's transform), {1 / m['wall']:.1f} a second of wall time"
        )
    print(f"ratio {harness.ratio([t['cpu'] for t in other], [t['cpu'] for t in ours]):.2f}")


if __name__ == "__main__":
    main()
