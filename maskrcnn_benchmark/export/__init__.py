from maskrcnn_benchmark.export.files import FORMATS, quantize_onnx, write
from maskrcnn_benchmark.export.program import ExportableDetector, export_program

__all__ = ["FORMATS", "ExportableDetector", "export_program", "quantize_onnx", "write"]
