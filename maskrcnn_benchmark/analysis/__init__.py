from maskrcnn_benchmark.analysis.memory import peak_memory
from maskrcnn_benchmark.analysis.report import Analysis, ModuleCost, analyze
from maskrcnn_benchmark.analysis.shapes import FlopCount, Regions, build_without_data, saved_for_backward

__all__ = [
    "Analysis",
    "FlopCount",
    "ModuleCost",
    "Regions",
    "analyze",
    "build_without_data",
    "peak_memory",
    "saved_for_backward",
]
