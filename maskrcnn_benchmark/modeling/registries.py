"""What a configuration may name: detectors, backbones and heads.

Those that maskrcnn-benchmark knows are those of registry.py, where forks and programs of one's own register theirs too; a
fork's registry.py of before 2019 lacks the later ones, which are then made here.
"""

from typing import Any

from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.utils.registry import Registry


def _of(name: str) -> Any:
    found = getattr(registry, name, None)
    return Registry() if found is None else found


# MODEL.META_ARCHITECTURE: make(cfg) -> a detector.
META_ARCHITECTURES = Registry()
# MODEL.ROI_HEADS.NAME, all heads together, and MODEL.ROI_BOX_HEAD.NAME, ROI_MASK_HEAD.NAME and ROI_KEYPOINT_HEAD.NAME, one of
# them: make(cfg, in_channels) -> a module like CombinedROIHeads or ROIBoxHead.
ROI_HEADS = Registry()

BACKBONES = _of("BACKBONES")
RPN_HEADS = _of("RPN_HEADS")
ROI_BOX_FEATURE_EXTRACTORS = _of("ROI_BOX_FEATURE_EXTRACTORS")
ROI_BOX_PREDICTOR = _of("ROI_BOX_PREDICTOR")
ROI_MASK_FEATURE_EXTRACTORS = _of("ROI_MASK_FEATURE_EXTRACTORS")
ROI_MASK_PREDICTOR = _of("ROI_MASK_PREDICTOR")
ROI_KEYPOINT_FEATURE_EXTRACTORS = _of("ROI_KEYPOINT_FEATURE_EXTRACTORS")
ROI_KEYPOINT_PREDICTOR = _of("ROI_KEYPOINT_PREDICTOR")
