from torch import nn

from maskrcnn_benchmark.modeling.detector.generalized_rcnn import GeneralizedRCNN
from maskrcnn_benchmark.utils.registry import Registry

_DETECTION_META_ARCHITECTURES = Registry({"GeneralizedRCNN": GeneralizedRCNN})


def build_detection_model(cfg) -> nn.Module:
    """The model that a configuration describes, on the CPU, with its initial weights."""
    return _DETECTION_META_ARCHITECTURES[cfg.MODEL.META_ARCHITECTURE](cfg)
