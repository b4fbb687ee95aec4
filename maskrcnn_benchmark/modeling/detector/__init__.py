from maskrcnn_benchmark.modeling.detector.detectors import build_detection_model

__all__ = ["build_detection_model"]
