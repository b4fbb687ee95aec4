class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read or used; the message is one sentence."""


class ShapeMismatchError(ValueError):
    """Weights of another shape than the model's; the message lists them."""
