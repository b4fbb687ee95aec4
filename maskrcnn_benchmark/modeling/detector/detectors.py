from torch import nn
from yacs.config import CfgNode

from maskrcnn_benchmark.modeling import registries
from maskrcnn_benchmark.modeling.detector.generalized_rcnn import GeneralizedRCNN
from maskrcnn_benchmark.utils.registered import maker

registries.META_ARCHITECTURES.register("GeneralizedRCNN", GeneralizedRCNN)

_DETECTION_META_ARCHITECTURES = registries.META_ARCHITECTURES  # upstream's name, for forks


def build_detection_model(cfg: CfgNode) -> nn.Module:
    """The model that a configuration describes, on the CPU, with its initial weights."""
    return maker(registries.META_ARCHITECTURES, cfg.MODEL.META_ARCHITECTURE, "MODEL.META_ARCHITECTURE")(cfg)
