"""A tiny Cityscapes: images, label images and polygons that show the same rectangles."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (96, 64)
# image: its objects from the back to the front as (class, number in the label image, inclusive box)
OBJECTS = {
    "aachen/aachen_000000_000019": [
        ("car", 26000, (4, 10, 40, 40)),
        ("car", 26001, (30, 20, 60, 50)),
        ("cargroup", 26, (70, 2, 90, 20)),
        ("road", 7, (0, 60, 95, 63)),
    ],
    "aachen/aachen_000001_000019": [("caravan", 29000, (5, 5, 25, 30)), ("bicycle", 33000, (50, 10, 70, 30))],
    "bonn/bonn_000000_000019": [("person", 24000, (10, 10, 13, 15)), ("rider", 25004, (40, 5, 60, 45))],
}


def write_cityscapes(root: Path, split: str = "val") -> None:
    rng = np.random.default_rng(0)
    for name, objects in OBJECTS.items():
        image, labels = root / "leftImg8bit" / split / name, root / "gtFine" / split / name
        for path in (image, labels):
            path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"{image}_leftImg8bit.png")
        ids = np.zeros((SIZE[1], SIZE[0]), np.uint16)
        polygons = []
        for label, number, (x1, y1, x2, y2) in objects:
            ids[y1 : y2 + 1, x1 : x2 + 1] = number
            polygons.append({"label": label, "polygon": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]})
        Image.fromarray(ids).save(f"{labels}_gtFine_instanceIds.png")
        content = {"imgWidth": SIZE[0], "imgHeight": SIZE[1], "objects": polygons}
        Path(f"{labels}_gtFine_polygons.json").write_text(json.dumps(content))
