from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer, DetectronCheckpointer
from maskrcnn_benchmark.checkpoint.errors import CheckpointError

__all__ = ["CheckpointError", "Checkpointer", "DetectronCheckpointer"]
