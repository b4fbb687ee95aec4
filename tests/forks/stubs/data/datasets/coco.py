"""A fork's own COCO data set, on torchvision's."""

import torch
import torchvision

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

min_keypoints_per_image = 10


def _count_visible_keypoints(anno):
    return sum(v > 0 for obj in anno for v in obj["keypoints"][2::3])


def _has_only_empty_bbox(anno):
    return all(min(obj["bbox"][2:]) <= 1 for obj in anno)


def has_valid_annotation(anno):
    if not anno or _has_only_empty_bbox(anno):
        return False
    return "keypoints" not in anno[0] or _count_visible_keypoints(anno) >= min_keypoints_per_image


class COCODataset(torchvision.datasets.coco.CocoDetection):
    def __init__(self, ann_file, root, remove_images_without_annotations, transforms=None):
        super().__init__(root, ann_file)
        if remove_images_without_annotations:
            self.ids = [i for i in self.ids if has_valid_annotation(self.coco.loadAnns(self.coco.getAnnIds(i)))]
        self.categories = {c["id"]: c["name"] for c in self.coco.cats.values()}
        self.json_category_id_to_contiguous_id = {v: i + 1 for i, v in enumerate(self.coco.getCatIds())}
        self.contiguous_category_id_to_json_id = {v: k for k, v in self.json_category_id_to_contiguous_id.items()}
        self.id_to_img_map = dict(enumerate(self.ids))
        self._transforms = transforms

    def __getitem__(self, idx):
        image, anno = super().__getitem__(idx)
        anno = [obj for obj in anno if obj["iscrowd"] == 0]
        boxes = torch.as_tensor([obj["bbox"] for obj in anno]).reshape(-1, 4)
        target = BoxList(boxes, image.size, mode="xywh").convert("xyxy")
        labels = [self.json_category_id_to_contiguous_id[obj["category_id"]] for obj in anno]
        target.add_field("labels", torch.tensor(labels))
        if anno and "segmentation" in anno[0]:
            target.add_field("masks", self._masks(anno, image.size))
        if anno and "keypoints" in anno[0]:
            target.add_field("keypoints", PersonKeypoints([obj["keypoints"] for obj in anno], image.size))
        target = target.clip_to_image(remove_empty=True)
        if self._transforms is not None:
            image, target = self._transforms(image, target)
        return image, target, idx

    def _masks(self, anno, size):
        if all(isinstance(obj["segmentation"], list) for obj in anno):
            return SegmentationMask([obj["segmentation"] for obj in anno], size, mode="poly")
        bitmaps = [torch.from_numpy(self.coco.annToMask(obj)) for obj in anno]
        return SegmentationMask(torch.stack(bitmaps), size, mode="mask")

    def get_img_info(self, index):
        return self.coco.imgs[self.id_to_img_map[index]]
