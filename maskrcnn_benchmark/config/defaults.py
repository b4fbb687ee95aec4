from maskrcnn_benchmark.config.standard import STANDARD

_C = STANDARD.clone()
