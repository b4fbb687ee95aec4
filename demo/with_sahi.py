"""SAHI's sliced prediction around a Predictor: https://github.com/obss/sahi

    python demo/with_sahi.py --input large.jpg --out annotated.png --slice 640

`INPUT.TILES` does the same within this package, faster; see docs/how-to/small-objects.md. This is for programs with
SAHI in them.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from sahi.models.base import DetectionModel
from sahi.predict import get_sliced_prediction
from sahi.prediction import ObjectPrediction

from maskrcnn_benchmark.data.formats.files import as_polygons
from maskrcnn_benchmark.data.pictures import read_upright, to_bgr
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.engine.predictor_options import make_predictor, predictor_parser
from maskrcnn_benchmark.structures.boxes import PIXEL
from maskrcnn_benchmark.utils.wording import counted
from maskrcnn_benchmark.visualization import draw_objects


class SahiModel(DetectionModel):
    """A Predictor as SAHI's model; its threshold is the predictor's. The ids of categories are the labels, from 1.

    get_sliced_prediction(image, SahiModel(predictor), slice_height=640, slice_width=640)
    """

    def __init__(self, predictor: Predictor):
        super().__init__(model=predictor, device=str(predictor.device), confidence_threshold=predictor.threshold)

    def set_model(self, model: Predictor, **kwargs: Any) -> None:
        self.model = model
        self.category_mapping = {str(label): name for label, name in model.categories.names.items()}

    @property
    def num_categories(self) -> int:
        return len(self.model.categories)

    @property
    def has_mask(self) -> bool:
        return bool(self.model.cfg.MODEL.MASK_ON)

    @property
    def category_names(self) -> list[str]:
        return list(self.model.categories.names.values())

    def perform_inference(self, image: np.ndarray | list[np.ndarray]) -> None:
        """Detect in a slice or several: uint8 [H, W, 3], RGB."""
        images = image if isinstance(image, list) else [image]
        self._original_predictions = self.model([np.ascontiguousarray(one[:, :, ::-1]) for one in images])

    def _create_object_prediction_list_from_original_predictions(
        self, shift_amount_list: Any = None, full_shape_list: Any = None
    ) -> None:
        shifts = _for_each(shift_amount_list or [0, 0], len(self._original_predictions))
        shapes = _for_each(full_shape_list, len(self._original_predictions))
        self._object_prediction_list_per_image = [
            self._of_image(found, shift, shape)
            for found, shift, shape in zip(self._original_predictions, shifts, shapes, strict=True)
        ]

    def _of_image(self, found: Any, shift: list[int], shape: list[int] | None) -> list[ObjectPrediction]:
        width, height = (int(side) for side in found.size)
        corners = found.convert("xyxy").bbox.numpy().astype(float) + (
            0,
            0,
            PIXEL,
            PIXEL,
        )  # SAHI's end after the last pixel
        rles = found.get_field("rle") if found.has_field("rle") else [None] * len(found)
        predictions = []
        for box, label, score, rle in zip(
            corners.tolist(), found.get_field("labels").tolist(), found.get_field("scores").tolist(), rles, strict=True
        ):
            outlines = None if rle is None else as_polygons(rle, {"width": width, "height": height})
            if rle is not None and not outlines:  # a mask without a pixel, which SAHI cannot hold
                continue
            name = self.model.categories.name(label)
            predictions.append(
                ObjectPrediction(
                    bbox=box,
                    category_id=label,
                    category_name=name,
                    segmentation=outlines,
                    score=score,
                    shift_amount=shift,
                    full_shape=shape or [height, width],
                )
            )
        return predictions


def _for_each(given: Any, count: int) -> list:
    """SAHI gives one pair of numbers, or a list of them."""
    return list(given) if given and isinstance(given[0], (list, tuple)) else [given] * count


def main() -> None:
    parser = predictor_parser(__doc__)
    parser.add_argument("--input", required=True, metavar="FILE", help="a picture")
    parser.add_argument("--out", required=True, metavar="FILE", help="the picture with what was found")
    parser.add_argument("--slice", type=int, default=640, metavar="N", help="pixels along a slice's side (default 640)")
    args = parser.parse_args()
    with command_line():
        model = SahiModel(make_predictor(args, threshold=args.threshold, classes=args.classes, top_k=args.top_k))
        picture = read_upright(args.input)
        result = get_sliced_prediction(
            np.asarray(picture), model, slice_height=args.slice, slice_width=args.slice, verbose=0
        )
        found = result.object_prediction_list
        boxes = np.array([p.bbox.to_xyxy() for p in found], float).reshape(-1, 4) - (0, 0, PIXEL, PIXEL)
        captions = [f"{p.category.name} {p.score.value:.2f}" for p in found]
        if not cv2.imwrite(args.out, draw_objects(to_bgr(picture), boxes, [p.category.id for p in found], captions)):
            raise OSError(f"Cannot write {args.out}.")
        print(f"{counted(len(found), 'detection')}: {args.out}")


if __name__ == "__main__":
    main()
