"""Small data sets and configurations for tests of whole runs."""

import json
from pathlib import Path

import cv2
import numpy as np

CONFIG = Path(__file__).parents[2] / "configs" / "demo" / "base_R_18_FPN.yaml"

# Narrow layers, of at least the 32 channels that group norms need, for what depends on names and not on sizes.
SMALL: list = [
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 32, "MODEL.RESNETS.RES2_OUT_CHANNELS", 128),
    *("MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 32, "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", 32),
    *("MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM", 32, "MODEL.ROI_MASK_HEAD.CONV_LAYERS", (32, 32, 32, 32)),
]


def write_coco(root: Path, name: str = "set", images: int = 4, size: int = 64, empty: tuple[int, ...] = ()) -> dict:
    """A COCO set of bright rectangles: folder root/name, file root/name.json. Returns the annotations.

    Category ids have gaps; every second mask is RLE; image `i` of `empty` holds no object.
    """
    rng = np.random.default_rng(0)
    (root / name).mkdir(parents=True, exist_ok=True)
    content: dict = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 3, "name": "red"}, {"id": 7, "name": "blue"}],
    }
    for i in range(images):
        width, height = (size, size) if i % 2 else (size + 16, size)
        picture = rng.integers(0, 40, (height, width, 3), dtype=np.uint8)
        content["images"].append({"id": 10 + i, "file_name": f"{i}.jpg", "width": width, "height": height})
        for k in range(0 if i in empty else 2):
            x, y = rng.integers(2, size - 34, 2).tolist()
            w, h = rng.integers(12, 30, 2).tolist()
            picture[y : y + h, x : x + w] = (0, 0, 255) if k else (255, 0, 0)
            outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            mask = np.zeros((height, width), np.uint8)
            mask[y : y + h, x : x + w] = 1
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": 10 + i,
                    "category_id": 3 if k else 7,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": uncompressed_rle(mask) if i % 2 else outline,
                }
            )
        cv2.imwrite(str(root / name / f"{i}.jpg"), picture)
    write_annotations(root, name, content)
    return content


def write_annotations(root: Path, name: str, content: dict) -> None:
    (root / f"{name}.json").write_text(json.dumps(content))


def uncompressed_rle(mask: np.ndarray) -> dict:
    """COCO's run lengths as a list, columns first, beginning with zeros."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat, [1 - flat[-1]]))))
    counts = np.diff(np.concatenate(([0], edges))).tolist()
    return {"size": list(mask.shape), "counts": counts}


def options(root: Path, train: str = "set", test: str = "set", **keys: object) -> list[str]:
    """Command-line options for a tiny model on sets below `root`; keyword names have __ for the dots of a key."""
    values: dict[str, object] = {
        "DATASETS.TRAIN": f'("{train}",)',
        "DATASETS.TEST": f'("{test}",)',
        "OUTPUT_DIR": root / "run",
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 3,
        "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
        "MODEL.ROI_MASK_HEAD.CONV_LAYERS": "(16,)",
        "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 32,
        "MODEL.NON_LOCAL.TOP_DOWN.TYPE": "enl",
        "INPUT.MIN_SIZE_TRAIN": "(64,)",
        "INPUT.MIN_SIZE_TEST": 64,
        "SOLVER.IMS_PER_BATCH": 2,
        "SOLVER.MAX_ITER": 4,
        "SOLVER.STEPS": "()",
        "SOLVER.LOG_PERIOD": 1,
        "TEST.IMS_PER_BATCH": 2,
        "DATALOADER.NUM_WORKERS": 0,
        "SEED": 1,
    }
    for name in {train, test}:
        values[f"DATASETS.DEFINITIONS.{name}.IMG_DIR"] = root / name
        values[f"DATASETS.DEFINITIONS.{name}.ANN_FILE"] = root / f"{name}.json"
    values.update({name.replace("__", "."): value for name, value in keys.items()})
    return [str(word) for pair in values.items() for word in pair]
