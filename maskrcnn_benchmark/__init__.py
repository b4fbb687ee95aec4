"""maskrcnn_benchmark: two-stage object detection with Efficient Non-Local context in the feature pyramid."""

from ._copies import use_loaded_operators

__version__ = "1.0.0"

use_loaded_operators(__name__)
