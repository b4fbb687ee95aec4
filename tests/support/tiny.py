"""A detector small enough for tests, with random weights, as its users have it: a configuration and a checkpoint."""

import json
from pathlib import Path

import torch
import yaml

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from tests.support.helpers import CONFIG

NARROW = {
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 3,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 16,
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (8,),
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
    "MODEL.NON_LOCAL.TOP_DOWN.TYPE": "enl",
    "INPUT.MIN_SIZE_TEST": 64,
    "OUTPUT_DIR": "",
}
LABELS = {"COCODataset": {"1": "red", "2": "blue"}}


def write_model(folder: Path, name: str = "tiny", half: bool = False, labels: bool = True, **keys: object) -> list[str]:
    """folder/NAME.yaml, folder/NAME.pth and folder/labels.json; the first two paths. Key names have __ for dots."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {**NARROW, **{key.replace("__", "."): value for key, value in keys.items()}}
    nested: dict = {"_BASE_": str(CONFIG)}
    for key, value in values.items():
        *groups, last = key.split(".")
        node = nested
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = list(value) if isinstance(value, tuple) else value
    config, weights = folder / f"{name}.yaml", folder / f"{name}.pth"
    config.write_text(yaml.safe_dump(nested))
    cfg = defaults.clone()
    cfg.merge_from_file(str(config))
    torch.manual_seed(0)
    state = build_detection_model(cfg).state_dict()
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    torch.save({"model": state}, weights)
    if labels:
        (folder / "labels.json").write_text(json.dumps(LABELS))
    return [str(config), str(weights)]
