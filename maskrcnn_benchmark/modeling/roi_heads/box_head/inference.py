"""From the box head's predictions to detections.

Legend: K proposals of a batch, C classes with background as class 0, M (proposal, class) pairs above the threshold.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.detections import select_detections
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import clip_boxes


class PostProcessor(nn.Module):
    """Scores above a threshold, class-wise suppression, and the best detections of each image.

    Args:
        score_thresh: a detection's score is above this.
        nms: IoU above which the weaker of two boxes of a class goes.
        detections_per_img: how many stay; 0 or less for all.
        box_coder: the coder of the offsets.
        cls_agnostic_bbox_reg: whether all classes share one box.
        bbox_aug_enabled: return the boxes of every class unfiltered, for test-time augmentation to merge.
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
        proposals = cat([b.bbox for b in boxes])
        counts = torch.tensor([len(b) for b in boxes])
        image_of_row = torch.repeat_interleave(torch.arange(len(boxes)), counts).to(proposals.device)
        sizes = [b.size for b in boxes]
        if self.bbox_aug_enabled:
            return self._all_classes(scores, deltas, boxes)

        # Only pairs above the threshold are decoded: a few hundred of 80,000.
        row, label = (scores[:, 1:] > self.score_thresh).nonzero(as_tuple=True)
        label = label + 1
        image, score = image_of_row[row], scores[row, label]
        box = self.box_coder.decode(deltas[row, label], proposals[row])
        width, height = box.new_tensor(sizes).unbind(1)
        box = clip_boxes(box, width[image], height[image])
        return select_detections(box, score, label, image, sizes, self.nms, self.detections_per_img)

    def _all_classes(self, scores: Tensor, deltas: Tensor, boxes: list[BoxList]) -> list[BoxList]:
        """The boxes of all classes, proposal after proposal, with the field "scores"; nothing is left out."""
        results = []
        counts = [len(b) for b in boxes]
        for boxlist, score, delta in zip(boxes, scores.split(counts), deltas.split(counts), strict=True):
            decoded = self.box_coder.decode(delta.flatten(1), boxlist.bbox).reshape(-1, 4)
            result = BoxList(clip_boxes(decoded, *boxlist.size), boxlist.size)
            result.add_field("scores", score.reshape(-1))
            results.append(result)
        return results


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
