"""From feature vectors to class scores and box offsets."""

from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks, registries
from maskrcnn_benchmark.utils.registered import maker


@any_layout
class _BoxPredictor(nn.Module):
    """Tensor[K, in_channels], or [K, in_channels, 1, 1] -> class logits Tensor[K, C], box offsets Tensor[K, 4 * C].

    Class-agnostic offsets are Tensor[K, 4 * 2].
    """

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        num_classes = cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES
        num_boxes = 2 if cfg.MODEL.CLS_AGNOSTIC_BBOX_REG else num_classes
        self.cls_score = nn.Linear(in_channels, num_classes)
        self.bbox_pred = nn.Linear(in_channels, num_boxes * 4)
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.flatten(1)
        return self.cls_score(x), self.bbox_pred(x)


@registries.ROI_BOX_PREDICTOR.register("FPNPredictor")
@any_layout
class FPNPredictor(_BoxPredictor):
    pass


@any_layout
class _Average(nn.AdaptiveAvgPool2d):
    """The mean of each map, which is what the base class computes for one cell; that rearranges its result in place, too."""

    def forward(self, input: Tensor) -> Tensor:
        return input.mean((2, 3), keepdim=True)


@registries.ROI_BOX_PREDICTOR.register("FastRCNNPredictor")
@any_layout
class FastRCNNPredictor(_BoxPredictor):
    """Averages maps Tensor[K, in_channels, h, w] first."""

    def __init__(self, config, in_channels: int):
        super().__init__(config, in_channels)
        self.avgpool = _Average(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(self.avgpool(x))


def make_roi_box_predictor(cfg, in_channels: int | None = None) -> nn.Module:
    return forks.build(
        maker(registries.ROI_BOX_PREDICTOR, cfg.MODEL.ROI_BOX_HEAD.PREDICTOR, "MODEL.ROI_BOX_HEAD.PREDICTOR"),
        cfg,
        in_channels or forks.box_feature_channels(cfg),
    )


_ROI_BOX_PREDICTOR = registries.ROI_BOX_PREDICTOR  # its name until 2019, for forks
