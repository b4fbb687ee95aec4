from maskrcnn_benchmark.export.files import FORMATS, write
from maskrcnn_benchmark.export.program import ExportableDetector, export_program

__all__ = ["FORMATS", "ExportableDetector", "export_program", "write"]
