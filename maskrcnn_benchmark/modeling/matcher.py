from maskrcnn_benchmark.modeling.matching import Matcher

__all__ = ["Matcher"]
