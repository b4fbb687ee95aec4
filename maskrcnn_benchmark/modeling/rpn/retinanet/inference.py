"""From RetinaNet's predictions to detections.

Legend: B images, T anchors of all levels of an image, C classes without background, M (anchor, class) pairs above the
threshold in the whole batch.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.batching import numbered, rank_in_group, sizes_of_images
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.detections import boxlists_by_image, select_detections
from maskrcnn_benchmark.modeling.rpn.levels import find_on_each_level, flatten_levels
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import clip_boxes, xyxy_to_xywh
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.utils.overriding import is_overridden, replaceable


@replaceable("forward_for_single_feature_map", "select_over_all_levels")
@any_layout
class RetinaNetPostProcessor(nn.Module):
    """Scores above a threshold, the best of them on each level, class-wise suppression over all levels, and the best
    detections of each image. Images, levels and classes are handled together, as groups; unless a subclass overrides
    `forward_for_single_feature_map` or `select_over_all_levels`: then these two are called, the first for each level.

    Args:
        pre_nms_thresh: a candidate's score is above this.
        pre_nms_top_n: how many candidates of a level stay.
        nms_thresh: IoU above which the weaker of two boxes of a class goes.
        fpn_post_nms_top_n: how many detections of an image stay; 0 or less for all.
        min_size: shortest side of a detection, pixels.
        num_classes: with the background.
        box_coder: the coder of the offsets.
    """

    def __init__(
        self,
        pre_nms_thresh: float,
        pre_nms_top_n: int,
        nms_thresh: float,
        fpn_post_nms_top_n: int,
        min_size: float,
        num_classes: int,
        box_coder: BoxCoder | None = None,
    ):
        super().__init__()
        if not 0 < pre_nms_thresh < 1:
            raise ValueError(f"MODEL.RETINANET.INFERENCE_TH must lie between 0 and 1; got {pre_nms_thresh}.")
        self.pre_nms_thresh = pre_nms_thresh
        self.pre_nms_top_n = pre_nms_top_n
        self.nms_thresh = nms_thresh
        self.fpn_post_nms_top_n = fpn_post_nms_top_n
        self.min_size = min_size
        self.num_classes = num_classes
        self.box_coder = box_coder or BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))

    def forward(
        self,
        anchors: list[list[BoxList]],
        box_cls: list[Tensor],
        box_regression: list[Tensor],
        targets: list[BoxList] | None = None,
    ) -> list[BoxList]:
        """
        Args:
            anchors: for each image, for each level.
            box_cls: logits, Tensor[B, A * C, H_l, W_l] for each level.
            box_regression: Tensor[B, A * 4, H_l, W_l] for each level.
            targets: not used; RPNPostProcessor takes them too.

        Returns:
            Detections of each image by descending score, with the fields "scores" and "labels" (int64, from 1).
        """
        if is_overridden(self, RetinaNetPostProcessor, "forward_for_single_feature_map", "select_over_all_levels"):
            return self.select_over_all_levels(find_on_each_level(self, anchors, box_cls, box_regression))
        box, score, label, image, valid = self._find(anchors, box_cls, box_regression)
        sizes = [levels[0].size for levels in anchors]
        return select_detections(box, score, label, image, sizes, self.nms_thresh, self.fpn_post_nms_top_n, valid)

    def forward_for_single_feature_map(
        self, anchors: list[BoxList], box_cls: Tensor, box_regression: Tensor
    ) -> list[BoxList]:
        """The candidates of one level, before suppression.

        Args:
            anchors: of the level, for each image.
            box_cls: logits, Tensor[B, A * C, H, W].
            box_regression: Tensor[B, A * 4, H, W].

        Returns:
            At most `pre_nms_top_n` boxes of each image by descending score, with the fields "scores" and "labels".
        """
        box, score, label, image, valid = self._find([[a] for a in anchors], [box_cls], [box_regression])
        sizes = [a.size for a in anchors]
        return boxlists_by_image(box, image, sizes, valid, self.pre_nms_top_n, scores=score, labels=label)

    def select_over_all_levels(self, boxlists: list[BoxList]) -> list[BoxList]:
        """Class-wise suppression of each image's candidates of all levels, and the best of what is left."""
        box, score, label = (
            cat(of_image)
            for of_image in zip(
                *((b.bbox, b.get_field("scores"), b.get_field("labels")) for b in boxlists), strict=True
            )
        )
        image = numbered([len(b) for b in boxlists], box.device)
        sizes = [b.size for b in boxlists]
        return select_detections(box, score, label, image, sizes, self.nms_thresh, self.fpn_post_nms_top_n)

    def add_gt_proposals(self, proposals: list[BoxList], targets: list[BoxList]) -> list[BoxList]:
        """Append the objects to the detections, with the score 1. RetinaNet itself has no use for it."""
        joined = []
        for proposal, target in zip(proposals, targets, strict=True):
            objects = target.copy_with_fields(["labels"])
            objects.add_field("scores", torch.ones(len(objects), device=proposal.bbox.device))
            joined.append(cat_boxlist([proposal, objects]))
        return joined

    def _find(self, anchors, box_cls, box_regression) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Boxes Tensor[M, 4], scores, labels (from 1) and images of the candidates of all levels, best first; and which are large
        enough, bool Tensor[M]."""
        logits, deltas = flatten_levels(box_cls, box_regression)
        image, row, label, score = self._candidates(logits, [level.bbox.shape[0] for level in anchors[0]])
        box = self.box_coder.decode(deltas[image, row].float(), _pick_anchors(anchors, image, row))
        width, height = sizes_of_images([levels[0].size for levels in anchors], box).unbind(1)
        box = clip_boxes(box, width[image], height[image])
        return box, score, label, image, (xyxy_to_xywh(box)[:, 2:] >= self.min_size).all(dim=1)

    def _candidates(self, logits: Tensor, level_sizes: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tensor[B, T, C] -> image, anchor, label (from 1) and score, each Tensor[M], best first."""
        threshold = math.log(self.pre_nms_thresh / (1 - self.pre_nms_thresh))
        image, row, column = (logits > threshold).nonzero(as_tuple=True)
        score, order = logits[image, row, column].float().sigmoid().sort(descending=True, stable=True)
        image, row, column = image[order], row[order], column[order]
        level = numbered(level_sizes, row.device)[row]
        rank = rank_in_group(image * len(level_sizes) + level, len(logits) * len(level_sizes))
        best = (rank < self.pre_nms_top_n).nonzero().squeeze(1)
        return image[best], row[best], column[best] + 1, score[best]


def _pick_anchors(anchors: Sequence[Sequence[BoxList]], image: Tensor, row: Tensor) -> Tensor:
    """The anchors Tensor[M, 4] that Tensor[M] image and Tensor[M] row (over all levels) stand for."""
    first = torch.cat([level.bbox for level in anchors[0]])
    if all(a.bbox is b.bbox for levels in anchors for a, b in zip(levels, anchors[0], strict=True)):
        return first[row]
    return torch.stack([torch.cat([level.bbox for level in levels]) for levels in anchors])[image, row]


def make_retinanet_postprocessor(config, rpn_box_coder: BoxCoder, is_train: bool) -> RetinaNetPostProcessor:
    """The same for training and testing: RetinaNet's training selects no boxes."""
    retinanet = config.MODEL.RETINANET
    return RetinaNetPostProcessor(
        pre_nms_thresh=retinanet.INFERENCE_TH,
        pre_nms_top_n=retinanet.PRE_NMS_TOP_N,
        nms_thresh=retinanet.NMS_TH,
        fpn_post_nms_top_n=config.TEST.DETECTIONS_PER_IMG,
        min_size=0,
        num_classes=retinanet.NUM_CLASSES,
        box_coder=rpn_box_coder,
    )
