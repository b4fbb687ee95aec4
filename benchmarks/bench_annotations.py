"""Annotations of COCO train2017's size: seconds to build the data set, and the memory of a node's processes that hold it.

A file of --images images and 7.3 objects in each, with polygons as COCO has them, is generated once into --folder. Then, each
in fresh processes: the data set is built with its aspect groups (without and with the index that is kept between starts), and
--ranks ranks with --workers loader processes each read every target once. Memory is PSS and USS of all of these processes
from /proc/PID/smaps_rollup, less that of the same processes with a data set of 10 images, in MB of 10^6 bytes.

    python benchmarks/bench_annotations.py [--folder /tmp/scale] [--images 118000] [--ranks 1 2] [--workers 4]
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time

import torch

import harness
from maskrcnn_benchmark.utils.files import whole_file

OBJECTS = 7.29  # an image, on average; 36 % have one or two, as in COCO


def generate(path: str, images: int) -> int:
    """Write the file piece by piece; returns the number of annotations."""
    rng = random.Random(0)
    counts = [min(int(rng.expovariate(1 / OBJECTS) + 0.5), 90) for _ in range(images)]
    owners = [i for i, count in enumerate(counts) for _ in range(count)]
    rng.shuffle(owners)  # COCO's annotations are in no order of their images
    with whole_file(path, "w") as f:
        f.write('{"info": {"description": "generated"}, "images": [')
        for i in range(images):
            entry = {
                "license": 3,
                "file_name": f"{i:012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/train2017/{i:012d}.jpg",
                "height": 480 if i % 4 else 640,
                "width": 640 if i % 4 else 480,
                "date_captured": "2013-11-14 11:18:45",
                "flickr_url": f"http://farm9.staticflickr.com/8186/8119368305_{i:010d}_z.jpg",
                "id": i,
            }
            f.write((", " if i else "") + json.dumps(entry))
        f.write('], "annotations": [')
        for k, owner in enumerate(owners):
            x, y = rng.uniform(0, 380), rng.uniform(0, 380)
            w, h = rng.uniform(5, 100), rng.uniform(5, 100)
            points = min(max(int(rng.gauss(22, 14)), 4), 150)
            outline = [round(v, 2) for _ in range(points) for v in (x + rng.random() * w, y + rng.random() * h)]
            entry = {
                "segmentation": [outline],
                "area": w * h / 2,
                "iscrowd": 0,
                "image_id": owner,
                "bbox": [round(v, 2) for v in (x, y, w, h)],
                "category_id": 1 + min(int(rng.expovariate(1 / 12)), 79),
                "id": k + 1,
            }
            f.write((", " if k else "") + json.dumps(entry))
        categories = [{"id": c, "name": f"category {c}", "supercategory": "thing"} for c in range(1, 81)]
        f.write('], "categories": ' + json.dumps(categories) + "}")
    return len(owners)


def build(path: str, cache: str):
    """The data set and the aspect ratios of its images, which make_data_loader groups them by."""
    from maskrcnn_benchmark.data import build
    from maskrcnn_benchmark.data.datasets import COCODataset

    dataset = COCODataset(path, os.path.dirname(path), True, cache=cache)
    return dataset, build._compute_aspect_ratios(dataset)


class Targets(torch.utils.data.Dataset):
    """The targets of a data set without their images."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> int:
        info = self.dataset.get_img_info(index)
        return len(self.dataset._target(self.dataset.ids[index], (info["width"], info["height"])))


def memory(pid: int) -> tuple[float, float]:
    """PSS and USS, MB."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        lines = dict(line.split(":", 1) for line in f.read().splitlines()[1:])
    kb = {name: int(value.split()[0]) for name, value in lines.items()}
    return kb["Pss"] * 1024 / 1e6, (kb["Private_Clean"] + kb["Private_Dirty"]) * 1024 / 1e6


def rank_process(path: str, cache: str, workers: int) -> None:
    """One rank: build, read everything once with its workers, say so, wait to be measured."""
    torch.set_num_threads(1)
    begin = time.perf_counter()
    dataset, _ = build(path, cache)
    seconds = time.perf_counter() - begin
    loader = torch.utils.data.DataLoader(
        Targets(dataset), batch_size=64, num_workers=workers, persistent_workers=workers > 0
    )
    begin = time.perf_counter()
    objects = sum(int(batch.sum()) for batch in loader) if workers else 0
    reading = time.perf_counter() - begin
    peak = next(int(li.split()[1]) for li in open("/proc/self/status") if li.startswith("VmHWM")) * 1024 / 1e6
    pids = [os.getpid(), *(w.pid for w in loader._iterator._workers)] if workers else [os.getpid()]
    print(
        json.dumps({"seconds": seconds, "reading": reading, "objects": objects, "peak": peak, "pids": pids}), flush=True
    )
    sys.stdin.readline()


def measure(path: str, cache: str, ranks: int, workers: int) -> dict:
    command = [sys.executable, __file__, "--rank", path, cache, str(workers)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(ranks)
    ]
    said = [json.loads(p.stdout.readline()) for p in processes]
    use = [[memory(pid) for pid in s["pids"]] for s in said]
    for p in processes:
        p.communicate("\n")
    return {
        "seconds": [s["seconds"] for s in said],
        "reading": [s["reading"] for s in said],
        "peak": max(s["peak"] for s in said),
        "objects": said[0]["objects"],
        "main": statistics.mean(u[0][0] for u in use),
        "pss": sum(p for u in use for p, _ in u),
        "uss": sum(p for u in use for _, p in u),
    }


def main() -> None:
    parser = harness.argument_parser(__doc__, repeat=3)
    parser.add_argument("--folder", default="/tmp/scale")
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2], help="of a node; none: builds alone")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rank", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rank:
        rank_process(args.rank[0], args.rank[1], int(args.rank[2]))
        return
    os.makedirs(args.folder, exist_ok=True)
    path, few = (os.path.join(args.folder, f"set_{n}.json") for n in (args.images, 10))
    for name, images in ((path, args.images), (few, 10)):
        if not os.path.exists(name):
            generate(name, images)
    cache = os.path.join(args.folder, "cache")
    print(harness.machine())
    print(f"{args.images} images, {os.path.getsize(path) / 1e6:.0f} MB of JSON")
    for what, folder in (("without", ""), ("making", cache), ("with", cache)):
        runs = [measure(path, folder, 1, 0) for _ in range(1 if what == "making" else args.repeat)]
        seconds = statistics.median(s for r in runs for s in r["seconds"])
        print(f"build, {what} the kept index: {seconds:.2f} s, peak {max(r['peak'] for r in runs):.0f} MB", flush=True)
    for ranks in args.ranks:
        base, full = measure(few, cache, ranks, args.workers), measure(path, cache, ranks, args.workers)
        print(
            f"{ranks} ranks, {args.workers} workers each: PSS {full['pss'] - base['pss']:.0f} MB, USS "
            f"{full['uss'] - base['uss']:.0f} MB more than with 10 images ({full['pss']:.0f} and {base['pss']:.0f} MB PSS "
            f"in all); {full['objects']} objects read in {max(full['reading']):.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
