"""Drawn people with COCO's 17 keypoints, in COCO's format: `python -m tests.support.people FOLDER [COUNT]`."""

import sys
from pathlib import Path

import cv2
import numpy as np

from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from tests.support.helpers import write_annotations

# Where each keypoint lies in the box of a person who faces us, from 0 to 1; then their right side by mirroring.
_NOSE = (0.5, 0.1)
_LEFT = [(0.58, 0.05), (0.66, 0.08), (0.72, 0.25), (0.82, 0.38), (0.92, 0.5), (0.63, 0.55), (0.66, 0.75), (0.7, 0.95)]
POSE = np.array([_NOSE] + [place for x, y in _LEFT for place in ((x, y), (1 - x, y))])


def draw_person(picture: np.ndarray, points: np.ndarray, shade: int) -> None:
    for a, b in PersonKeypoints.CONNECTIONS:
        start, end = (tuple(int(round(v)) for v in points[k]) for k in (a, b))
        cv2.line(picture, start, end, (shade, 120, 255 - shade), 2)
    for k, (x, y) in enumerate(points):
        colour = (255, 255, 15 * k) if k % 2 else (15 * k, 255, 0)
        cv2.circle(picture, (int(round(x)), int(round(y))), 2, colour, -1)


def write_people(root: Path, name: str = "people", images: int = 4, size: int = 192, per_image: int = 2) -> dict:
    """Folder root/name, file root/name.json; people stand side by side. Returns the annotations."""
    rng = np.random.default_rng(0)
    (root / name).mkdir(parents=True, exist_ok=True)
    content: dict = {
        "images": [{"id": 1 + i, "file_name": f"{i}.png", "width": size, "height": size} for i in range(images)],
        "annotations": [],
        "categories": [{"id": 1, "name": "person", "keypoints": PersonKeypoints.NAMES}],
    }
    for i in range(images):
        picture = rng.integers(0, 50, (size, size, 3), dtype=np.uint8)
        column = size / per_image
        for k in range(per_image):
            width, height = rng.uniform(0.5, 0.9) * column, rng.uniform(0.4, 0.9) * size
            x, y = k * column + rng.uniform(0, column - width), rng.uniform(0, size - height)
            points = np.array((x, y)) + (POSE + rng.normal(0, 0.02, (17, 2)).clip(-0.03, 0.03)) * (width, height)
            draw_person(picture, points, int(rng.integers(256)))
            visible = np.where(rng.random(17) < 0.9, 2, 0)
            keypoints = np.where(visible[:, None] > 0, np.column_stack((points, visible)), 0)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": 1 + i,
                    "category_id": 1,
                    "bbox": [x, y, width, height],
                    "area": width * height * 0.5,
                    "iscrowd": 0,
                    "keypoints": keypoints.round(2).flatten().tolist(),
                    "num_keypoints": int((visible > 0).sum()),
                }
            )
        cv2.imwrite(str(root / name / f"{i}.png"), picture)
    write_annotations(root, name, content)
    return content


if __name__ == "__main__":
    write_people(Path(sys.argv[1]), images=int(sys.argv[2]) if len(sys.argv) > 2 else 4)
