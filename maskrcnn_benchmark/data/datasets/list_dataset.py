"""Images without annotations."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset

from maskrcnn_benchmark.data.datasets.images import image_size, read_rgb
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import PIXEL


class ListDataset(Dataset):
    """Image files to detect on.

    Args:
        image_lists: paths of the images.
        transforms: called as transforms(image, target).

    An item is (image, BoxList of one box that covers the image, index).
    """

    def __init__(self, image_lists: Sequence[str], transforms: Callable[[Any, Any], tuple[Any, Any]] | None = None):
        if isinstance(image_lists, str):
            raise ValueError(f"ListDataset takes a list of image files; got the single string {image_lists!r}.")
        self.image_lists = list(image_lists)
        self.transforms = transforms

    def __getitem__(self, item: int) -> tuple[Any, BoxList, int]:
        image = read_rgb(self.image_lists[item])
        width, height = image.size
        target = BoxList([[0, 0, width - PIXEL, height - PIXEL]], image.size)
        if self.transforms is not None:
            return *self.transforms(image, target), item
        return image, target, item

    def __len__(self) -> int:
        return len(self.image_lists)

    def get_img_info(self, item: int) -> dict:
        """ "file_name", and "width" and "height" in pixels."""
        width, height = image_size(self.image_lists[item])
        return {"file_name": self.image_lists[item], "width": width, "height": height}
