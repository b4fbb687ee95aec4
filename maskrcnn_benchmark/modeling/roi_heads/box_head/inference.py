"""From the box head's predictions to detections.

Legend: K proposals of a batch, C classes with background as class 0, M (proposal, class) pairs above the threshold.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.batching import numbered, sizes_of_images
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.detections import select_detections
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import clip_boxes
from maskrcnn_benchmark.utils.overriding import is_overridden, replaceable


@replaceable("prepare_boxlist", "filter_results")
@any_layout
class PostProcessor(nn.Module):
    """Scores above a threshold, class-wise suppression, and the best detections of each image.

    Args:
        score_thresh: a detection's score is above this.
        nms: IoU above which the weaker of two boxes of a class goes.
        detections_per_img: how many stay; 0 or less for all.
        box_coder: the coder of the offsets.
        cls_agnostic_bbox_reg: whether all classes share one box.
        bbox_aug_enabled: return the boxes of every class unfiltered, for test-time augmentation to merge.

    All images go through one selection, unless `prepare_boxlist` or `filter_results` was replaced: then these two are
    called for each image, with the boxes of all classes.
    """

    def __init__(
        self,
        score_thresh: float = 0.05,
        nms: float = 0.5,
        detections_per_img: int = 100,
        box_coder: BoxCoder | None = None,
        cls_agnostic_bbox_reg: bool = False,
        bbox_aug_enabled: bool = False,
    ):
        super().__init__()
        self.score_thresh = score_thresh
        self.nms = nms
        self.detections_per_img = detections_per_img
        self.box_coder = box_coder or BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
        self.cls_agnostic_bbox_reg = cls_agnostic_bbox_reg
        self.bbox_aug_enabled = bbox_aug_enabled

    def forward(self, x: tuple[Tensor, Tensor], boxes: list[BoxList]) -> list[BoxList]:
        """
        Args:
            x: class logits Tensor[K, C] and box offsets Tensor[K, 4 * C].
            boxes: the K proposals, by image.

        Returns:
            Detections of each image by descending score, with the fields "scores" and "labels" (int64, from 1).
        """
        class_logits, box_regression = x
        scores = F.softmax(class_logits.float(), dim=-1)
        num_classes = scores.shape[1]
        deltas = box_regression.float().unflatten(1, (-1, 4))
        if self.cls_agnostic_bbox_reg:
            deltas = deltas[:, -1:].expand(-1, num_classes, -1)
        if self.bbox_aug_enabled:
            return self._all_classes(scores, deltas, boxes)
        if is_overridden(self, PostProcessor, "prepare_boxlist", "filter_results"):
            return [self.filter_results(b, num_classes) for b in self._all_classes(scores, deltas, boxes)]

        proposals = cat([b.bbox for b in boxes])
        image_of_row = numbered([b.bbox.shape[0] for b in boxes], proposals.device)
        sizes = [b.size for b in boxes]
        # Only pairs above the threshold are decoded: a few hundred of 80,000.
        row, label, score, valid = self._candidates(scores)
        image = image_of_row[row]
        box = self.box_coder.decode(deltas[row, label], proposals[row])
        width, height = sizes_of_images(sizes, box).unbind(1)
        box = clip_boxes(box, width[image], height[image])
        return select_detections(box, score, label, image, sizes, self.nms, self.detections_per_img, valid)

    def _candidates(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Tensor[K, C] -> proposal, class (from 1) and score of what is above the threshold, each Tensor[M].

        Of a single class all are given, and as the fourth which are above it: choosing them would make the host wait for the
        device, and spare nothing.
        """
        if scores.shape[1] == 2:
            score = scores[:, 1]
            row = torch.arange(len(score), device=score.device)
            return row, torch.ones_like(row), score, score > self.score_thresh
        row, label = (scores[:, 1:] > self.score_thresh).nonzero(as_tuple=True)
        return row, label + 1, scores[row, label + 1], None

    def _all_classes(self, scores: Tensor, deltas: Tensor, boxes: list[BoxList]) -> list[BoxList]:
        """The boxes of all classes, proposal after proposal, with the field "scores"; nothing is left out."""
        results = []
        counts = [len(b) for b in boxes]
        for boxlist, score, delta in zip(boxes, scores.split(counts), deltas.split(counts), strict=True):
            decoded = self.box_coder.decode(delta.flatten(1), boxlist.bbox)
            results.append(self.prepare_boxlist(decoded, score, boxlist.size).clip_to_image(remove_empty=False))
        return results

    def prepare_boxlist(self, boxes: Tensor, scores: Tensor, image_shape: tuple[float, float]) -> BoxList:
        """The boxes of all classes of R proposals as one BoxList, proposal after proposal, with the field "scores".

        Args:
            boxes: Tensor[R, 4 * C] xyxy, pixels.
            scores: Tensor[R, C].
            image_shape: (width, height) in pixels.
        """
        boxlist = BoxList(boxes.reshape(-1, 4), image_shape)
        boxlist.add_field("scores", scores.reshape(-1))
        return boxlist

    def filter_results(self, boxlist: BoxList, num_classes: int) -> BoxList:
        """The detections of an image among the boxes of all classes, as `prepare_boxlist` orders them: what `forward` does."""
        boxes = boxlist.bbox.reshape(-1, num_classes, 4)
        row, label, score, valid = self._candidates(boxlist.get_field("scores").reshape(-1, num_classes))
        image, limit = torch.zeros_like(label), self.detections_per_img
        return select_detections(boxes[row, label], score, label, image, [boxlist.size], self.nms, limit, valid)[0]


def make_roi_box_post_processor(cfg) -> PostProcessor:
    heads = cfg.MODEL.ROI_HEADS
    return PostProcessor(
        score_thresh=heads.SCORE_THRESH,
        nms=heads.NMS,
        detections_per_img=heads.DETECTIONS_PER_IMG,
        box_coder=BoxCoder(heads.BBOX_REG_WEIGHTS),
        cls_agnostic_bbox_reg=cfg.MODEL.CLS_AGNOSTIC_BBOX_REG,
        bbox_aug_enabled=cfg.TEST.BBOX_AUG.ENABLED,
    )
