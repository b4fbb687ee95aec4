"""From the RPN's predictions to proposals.

Legend: B images, L levels, K boxes kept of a level before suppression, M boxes of all images and levels together.
"""

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.batching import (
    numbered,
    rank_of_kept,
    sizes_of_images,
    split_by_image,
)
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.detections import boxlists_by_image
from maskrcnn_benchmark.modeling.rpn.levels import find_on_each_level
from maskrcnn_benchmark.modeling.rpn.utils import permute_and_flatten
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.ops.nms import suppress
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import clip_boxes, xyxy_to_xywh
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.utils.overriding import is_overridden, replaceable


@replaceable("forward_for_single_feature_map", "select_over_all_levels")
@any_layout
class RPNPostProcessor(nn.Module):
    """Selects proposals: best `pre_nms_top_n` of each level, suppression within it, best `post_nms_top_n` of what is left,
    and with several levels the best `fpn_post_nms_top_n` of all: of the batch in training if `fpn_post_nms_per_batch`, of
    each image otherwise.

    Suppression runs once, over all images and levels, each pair of them a group of its own; unless a subclass overrides
    `forward_for_single_feature_map` or `select_over_all_levels`: then these two are called, the first for each level.
    """

    def __init__(
        self,
        pre_nms_top_n: int,
        post_nms_top_n: int,
        nms_thresh: float,
        min_size: float,
        box_coder: BoxCoder | None = None,
        fpn_post_nms_top_n: int | None = None,
        fpn_post_nms_per_batch: bool = True,
    ):
        super().__init__()
        self.pre_nms_top_n = pre_nms_top_n
        self.post_nms_top_n = post_nms_top_n
        self.nms_thresh = nms_thresh
        self.min_size = min_size
        self.box_coder = box_coder or BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self.fpn_post_nms_top_n = fpn_post_nms_top_n if fpn_post_nms_top_n is not None else post_nms_top_n
        self.fpn_post_nms_per_batch = fpn_post_nms_per_batch

    def forward(
        self,
        anchors: list[list[BoxList]],
        objectness: list[Tensor],
        box_regression: list[Tensor],
        targets: list[BoxList] | None = None,
    ) -> list[BoxList]:
        """
        Args:
            anchors: for each image, for each level.
            objectness: logits, Tensor[B, A, H_l, W_l] for each level.
            box_regression: Tensor[B, A * 4, H_l, W_l] for each level.
            targets: in training, the objects, which join the proposals.

        Returns:
            Proposals of each image by descending score, with the field "objectness" in [0, 1].
        """
        sizes = [image[0].size for image in anchors]
        if is_overridden(self, RPNPostProcessor, "forward_for_single_feature_map", "select_over_all_levels"):
            proposals = find_on_each_level(self, anchors, objectness, box_regression)
            if len(objectness) > 1:
                proposals = self.select_over_all_levels(proposals)
        else:
            box, score, image, kept = self._best_of_levels(anchors, objectness, box_regression)
            most = self.post_nms_top_n
            if len(objectness) > 1:
                kept, most = kept & self._best_of_all(kept, image, len(sizes)), self.fpn_post_nms_top_n
            proposals = boxlists_by_image(box, image, sizes, kept, most, objectness=score)
        if self.training and targets is not None:
            proposals = self.add_gt_proposals(proposals, targets)
        return proposals

    def forward_for_single_feature_map(
        self, anchors: list[BoxList], objectness: Tensor, box_regression: Tensor
    ) -> list[BoxList]:
        """The best boxes of one level after suppression.

        Args:
            anchors: of the level, for each image.
            objectness: logits, Tensor[B, A, H, W].
            box_regression: Tensor[B, A * 4, H, W].

        Returns:
            At most `post_nms_top_n` boxes of each image by descending score, with the field "objectness".
        """
        box, score, image, kept = self._best_of_levels([[a] for a in anchors], [objectness], [box_regression])
        sizes = [a.size for a in anchors]
        return boxlists_by_image(box, image, sizes, kept, self.post_nms_top_n, objectness=score)

    def select_over_all_levels(self, boxlists: list[BoxList]) -> list[BoxList]:
        """The best of each image's boxes of several levels (or of the batch's) by descending score."""
        score = cat([b.get_field("objectness") for b in boxlists])
        image = numbered([len(b) for b in boxlists], score.device)
        row = torch.cat([torch.arange(len(b), device=score.device) for b in boxlists])
        order = score.argsort(descending=True, stable=True)
        image, row = image[order], row[order]
        kept = self._best_of_all(torch.ones_like(image, dtype=torch.bool), image, len(boxlists))
        rows = split_by_image(image, len(boxlists), row, kept=kept, most=self.fpn_post_nms_top_n)
        return [boxlist[of_image] for boxlist, (of_image,) in zip(boxlists, rows, strict=True)]

    def _best_of_levels(self, anchors, objectness, box_regression) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The candidates of all levels by descending score, boxes Tensor[M, 4], scores and images; and which of them are the best
        of their level after suppression, bool Tensor[M]."""
        num_images, num_levels = len(anchors), len(objectness)
        boxes, level_scores = self._candidates(anchors, objectness, box_regression)
        width, height = sizes_of_images([image[0].size for image in anchors], boxes)[:, :, None].unbind(1)
        boxes = clip_boxes(boxes, width, height)

        levels = numbered([s.shape[1] for s in level_scores], boxes.device)
        image = torch.arange(num_images, device=boxes.device)[:, None]
        groups = (image * num_levels + levels).flatten()
        boxes, scores = boxes.flatten(0, 1), torch.cat(level_scores, dim=1).flatten()
        large_enough = (xyxy_to_xywh(boxes)[:, 2:] >= self.min_size).all(dim=1)
        # A box of the lowest score suppresses none of the others; it is left out below.
        scores = torch.where(large_enough, scores, -1.0)
        if self.nms_thresh > 0:
            order, kept = suppress(boxes, scores, groups, self.nms_thresh, self.post_nms_top_n)
        else:
            order, kept = scores.argsort(descending=True, stable=True), torch.ones_like(large_enough)
        scores, groups = scores[order], groups[order]
        kept = kept & (scores >= 0)
        kept = kept & (rank_of_kept(kept, groups, num_images * num_levels) < self.post_nms_top_n)
        return boxes[order], scores, groups // num_levels, kept

    def _best_of_all(self, kept: Tensor, image: Tensor, num_images: int) -> Tensor:
        """Which of the kept boxes, by descending score with their images int64 Tensor[M], are the best of their image or of the
        batch: bool Tensor[M]."""
        if self.training and self.fpn_post_nms_per_batch:
            num_images = 1
        return rank_of_kept(kept, image, num_images) < self.fpn_post_nms_top_n

    def _candidates(self, anchors, objectness, box_regression) -> tuple[Tensor, list[Tensor]]:
        """The best boxes of each level: Tensor[B, sum K, 4] and, for each level, scores Tensor[B, K]."""
        boxes, scores = [], []
        for level, (logits, deltas) in enumerate(zip(objectness, box_regression, strict=True)):
            n, a, h, w = logits.shape
            logits = permute_and_flatten(logits, n, a, 1, h, w).squeeze(2)
            deltas = permute_and_flatten(deltas, n, a, 4, h, w)
            top, index = logits.topk(torch.sym_min(self.pre_nms_top_n, logits.shape[1]), dim=1)
            deltas = deltas.gather(1, index[:, :, None].expand(-1, -1, 4))
            level_anchors = [image[level].bbox for image in anchors]
            if all(a is level_anchors[0] for a in level_anchors):
                chosen = level_anchors[0][index]
            else:
                chosen = torch.stack([a[i] for a, i in zip(level_anchors, index, strict=True)])
            decoded = self.box_coder.decode(deltas.float().flatten(0, 1), chosen.flatten(0, 1))
            boxes.append(decoded.view_as(chosen))
            scores.append(top.float().sigmoid())
        return torch.cat(boxes, dim=1), scores

    def add_gt_proposals(self, proposals: list[BoxList], targets: list[BoxList]) -> list[BoxList]:
        """Append the objects to the proposals, with objectness 1."""
        joined = []
        for proposal, target in zip(proposals, targets, strict=True):
            objects = target.copy_with_fields([])
            objects.add_field("objectness", torch.ones(len(objects), device=proposal.bbox.device))
            joined.append(cat_boxlist([proposal, objects]))
        return joined


def make_rpn_postprocessor(config, rpn_box_coder: BoxCoder, is_train: bool) -> RPNPostProcessor:
    rpn = config.MODEL.RPN
    return RPNPostProcessor(
        pre_nms_top_n=rpn.PRE_NMS_TOP_N_TRAIN if is_train else rpn.PRE_NMS_TOP_N_TEST,
        post_nms_top_n=rpn.POST_NMS_TOP_N_TRAIN if is_train else rpn.POST_NMS_TOP_N_TEST,
        nms_thresh=rpn.NMS_THRESH,
        min_size=rpn.MIN_SIZE,
        box_coder=rpn_box_coder,
        fpn_post_nms_top_n=rpn.FPN_POST_NMS_TOP_N_TRAIN if is_train else rpn.FPN_POST_NMS_TOP_N_TEST,
        fpn_post_nms_per_batch=rpn.FPN_POST_NMS_PER_BATCH,
    )
