"""Data sets of one's own, and COCO's metrics for them."""

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import ConfigError
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.datasets import AbstractDataset, COCODataset
from maskrcnn_benchmark.data.datasets.evaluation import coco_evaluation, evaluate
from maskrcnn_benchmark.data.datasets.evaluation.coco import do_orig_coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco.abs_to_coco import (
    convert_abstract_to_coco,
    masks_to_rles,
    process_single_image,
)
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.datasets.list_dataset import ListDataset
from maskrcnn_benchmark.data.registries import DATASETS
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import CONFIG, options, write_coco


class Mine(AbstractDataset):
    """A COCO-format set in other clothes, doubled in size by its transforms."""

    def __init__(self, source: COCODataset):
        super().__init__()
        self.source = source
        self.CLASSES = ["__background__", *source.class_names().values()]
        self.initMaps()
        self.transforms = lambda image, target: (image, target.resize(tuple(2 * side for side in target.size)))

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, idx: int):
        image, target, _ = self.source[idx]
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, idx

    def get_img_info(self, index: int) -> dict:
        info = self.source.get_img_info(index)
        return {"width": info["width"], "height": info["height"]}


@pytest.fixture
def sets(tmp_path) -> tuple[COCODataset, Mine]:
    write_coco(tmp_path, images=6, empty=(2,))
    source = COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), remove_images_without_annotations=False)
    return source, Mine(source)


def near(dataset: COCODataset) -> list[BoxList]:
    """Detections close to the objects, some with the wrong label, with random scores."""
    rng = torch.Generator().manual_seed(0)
    predictions = []
    for i in range(len(dataset)):
        _, target, _ = dataset[i]
        found = BoxList(target.bbox + torch.randint(-2, 3, target.bbox.shape, generator=rng), target.size)
        wrong = torch.rand(len(target), generator=rng) < 0.2
        labels = target.get_field("labels")
        found.add_field("labels", torch.where(wrong, 3 - labels, labels))
        found.add_field("scores", torch.rand(len(target), generator=rng))
        masks = target.get_field("masks").get_mask_tensor().reshape(-1, target.size[1], target.size[0])
        found.add_field("rle", masks_to_rles(masks.roll(2, dims=2)))
        predictions.append(found)
    return predictions


def test_maps(sets):
    _, mine = sets
    assert mine.name_to_id == {"__background__": 0, "red": 1, "blue": 2}
    assert mine.id_to_name == {0: "__background__", 1: "red", 2: "blue"}
    assert mine.num_classes == 3 and mine.class_names() == {1: "red", 2: "blue"}
    mine.CLASSES = ["red", "blue"]
    with pytest.raises(ValueError, match="Mine.CLASSES must list .* '__background__' in front; got"):
        mine.initMaps()


def test_what_a_subclass_has_to_define():
    empty = AbstractDataset()
    for call in (lambda: empty[0], lambda: len(empty), lambda: empty.get_img_info(0)):
        with pytest.raises(NotImplementedError, match="AbstractDataset must define"):
            call()


def test_the_ground_truth_is_untransformed(sets):
    source, mine = sets
    assert mine[0][1].size == tuple(2 * side for side in source[0][1].size)
    assert mine.get_groundtruth(0).bbox.equal(source[0][1].bbox) and mine.transforms is not None


def test_converted_annotations(sets):
    source, mine = sets
    content = convert_abstract_to_coco(mine)
    assert content["categories"] == [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    assert [image["id"] for image in content["images"]] == list(range(6))
    original = [a for i in source.ids for a in source.coco.imgToAnns.get(i, [])]
    assert [a["id"] for a in content["annotations"]] == list(range(1, len(original) + 1))
    for converted, annotation in zip(content["annotations"], original, strict=True):
        assert converted["bbox"] == annotation["bbox"] and converted["iscrowd"] == 0
        mask = source.coco.annToMask(annotation)
        assert (mask_utils.decode(converted["segmentation"]) == mask).all()
        assert converted["area"] == mask.sum()
    assert process_single_image((mine, 2)) == ({"id": 2, "width": 80, "height": 64, "file_name": "2"}, [])


class Plain(AbstractDataset):
    """Sixteen images of a box each."""

    CLASSES = ("__background__", "box")

    def __init__(self):
        super().__init__()
        self.initMaps()

    def __len__(self) -> int:
        return 16

    def __getitem__(self, idx: int):
        target = BoxList([[idx, 0, idx + 9, 19]], (64, 48))
        target.add_field("labels", torch.tensor([1]))
        target.add_field("difficult", torch.tensor([idx % 2 == 1]))
        return None, target, idx

    def get_img_info(self, index: int) -> dict:
        return {"width": 64, "height": 48}


def test_several_processes_give_the_same():
    alone = convert_abstract_to_coco(Plain(), num_workers=0)
    assert convert_abstract_to_coco(Plain(), num_workers=2, chunksize=5) == alone

    class Local(Plain):  # cannot be pickled
        pass

    assert convert_abstract_to_coco(Local(), num_workers=2, chunksize=5)["annotations"] == alone["annotations"]
    transformed = Plain()
    transformed.transforms = lambda image, target: (image, target)
    assert convert_abstract_to_coco(transformed, num_workers=2, chunksize=5) == alone
    assert [a["iscrowd"] for a in alone["annotations"]] == [0, 1] * 8
    assert alone["annotations"][3]["bbox"] == [3, 0, 10, 20] and alone["annotations"][3]["area"] == 200


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_metrics_are_those_of_the_coco_format(sets, tmp_path, task):
    source, mine = sets
    predictions = near(source)
    expected, _ = do_orig_coco_evaluation(source, predictions, False, None, (task,))
    measured, entries = evaluate(mine, predictions, str(tmp_path), box_only=False, iou_types=(task,))
    assert measured.results == expected.results and measured.per_class == expected.per_class
    assert 0.05 < measured.results[task]["AP"] < 0.95
    assert {e["category_id"] for e in entries[task]} == {1, 2} and (tmp_path / f"{task}.json").exists()


def test_recall_of_proposals(sets):
    source, mine = sets
    predictions = near(source)
    for p in predictions:
        p.add_field("objectness", p.get_field("scores"))
    expected, _ = do_orig_coco_evaluation(source, predictions, True, None, ("bbox",))
    measured, _ = coco_evaluation(mine, predictions, None, True, ("bbox",))
    assert measured.results == expected.results


def test_what_cannot_be_evaluated(sets):
    _, mine = sets
    with pytest.raises(ValueError, match="Plain has no masks to evaluate masks against"):
        evaluate(Plain(), [], None, box_only=False, iou_types=("segm",))
    with pytest.raises(ValueError, match="COCO's metrics need .* got a list"):
        coco_evaluation([], [], None, False, ("bbox",))
    mine.get_groundtruth = lambda idx: mine[idx][1]
    with pytest.raises(ValueError, match=r"Mine: image 0 has the size \(80, 64\) .* one of \(160, 128\)"):
        convert_abstract_to_coco(mine)
    with pytest.raises(ValueError, match=r"shape \[N, height, width\]; got \[4, 5\]"):
        masks_to_rles(torch.zeros(4, 5))


def test_without_annotations_detections_are_written(sets, tmp_path):
    source, mine = sets
    mine.has_annotations = False
    assert "annotations" not in convert_abstract_to_coco(mine)
    measured, entries = evaluate(mine, near(source), str(tmp_path), box_only=False, iou_types=("bbox",))
    assert set(measured.results["bbox"].values()) == {-1.0} and len(entries["bbox"]) == 10


def test_a_list_of_images(tmp_path):
    paths = []
    for i, size in enumerate([(20, 10), (12, 30)]):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(np.full((size[1], size[0]), 50 * i, np.uint8)).save(paths[-1])
    dataset = ListDataset(paths)
    image, target, index = dataset[1]
    assert len(dataset) == 2 and index == 1 and image.mode == "RGB" and image.size == (12, 30)
    assert target.bbox.tolist() == [[0, 0, 11, 29]]
    assert dataset.get_img_info(0) == {"file_name": paths[0], "width": 20, "height": 10}
    turned = ListDataset(paths, lambda image, target: (image, target.transpose(0)))
    assert turned[0][1].bbox.tolist() == [[0, 0, 19, 9]] and turned[0][2] == 0
    with pytest.raises(ValueError, match="takes a list"):
        ListDataset(paths[0])
    with pytest.raises(BrokenImageError, match="no.png cannot be read"):
        ListDataset([str(tmp_path / "no.png")])[0]


class Boxes(AbstractDataset):
    """Four images of a box each, labelled 1 and 2; `change` is called with what an item consists of."""

    CLASSES = ("__background__", "a", "b")
    change = staticmethod(lambda image, target: (image, target))

    def __init__(self, transforms=None):
        super().__init__()
        self.initMaps()
        self.transforms = transforms

    def __len__(self) -> int:
        return 4

    def get_img_info(self, index: int) -> dict:
        return {"width": 64, "height": 48}

    def get_groundtruth(self, idx: int) -> BoxList:
        target = BoxList([[idx, 0, idx + 29, 29]], (64, 48))
        target.add_field("labels", torch.tensor([1 + idx % 2]))
        return target

    def __getitem__(self, idx: int):
        image, target = self.change(Image.new("RGB", (64, 48)), self.get_groundtruth(idx))
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, idx


@pytest.fixture
def load(tmp_path, monkeypatch):
    """All batches of data sets of the classes given, joined for a training; keys as in tests.support.helpers.options."""

    def make(*kinds: type, is_train: bool = True, **keys: object) -> list:
        names = [f"mine{i}" for i in range(len(kinds))]
        for name, kind in zip(names, kinds, strict=True):
            monkeypatch.setitem(DATASETS, name, kind)
            keys[f"DATASETS__DEFINITIONS__{name}__FACTORY"] = name
        config = defaults.clone()
        config.merge_from_file(str(CONFIG))
        config.merge_from_list(options(tmp_path, MODEL__MASK_ON=False, SOLVER__MAX_ITER=6, **keys))
        config.merge_from_list(["DATASETS.TRAIN", tuple(names), "DATASETS.TEST", tuple(names)])
        loader = make_data_loader(config, is_train=is_train)
        return list(loader if is_train else loader[0])

    return make


def shifted(by: int) -> type[Boxes]:
    """A data set whose labels are not those of its classes."""

    class Shifted(Boxes):
        def get_groundtruth(self, idx: int) -> BoxList:
            target = super().get_groundtruth(idx)
            target.add_field("labels", target.get_field("labels") + by)
            return target

    return Shifted


def test_labels_that_no_class_has_are_named_before_anything_is_loaded(load):
    said = r"Image {} of {}: an object has the label {}; labels must be 1 to 2, as 0 is the background\."
    for is_train in (True, False):
        assert len(load(Boxes, is_train=is_train)) > 1
        with pytest.raises(ConfigError, match=said.format(0, "mine0", 0)):
            load(shifted(-1), is_train=is_train)
    with pytest.raises(ConfigError, match=said.format(1, "mine1", 3)):
        load(Boxes, shifted(1))
    load(shifted(-1), MODEL__RPN_ONLY=True)  # proposals have no labels


class Relabelled(Boxes):
    """Whose labels become wrong when it is read."""

    @staticmethod
    def change(image, target):
        target.add_field("labels", torch.where(target.bbox[:, 0] == 3, 7, target.get_field("labels")))
        return image, target


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("is_train", [True, False])
def test_labels_are_checked_as_they_are_loaded(load, is_train, workers):
    with pytest.raises(ConfigError) as error:
        load(Relabelled, is_train=is_train, DATALOADER__NUM_WORKERS=workers)
    assert str(error.value) == (
        "Image 3 of mine0: an object has the label 7; labels must be 1 to 2, as 0 is the background."
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image, target: (np.array(image), target), r"PIL image; got a numpy array of the shape \[48, 64, 3\]"),
        (lambda image, target: (image.convert("L"), target), "of the mode RGB; got an image of the mode L"),
        (lambda image, target: (None, target), "PIL image; got None"),
        (lambda image, target: (image, target.copy_with_fields([])), 'the field "labels"; got one without it'),
        (lambda image, target: (image, None), 'a BoxList with the field "labels"; got None'),
    ],
)
def test_what_is_no_image_or_has_no_objects_is_said(load, change, said):
    class Changed(Boxes):
        pass

    Changed.change = staticmethod(change)
    with pytest.raises(ConfigError, match=f"Image . of mine0: .*{said}"):
        load(Changed)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (lambda whole: whole[:2], "must return three things, .*; got a tuple of 2"),
        (lambda whole: None, "must return three things, .*; got None"),
        (lambda whole: (Image.new("RGB", (4, 4)), *whole[1:]), "`self.transforms`, .*; got an image of the mode RGB"),
    ],
)
def test_items_of_another_form_are_said(load, item, said):
    class Changed(Boxes):
        def __getitem__(self, idx):
            return item(super().__getitem__(idx))

    with pytest.raises(ConfigError, match=f"Image . of mine0: .*{said}"):
        load(Changed)


def test_a_list_of_labels_is_said(load):
    class Listed(Boxes):
        def get_groundtruth(self, idx: int) -> BoxList:
            target = super().get_groundtruth(idx)
            target.add_field("labels", [1, 2])
            return target

    with pytest.raises(ConfigError, match="must be a Tensor.N., of 1 here as there are boxes; got a list of 2"):
        load(Listed)


def test_a_data_set_without_transforms_or_sizes_is_said(load):
    class NoTransforms(Boxes):
        def __init__(self):
            super().__init__()

    class NoSizes(Boxes):
        def get_img_info(self, index: int) -> dict:
            return {"w": 64}

    with pytest.raises(
        ConfigError, match=r"set mine0: mine0\(\) does not take its arguments, transforms: got an unexpected"
    ):
        load(NoTransforms)
    with pytest.raises(ConfigError, match=r"NoSizes.get_img_info\(0\) must return .*; got {'w': 64}"):
        load(NoSizes)


class HalfEmpty(Boxes):
    def get_groundtruth(self, idx: int) -> BoxList:
        return super().get_groundtruth(idx)[: idx % 2]


class Filtered(HalfEmpty):
    def __init__(self, filter_empty_annotations=False, transforms=None):
        super().__init__(transforms)
        self.kept = [1, 3] if filter_empty_annotations else [0, 1, 2, 3]

    def __len__(self) -> int:
        return len(self.kept)

    def get_groundtruth(self, idx: int) -> BoxList:
        return super().get_groundtruth(self.kept[idx])


def test_a_data_set_is_told_to_leave_out_images_without_objects(load, log):
    def empty(*kinds, **keys):
        return sum(len(target) == 0 for _, targets, _ in load(*kinds, **keys) for target in targets)

    assert not empty(Filtered) and not log.records
    assert empty(Filtered, DATALOADER__FILTER_EMPTY_ANNOTATIONS=False) and empty(Filtered, is_train=False) == 2
    assert empty(HalfEmpty, DATALOADER__FILTER_EMPTY_ANNOTATIONS=False) and not log.records
    assert empty(HalfEmpty)
    assert [record.getMessage() for record in log.records] == [
        "mine0 has images without objects (2 of 4 images looked at), and they are trained on: "
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS has no effect on HalfEmpty, whose constructor has no argument "
        "filter_empty_annotations. Set it to False if they are wanted."
    ]
