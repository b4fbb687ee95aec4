"""Cascade R-CNN (Cai and Vasconcelos, CVPR 2018): box heads in a row, each trained on the boxes that the one before refined.

An extension of maskrcnn_benchmark from outside: it declares configuration keys and registers a head, "CascadeROIBoxHead", for
MODEL.ROI_BOX_HEAD.NAME. Every command line loads it where TORCH_DETECTRON_ENV_MODULE names this file (see README.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.config.node import ConfigNode
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.box_losses import BoxLosses
from maskrcnn_benchmark.modeling.matching import Matcher
from maskrcnn_benchmark.modeling.registries import ROI_HEADS
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import PostProcessor
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_feature_extractors import make_roi_box_feature_extractor
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_predictors import make_roi_box_predictor
from maskrcnn_benchmark.modeling.sampling import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import clip_boxes


def setup_environment() -> None:
    """Declare MODEL.CASCADE. One entry a stage: the IoU from which a proposal stands for an object, the weights of the offsets,
    the weight of the losses."""
    defaults.MODEL.CASCADE = ConfigNode(
        {
            "IOU_THRESHOLDS": (0.5, 0.6, 0.7),
            "BBOX_REG_WEIGHTS": ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
            "LOSS_WEIGHTS": (1.0, 0.5, 0.25),
        }
    )


@any_layout
class Stage(nn.Module):
    """A box head of its own, whose classes share one box.

    Args:
        iou_threshold: a proposal that overlaps an object by at least this stands for it.
        bbox_reg_weights: of the offsets (dx, dy, dw, dh).
        sampler: draws the proposals to train on.
    """

    def __init__(
        self,
        feature_extractor: nn.Module,
        predictor: nn.Module,
        iou_threshold: float,
        bbox_reg_weights: Sequence[float],
        sampler: BalancedPositiveNegativeSampler,
    ):
        super().__init__()
        self.feature_extractor = feature_extractor
        self.predictor = predictor
        self.box_coder = BoxCoder(bbox_reg_weights)
        self.targets = BoxLosses(Matcher(iou_threshold, iou_threshold), sampler, self.box_coder, True)

    @torch.no_grad()
    def refine(self, deltas: Tensor, proposals: list[BoxList]) -> list[BoxList]:
        """The K proposals of a batch, moved by the offsets Tensor[K, 8] and clipped to their images."""
        # Not len(p): while a program is exported, how many there are is a symbol, which len would make a number of.
        own = deltas.detach().float()[:, -4:].split([p.bbox.shape[0] for p in proposals])
        return [
            BoxList(clip_boxes(self.box_coder.decode(delta, p.bbox), *p.size), p.size)
            for delta, p in zip(own, proposals, strict=True)
        ]


@ROI_HEADS.register("CascadeROIBoxHead")
@any_layout
class CascadeROIBoxHead(nn.Module):
    """Takes the place of ROIBoxHead. Scores are means over the stages, boxes those of the last."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL.CLS_AGNOSTIC_BBOX_REG = True
        heads, cascade = cfg.MODEL.ROI_HEADS, cfg.MODEL.CASCADE
        drawn = BalancedPositiveNegativeSampler(heads.BATCH_SIZE_PER_IMAGE, heads.POSITIVE_FRACTION)
        # Later stages train on all that the first one drew.
        everything = BalancedPositiveNegativeSampler(2**30, 1.0)
        self.stages = nn.ModuleList()
        for i, (iou, weights) in enumerate(zip(cascade.IOU_THRESHOLDS, cascade.BBOX_REG_WEIGHTS, strict=True)):
            extractor = make_roi_box_feature_extractor(cfg, in_channels)
            predictor = make_roi_box_predictor(cfg, extractor.out_channels)
            self.stages.append(Stage(extractor, predictor, iou, weights, everything if i else drawn))
        self.loss_weights = cascade.LOSS_WEIGHTS
        self.post_processor = PostProcessor(
            score_thresh=heads.SCORE_THRESH,
            nms=heads.NMS,
            detections_per_img=heads.DETECTIONS_PER_IMG,
            box_coder=BoxCoder(cascade.BBOX_REG_WEIGHTS[-1]),
            cls_agnostic_bbox_reg=True,
            bbox_aug_enabled=cfg.TEST.BBOX_AUG.ENABLED,
        )

    @property
    def feature_extractor(self) -> nn.Module:
        """The first stage's, for heads that share it."""
        return self.stages[0].feature_extractor

    def forward(
        self, features: Sequence[Tensor], proposals: list[BoxList], targets: list[BoxList] | None = None
    ) -> tuple[Tensor, list[BoxList], dict[str, Tensor]]:
        """What ROIBoxHead returns; in training the features and the proposals of the first stage."""
        if not self.training:
            return self._detect(features, proposals)
        losses, outputs = {}, []
        for i, (stage, weight) in enumerate(zip(self.stages, self.loss_weights, strict=True)):
            proposals = stage.targets.subsample(proposals, targets)
            x = stage.feature_extractor(features, proposals)
            outputs.append((x, proposals))
            logits, deltas = stage.predictor(x)
            classification, regression = stage.targets.losses(logits, deltas, proposals)
            losses[f"loss_classifier_{i + 1}"] = weight * classification
            losses[f"loss_box_reg_{i + 1}"] = weight * regression
            proposals = stage.refine(deltas, proposals)
        return *outputs[0], losses

    def _detect(self, features: Sequence[Tensor], proposals: list[BoxList]):
        scores = []
        for stage in self.stages:
            x = stage.feature_extractor(features, proposals)
            logits, deltas = stage.predictor(x)
            scores.append(F.softmax(logits.float(), dim=1))
            if stage is not self.stages[-1]:
                proposals = stage.refine(deltas, proposals)
        # The post-processor takes logits, whose softmax is then this mean again.
        mean = torch.stack(scores).mean(dim=0).log()
        return x, self.post_processor((mean, deltas), proposals), {}
