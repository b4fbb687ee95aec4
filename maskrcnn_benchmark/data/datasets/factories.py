from maskrcnn_benchmark.data.datasets.cityscapes import CityScapesDataset
from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.voc import PascalVOCDataset
from maskrcnn_benchmark.utils.registry import Registry

# Classes that the catalog and DATASETS.DEFINITIONS may name; a class of your own: DATASETS.register("Name", Class).
DATASETS = Registry(
    {"COCODataset": COCODataset, "PascalVOCDataset": PascalVOCDataset, "CityScapesDataset": CityScapesDataset}
)
