"""What INPUT.TRANSFORMS may name: make(cfg) -> a callable that takes and returns a PIL image and its target, a BoxList."""

from maskrcnn_benchmark.utils.registry import Registry

TRANSFORMS = Registry()
