from .algebra import Weights
from .cost import multiply_adds, multiply_adds_backward
from .op import efficient_non_local

__all__ = ["Weights", "efficient_non_local", "multiply_adds", "multiply_adds_backward"]
