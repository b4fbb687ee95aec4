from maskrcnn_benchmark.modeling.sampling import BalancedPositiveNegativeSampler

__all__ = ["BalancedPositiveNegativeSampler"]
