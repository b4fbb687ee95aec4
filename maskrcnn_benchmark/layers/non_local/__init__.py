"""Non-local context: the kinds (modules.py), their equations, and ENL as one operator with kernels for CPU and GPU."""

from .algebra import Weights
from .linear_attention import LinearAttention
from .modules import NON_LOCAL, DotProduct, EfficientNonLocal, EmbeddedGaussian, NonLocal, NonLocal2d, PairWeights
from .operator import efficient_non_local

__all__ = [
    "NON_LOCAL",
    "DotProduct",
    "EfficientNonLocal",
    "EmbeddedGaussian",
    "LinearAttention",
    "NonLocal",
    "NonLocal2d",
    "PairWeights",
    "Weights",
    "efficient_non_local",
]
