from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer, DetectronCheckpointer

__all__ = ["Checkpointer", "DetectronCheckpointer"]
