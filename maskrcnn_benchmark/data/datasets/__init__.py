from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.cityscapes import CityScapesDataset
from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.concat_dataset import ConcatDataset
from maskrcnn_benchmark.data.datasets.voc import PascalVOCDataset

__all__ = ["AbstractDataset", "COCODataset", "CityScapesDataset", "ConcatDataset", "PascalVOCDataset"]
