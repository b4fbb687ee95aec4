from typing import TYPE_CHECKING

from maskrcnn_benchmark.utils.late_imports import late_imports

if TYPE_CHECKING:
    from maskrcnn_benchmark.data.build import make_data_loader

__all__ = ["make_data_loader"]
# Late, as building loaders takes torchvision, which takes as long to import as torch.
__getattr__ = late_imports(__name__, {"make_data_loader": "build"})
