"""What a configuration or a data set may name: kinds of data sets, and evaluators. One's own is registered in one line."""

from maskrcnn_benchmark.data.datasets.cityscapes import CityScapesDataset
from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.voc import PascalVOCDataset
from maskrcnn_benchmark.utils.registry import Registry

# FACTORY in DATASETS.DEFINITIONS, "factory" in the catalog: make(**arguments, transforms=...) -> a data set.
DATASETS = Registry(
    {"COCODataset": COCODataset, "PascalVOCDataset": PascalVOCDataset, "CityScapesDataset": CityScapesDataset}
)
# A data set's attribute `evaluator`: make(dataset, output_folder, tasks, proposals) -> an Evaluator.
EVALUATORS = Registry()
