"""A tiny Pascal VOC folder."""

from pathlib import Path

import numpy as np
from PIL import Image

# image: its objects as (class, box with corners counted from 1, difficult)
OBJECTS = {
    "000005": [("chair", (1, 1, 20, 30), 0), ("Person", (11, 6, 60, 40), 1), ("chair", (31, 2, 50, 25), 0)],
    "000007": [("car", (5, 5, 64, 48), 0)],
    "000009": [],
}
SIZE = (64, 48)


def write_voc(root: Path, split: str = "val", annotated: bool = True) -> None:
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in OBJECTS))
    rng = np.random.default_rng(0)
    for name, objects in OBJECTS.items():
        Image.fromarray(rng.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)).save(
            root / "JPEGImages" / f"{name}.jpg"
        )
        entries = "".join(
            f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox>"
            + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
            + "</bndbox></object>"
            for label, box, difficult in objects
        )
        text = f"<annotation><size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>{entries}</annotation>"
        if annotated:
            (root / "Annotations" / f"{name}.xml").write_text(text)
