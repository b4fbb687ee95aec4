"""Of --check: with equal weights and images, OUT's losses beside those of the fork by itself."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TOLERANCE = 1e-4  # relative, of each loss
TIMEOUT_S = 600
# Every anchor and proposal is sampled, so nothing depends on a random choice.
ALL_SAMPLED = {"MODEL.RPN.BATCH_SIZE_PER_IMAGE": 1000000, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 1000000}
_PROGRAM = """
import importlib, json, sys, warnings
warnings.filterwarnings("ignore")
import torch
package, config_file, weights, options, result = sys.argv[1:4] + [json.loads(sys.argv[4])] + sys.argv[5:]
get = lambda name: importlib.import_module(package + "." + name)
cfg = get("config").cfg
cfg.merge_from_file(config_file)
cfg.merge_from_list(options)
focal = get("layers.sigmoid_focal_loss") if "SigmoidFocalLoss" in dir(get("layers")) else None
if hasattr(focal, "sigmoid_focal_loss_cpu"):  # upstream's takes lists, and is given numbers
    plain = focal.sigmoid_focal_loss_cpu
    as_list = lambda value: value if isinstance(value, (list, tuple)) else [value]
    focal.sigmoid_focal_loss_cpu = lambda x, targets, gamma, alpha: plain(x, targets, as_list(gamma), as_list(alpha))
torch.manual_seed(0)
model = get("modeling.detector").build_detection_model(cfg).train()
state = torch.load(weights, map_location="cpu", weights_only=False)["model"]
model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
random = torch.Generator().manual_seed(0)
images = [torch.randn(3, 128, 160, generator=random) * 40 for _ in range(2)]
BoxList, Mask = get("structures.bounding_box").BoxList, get("structures.segmentation_mask").SegmentationMask
targets = []
for shift in (0.0, 9.0):
    boxes = [[8 + shift, 10.0, 64 + shift, 70.0], [78.0, 22 + shift, 134.0, 82 + shift]]
    target = BoxList(torch.tensor(boxes), (160, 128), mode="xyxy")
    target.add_field("labels", torch.tensor([1, 2]))
    target.add_field("masks", Mask([[[x, y, X, y, X, Y, x, Y]] for x, y, X, Y in boxes], (160, 128)))
    targets.append(target)
losses = model(get("structures.image_list").to_image_list(images, cfg.DATALOADER.SIZE_DIVISIBILITY), targets)
losses = losses[-1] if isinstance(losses, tuple) else losses
json.dump({name: float(value.sum()) for name, value in losses.items()}, open(result, "w"))
"""


def compare(
    package: str, trees: tuple[Path, Path], config: str, weights: Path, options: Sequence[str], folder: Path
) -> tuple[str, bool]:
    """Losses in the two trees (OUT, the control). Returns a sentence, and whether they differ.

    A fork whose model wants more than images, boxes and masks, or that does not run on a CPU by itself, is not compared.
    """
    found: list[dict[str, float]] = []
    for name, tree in zip(("OUT", "the fork by itself"), trees, strict=True):
        result = folder / f"losses-{len(found)}.json"
        words = [
            sys.executable,
            "-c",
            _PROGRAM,
            package,
            str(trees[0] / config),
            str(weights),
            json.dumps(list(options)),
            str(result),
        ]
        path = os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH", ""))))
        environment = dict(os.environ, PYTHONPATH=path, CUDA_VISIBLE_DEVICES="", PYTHONDONTWRITEBYTECODE="1")
        try:
            done = subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
            said = (done.stderr.strip().splitlines() or [""])[-1]
        except subprocess.TimeoutExpired:
            said = f"no end within {TIMEOUT_S} s"
        if not result.exists():
            return f"- the first losses were not compared: {name} stops with {said}", False
        found.append(json.loads(result.read_text()))
    return verdict(*found)


def verdict(ours: dict[str, float], theirs: dict[str, float]) -> tuple[str, bool]:
    """A sentence about two sets of losses, and whether they differ."""
    if ours.keys() != theirs.keys():
        return f"- losses differ by name: {sorted(ours)} here, {sorted(theirs)} in the fork by itself", True
    apart = {n: abs(ours[n] - theirs[n]) / max(abs(theirs[n]), 1e-6) for n in ours}
    worst = max(apart, key=lambda name: math.inf if math.isnan(apart[name]) else apart[name])
    text = f"{worst} by {apart[worst]:.1e} of itself ({ours[worst]:.6g} here, {theirs[worst]:.6g} there)"
    if not apart[worst] <= TOLERANCE:
        return f"- with equal weights and images the first losses differ from the fork's own: {text}", True
    return f"- with equal weights and images the first losses equal the fork's own, at most {text}", False
