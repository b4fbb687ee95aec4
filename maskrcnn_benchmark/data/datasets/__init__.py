from typing import TYPE_CHECKING

from maskrcnn_benchmark.utils.late_imports import late_imports

if TYPE_CHECKING:
    from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
    from maskrcnn_benchmark.data.datasets.cityscapes import CityScapesDataset
    from maskrcnn_benchmark.data.datasets.coco import COCODataset
    from maskrcnn_benchmark.data.datasets.concat_dataset import ConcatDataset
    from maskrcnn_benchmark.data.datasets.voc import PascalVOCDataset

__all__ = ["AbstractDataset", "COCODataset", "CityScapesDataset", "ConcatDataset", "PascalVOCDataset"]
__getattr__ = late_imports(
    __name__,
    {
        "AbstractDataset": "abstract",
        "COCODataset": "coco",
        "CityScapesDataset": "cityscapes",
        "ConcatDataset": "concat_dataset",
        "PascalVOCDataset": "voc",
    },
)
