"""How long a non-local module takes to learn a relation across an image, in minutes instead of hours.

The pretrained body and pyramid of an experiment (reproduce.py relations) stay fixed. On top of the top-down map of res3 one
module and one linear layer learn which of its two classes each decided object of Relations has, from the map at its centre alone:
without a module that needs a receptive field as large as the scene. Varied are the module, its initial weights and the rate.
The figures are steps of SGD until LEARNED of the objects are right, an average over the last thirty steps or so, for each seed.

    python projects/enl_paper/probe_relations.py --experiment runs/relations [--steps 2000] [--seeds 0 1 2] [--markdown FILE]
"""

import argparse
import json
import os
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from enl_paper.relations import DECIDED_PAIRS
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.loading import load_detector
from maskrcnn_benchmark.layers.non_local import NON_LOCAL
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.utils.files import write_text

STRIDE = 8  # of res3
LEARNED = 0.75
MODULES: dict[str, tuple[str, dict]] = {  # kind and options
    "none": ("", {}),
    "NL": ("nl", {}),
    "NL, dot product": ("nl_dot", {}),
    "ENL": ("enl", {}),
    "ENL without position": ("enl", {"position": ""}),
}


@dataclass
class Scenes:
    """maps: Tensor[N, C, H, W]. objects: for each map its decided objects: row, column, pair, class in the pair."""

    maps: Tensor
    objects: list[list[tuple[int, int, int, int]]]


@torch.inference_mode()
def scenes(experiment: str, count: int) -> Scenes:
    """Of the training scenes with true context, the first `count` that have decided objects."""
    cfg = defaults.clone()
    cfg.merge_from_file(os.path.join(experiment, "configs", "baseline.yaml"))
    model: Any = load_detector(cfg, cfg.MODEL.WEIGHT, "cpu")
    inputs: list[Tensor] = []
    # The finest lateral sum that has a level below it: what a module at res3 would take.
    model.backbone.fpn.fpn_layer2.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    entry = cfg.DATASETS.DEFINITIONS[cfg.DATASETS.TRAIN[0]]
    with open(entry["ANN_FILE"], encoding="utf-8") as f:
        content = json.load(f)
    names = {c["id"]: c["name"] for c in content["categories"]}
    pairs = [[decided for decided, _ in categories] for categories in DECIDED_PAIRS.values()]
    codes = {name: (p, k) for p, pair in enumerate(pairs) for k, name in enumerate(pair)}
    by_image = defaultdict(list)
    for annotation in content["annotations"]:
        if names[annotation["category_id"]] in codes:
            by_image[annotation["image_id"]].append(annotation)
    transforms = build_transforms(cfg, is_train=False)
    maps, objects = [], []
    for image in [image for image in content["images"] if image["id"] in by_image][:count]:
        picture = Image.open(os.path.join(entry["IMG_DIR"], image["file_name"])).convert("RGB")
        tensor, _ = transforms(picture, None)
        inputs.clear()
        model.backbone(to_image_list([F.pad(tensor, (0, 256 - tensor.shape[2], 0, 256 - tensor.shape[1]))]).tensors)
        maps.append(inputs[0][0].half())
        scale = tensor.shape[2] / image["width"] / STRIDE
        objects.append([_place(a["bbox"], scale) + codes[names[a["category_id"]]] for a in by_image[image["id"]]])
    return Scenes(torch.stack(maps), objects)


def _place(bbox: list[float], scale: float) -> tuple[int, int]:
    x, y, width, height = bbox
    return int((y + height / 2) * scale), int((x + width / 2) * scale)


def evaluate(data: Scenes, module: nn.Module, head: nn.Linear, chosen: list[int]) -> tuple[Tensor, Tensor]:
    """Cross-entropy and the share of the right classes for the decided objects of the chosen scenes."""
    found = [(b, *place) for b, index in enumerate(chosen) for place in data.objects[index]]
    scene, row, column, pair, label = torch.tensor(found).unbind(1)
    at_objects = module(data.maps[chosen].float())[scene, :, row, column]
    logits = head(at_objects).view(-1, len(DECIDED_PAIRS), 2)[torch.arange(len(found)), pair]
    return F.cross_entropy(logits, label), (logits.argmax(1) == label).float().mean()


def steps_to_learn(data: Scenes, module: nn.Module, rate: float, limit: int) -> str:
    """SGD as in the experiment, 16 scenes a step, at a constant rate: the steps it took, or what happened instead."""
    head = nn.Linear(data.maps.shape[1], 2 * len(DECIDED_PAIRS))
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    weights = [*module.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, rate, momentum=0.9, weight_decay=1e-4)
    average = 0.5
    for step in range(limit):
        loss, share = evaluate(data, module, head, torch.randint(0, len(data.maps), (16,)).tolist())
        if not loss.isfinite():
            return "diverged"
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 3.0)
        optimizer.step()
        average += (float(share) - average) / 30
        if average > LEARNED:
            return str(step + 1)
    return f"> {limit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="runs/relations", metavar="DIR", help="--out of reproduce.py relations")
    parser.add_argument("--scenes", type=int, default=1400, help="(default 1400)")
    parser.add_argument("--steps", type=int, default=2000, help="at most (default 2000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--modules", nargs="+", default=list(MODULES), choices=list(MODULES))
    parser.add_argument("--stds", type=float, nargs="+", default=[0.01, 0.03, 0.06, 0.1])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, 0.004, 0.016])
    parser.add_argument("--markdown", metavar="FILE", help="write the table there too")
    args = parser.parse_args()
    with command_line():
        data = scenes(args.experiment, args.scenes)
        head = [f"rate {rate:g}" for rate in args.rates]
        lines = ["| module | initial weights | " + " | ".join(head) + " |", "|---" * (2 + len(head)) + "|"]
        print("\n".join(lines), flush=True)
        for name in args.modules:
            kind, options = MODULES[name]
            for std in args.stds if kind else args.stds[:1]:
                cells = [name, f"{std:g}" if kind else "-"]
                for rate in args.rates:
                    values = []
                    for seed in args.seeds:
                        torch.manual_seed(seed)
                        channels = data.maps.shape[1]
                        module = NON_LOCAL[kind](channels, init_std=std, **options) if kind else nn.Identity()
                        values.append(steps_to_learn(data, module, rate, args.steps))
                    cells.append(", ".join(values))
                lines.append("| " + " | ".join(cells) + " |")
                print(lines[-1], flush=True)
        if args.markdown:
            write_text(args.markdown, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
