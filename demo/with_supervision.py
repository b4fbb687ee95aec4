"""Detections as supervision has them, and back: https://supervision.roboflow.com

    python demo/with_supervision.py --input photo.jpg --out annotated.png

A box of this package has inclusive corners: one over columns 3 to 12 is (3, ..., 12, ...). supervision's ends where the last
pixel ends, at 13.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import supervision as sv
import torch

from maskrcnn_benchmark.data.pictures import read_upright, to_bgr
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.predictor_options import make_predictor, predictor_parser
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import PIXEL
from maskrcnn_benchmark.utils.wording import counted


def to_supervision(found: BoxList, names: Mapping[int, str]) -> sv.Detections:
    """What a Predictor found, in pixels of the picture.

    Args:
        names: of the labels, which count from 1; `predictor.categories.names`. The "class_id" of label 1 is 0.
    """
    labels = found.get_field("labels").numpy()
    corners = found.convert("xyxy").bbox.numpy().astype(np.float64) + (0, 0, PIXEL, PIXEL)
    width, height = (int(side) for side in found.size)
    masks = None
    if found.has_field("rle"):
        masks = np.zeros((len(found), height, width), bool)
        for mask, rle in zip(masks, found.get_field("rle"), strict=True):
            mask[:] = mask_utils.decode(rle)
    return sv.Detections(
        xyxy=corners.reshape(-1, 4),
        mask=masks,
        confidence=found.get_field("scores").numpy(),
        class_id=labels - 1,
        data={"class_name": np.array([names.get(label, f"class {label}") for label in labels.tolist()], dtype=object)},
    )


def from_supervision(detections: sv.Detections, size: tuple[int, int]) -> BoxList:
    """The way back.

    Args:
        size: width and height of the picture in pixels.
    """
    found = BoxList(torch.from_numpy(detections.xyxy - np.array([0, 0, PIXEL, PIXEL])), size)
    confidence, ids = detections.confidence, detections.class_id
    found.add_field("scores", torch.ones(len(found)) if confidence is None else torch.from_numpy(confidence))
    found.add_field("labels", (torch.zeros(len(found)) if ids is None else torch.from_numpy(ids)).to(torch.int64) + 1)
    if detections.mask is not None:
        rles = [mask_utils.encode(np.asfortranarray(mask, np.uint8)) for mask in np.asarray(detections.mask)]
        found.add_field("rle", [{"size": rle["size"], "counts": rle["counts"].decode()} for rle in rles])
    return found


def main() -> None:
    parser = predictor_parser(__doc__)
    parser.add_argument("--input", required=True, metavar="FILE", help="a picture")
    parser.add_argument("--out", required=True, metavar="FILE", help="the picture with boxes drawn by supervision")
    args = parser.parse_args()
    with command_line():
        predictor = make_predictor(args, threshold=args.threshold, classes=args.classes, top_k=args.top_k)
        picture = to_bgr(read_upright(args.input))
        detections = to_supervision(predictor(picture), predictor.categories.names)
        drawn = sv.LabelAnnotator().annotate(sv.BoxAnnotator().annotate(picture.copy(), detections), detections)
        if not cv2.imwrite(args.out, drawn):
            raise OSError(f"Cannot write {args.out}.")
        print(f"{counted(len(detections), 'detection')}: {args.out}")


if __name__ == "__main__":
    main()
