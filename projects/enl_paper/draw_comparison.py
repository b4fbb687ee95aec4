"""Draw what several runs see in the same images, side by side at the same threshold, with what they found, confused and missed
marked; or with --proposals the small regions (below 32 x 32 pixels) that their region proposal networks pass on.

Images come in the order in which the runs differ most."""

import argparse
import os

import cv2
import numpy as np
import torch

from enl_paper.outcome import FOUND, MISSED, ImageOutcome, image_outcome
from enl_paper.outcome_pictures import COLOURS, legend, panel
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.detection_files import read_detections
from maskrcnn_benchmark.data.pictures import read_upright
from maskrcnn_benchmark.engine import Predictor
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.run import CONFIG_NAME
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.visualization import side_by_side

SMALL = 32  # pixels; COCO's limit


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER", help="a title and an OUTPUT_DIR, the reference first")
    parser.add_argument(
        "--dataset", required=True, help="name of the tested set, of DATASETS.DEFINITIONS in config.yml"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the picture, .jpg or .png")
    parser.add_argument("--count", type=int, default=4, help="images (default 4)")
    parser.add_argument("--threshold", type=float, default=0.5, help="least score of a detection (default 0.5)")
    parser.add_argument("--roles", nargs="+", help="look for differences in objects of these roles alone (Relations)")
    parser.add_argument(
        "--proposals", type=int, metavar="N", help="draw proposals instead: of the N best of each image"
    )
    return parser.parse_args()


def run_cfg(folder: str):
    path = os.path.join(folder, CONFIG_NAME)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no {path}; {folder} must be the OUTPUT_DIR of a training.")
    cfg = defaults.clone()
    cfg.merge_from_file(path)
    return cfg


@torch.inference_mode()
def small_proposals(folder: str, images: dict[int, str], limit: int) -> dict[int, list[dict]]:
    """The best `limit` proposals of each image, of these those below SMALL x SMALL pixels, in the image's pixels."""
    cfg = run_cfg(folder)
    predictor = Predictor(cfg, os.path.join(folder, "model_final.pth"), opts=["TEST.OPTIMIZE", False])
    model, found = predictor.model, {}
    for image_id, path in images.items():
        image = read_upright(path)
        tensor = predictor.network_input(image).to(predictor.device)
        batch = to_image_list([tensor], cfg.DATALOADER.SIZE_DIVISIBILITY)
        (proposals,), _ = model.rpn(batch, model.backbone(batch.tensors))
        proposals = proposals.resize(image.size).convert("xywh")
        best = proposals.get_field("objectness").argsort(descending=True)[:limit]
        found[image_id] = [
            {"bbox": box, "score": score, "category_id": 0}
            for box, score in zip(
                proposals.bbox[best].tolist(), proposals.get_field("objectness")[best].tolist(), strict=True
            )
            if box[2] * box[3] < SMALL * SMALL
        ]
    return found


def difference(outcomes: list[ImageOutcome], objects: list[dict], roles: list[str] | None) -> int:
    """Objects that the last run found and the first did not, minus the reverse, in an image."""
    wanted = [k for k, o in enumerate(objects) if not o.get("iscrowd") and (not roles or o.get("role") in roles)]
    return abs(
        sum((run.of_object[k] == FOUND) - (outcomes[0].of_object[k] == FOUND) for run in outcomes[-1:] for k in wanted)
    )


def main() -> None:
    args = parse()
    with command_line():
        named = [word.partition("=")[::2] for word in args.runs]
        if not all(folder for _, folder in named):
            raise ValueError(f"Runs are written NAME=FOLDER; got {', '.join(args.runs)}.")
        entry = run_cfg(named[0][1]).DATASETS.DEFINITIONS.get(args.dataset)
        if entry is None:
            raise ValueError(f"{os.path.join(named[0][1], CONFIG_NAME)} defines no data set {args.dataset!r}.")
        coco = load_coco(entry["ANN_FILE"])
        paths = {i: os.path.join(entry["IMG_DIR"], image["file_name"]) for i, image in coco.imgs.items()}
        if args.proposals:
            found = [small_proposals(folder, paths, args.proposals) for _, folder in named]
        else:
            found = [
                read_detections(os.path.join(folder, "inference", args.dataset), coco, args.threshold)
                for _, folder in named
            ]
        ranked = []
        for image_id in coco.imgs:
            objects = coco.imgToAnns.get(image_id, [])
            if args.proposals:
                objects = [{**o, "category_id": 0} for o in objects if o["area"] < SMALL * SMALL]
            outcomes = [image_outcome(objects, of_run.get(image_id, [])) for of_run in found]
            ranked.append((-difference(outcomes, objects, args.roles), image_id, objects, outcomes))
        rows = []
        for _, image_id, objects, outcomes in sorted(ranked, key=lambda r: r[:2])[: args.count]:
            image = cv2.imread(paths[image_id])
            if image is None:
                raise OSError(f"The image {paths[image_id]} cannot be read.")
            panels, titles = [], []
            for (name, _), of_run, outcome in zip(named, found, outcomes, strict=True):
                names = {} if args.proposals else {i: c["name"] for i, c in coco.cats.items()}
                shown = ImageOutcome(outcome.of_object, outcome.hits, [] if args.proposals else outcome.extra)
                panels.append(panel(image, objects, of_run.get(image_id, []), shown, names))
                titles.append(f"{name}: {outcome.of_object.count(FOUND)} of {len(objects)}")
            rows.append(side_by_side(panels, titles))
        width = max(row.shape[1] for row in rows)
        rows = [np.pad(row, ((0, 6), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
        states = [FOUND, MISSED] if args.proposals else list(COLOURS)
        os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
        if not cv2.imwrite(args.out, np.concatenate([*rows, legend(width, states)])):
            raise OSError(f"Cannot write {args.out}: its name must end in .jpg or .png.")
        print(f"Wrote {args.out}")


if __name__ == "__main__":
    main()
