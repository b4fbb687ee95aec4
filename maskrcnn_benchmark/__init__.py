"""maskrcnn_benchmark: two-stage object detection with Efficient Non-Local context in the feature pyramid."""

__version__ = "1.0.0"
