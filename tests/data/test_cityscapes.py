"""Reading Cityscapes, as bitmaps and as polygons."""

import pytest

from maskrcnn_benchmark.data.datasets import CityScapesDataset
from tests.support.cityscapes_set import SIZE, write_cityscapes


@pytest.fixture
def make(tmp_path):
    write_cityscapes(tmp_path)

    def build(split: str = "val", **options):
        return CityScapesDataset(str(tmp_path / "leftImg8bit"), str(tmp_path / "gtFine"), split, **options)

    return build


def names(dataset: CityScapesDataset, target) -> list[str]:
    return [dataset.id_to_name[label] for label in target.get_field("labels").tolist()]


def test_bitmaps_show_what_is_seen(make):
    dataset = make()
    image, target, index = dataset[0]
    assert image.size == target.size == SIZE and index == 0 and len(dataset) == 3
    assert names(dataset, target) == ["car", "car"]  # the group is left out
    assert target.bbox.tolist() == [[4, 10, 40, 40], [30, 20, 60, 50]]
    masks = target.get_field("masks")
    assert masks.mode == "mask"
    hidden = 11 * 21
    assert masks.get_mask_tensor().sum((1, 2)).tolist() == [37 * 31 - hidden, 31 * 31]


def test_polygons_go_on_behind_others(make):
    dataset = make(mode="poly")
    _, target, _ = dataset[0]
    assert names(dataset, target) == ["car", "car"]
    assert target.bbox.tolist() == [[4, 10, 40, 40], [30, 20, 60, 50]]
    masks = target.get_field("masks")
    assert masks.mode == "poly"
    assert masks.instances.polygons[0].polygons[0].tolist() == [4, 10, 40, 10, 40, 40, 4, 40]


@pytest.mark.parametrize("mode", ["mask", "poly"])
def test_classes(make, mode):
    eight, ten = make(mode=mode), make(mode=mode, all_classes=True)
    assert eight.CLASSES[1:] == ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]
    assert (eight.num_classes, ten.num_classes) == (9, 11)
    assert ten.CLASSES[6:8] == ["caravan", "trailer"]
    assert names(eight, eight[1][1]) == ["bicycle"] and names(ten, ten[1][1]) == ["caravan", "bicycle"]
    assert names(eight, eight[2][1]) == ["person", "rider"]


@pytest.mark.parametrize("mode", ["mask", "poly"])
def test_regions_that_are_ignored(make, tmp_path, mode):
    dataset = make(mode=mode)
    car, person = (dataset.ignored_regions(0)[dataset.name_to_id[name]] for name in ("car", "person"))
    assert car.shape == SIZE[::-1] and car[0, 0] and person[0, 0]  # unlabelled
    assert car[10, 80] and not person[10, 80]  # a group of cars
    assert not car[30, 20] and not car[62, 10]  # a car, the road
    if mode == "poly":
        next(tmp_path.rglob("aachen_000000*instanceIds.png")).unlink()
        assert dataset.ignored_regions(0) == {}


@pytest.mark.parametrize(("mode", "area"), [("mask", 25), ("poly", 16)])  # 4 x 6 pixels; a polygon of 3 x 5
def test_small_objects_can_be_left_out(make, mode, area):
    dataset = make(mode=mode, min_area=area)
    assert names(dataset, dataset[2][1]) == ["rider"]
    assert len(make(mode=mode, min_area=area - 1)[2][1]) == 2


def test_transforms_mini_and_infos(make):
    dataset = make(transforms=lambda image, target: (image, target.resize((192, 128))), mini=2)
    assert len(dataset) == 2 and dataset[1][1].bbox.tolist() == [[100, 20, 140, 60]]
    assert dataset.get_groundtruth(1).bbox.tolist() == [[50, 10, 70, 30]]
    info = dataset.get_img_info(1)
    assert (info["width"], info["height"], info["id"]) == (*SIZE, 1)
    assert info["file_name"] == "aachen/aachen_000001_000019_leftImg8bit.png"


def test_what_does_not_fit(make, tmp_path):
    with pytest.raises(ValueError, match="got 'minival' and 'mask'"):
        make("minival")
    with pytest.raises(ValueError, match="got 'val' and 'polygons'"):
        make(mode="polygons")
    with pytest.raises(FileNotFoundError, match="There are no images .*train"):
        make("train")
    city = tmp_path / "gtFine" / "val" / "aachen"
    (city / "aachen_000000_000019_gtFine_polygons.json").write_text('{"imgWidth": 3}')
    with pytest.raises(ValueError, match="polygons.json is not a file of Cityscapes polygons"):
        make(mode="poly")[0]
    (city / "aachen_000000_000019_gtFine_instanceIds.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="instanceIds.png cannot be read"):
        make()[0]
    (city / "aachen_000000_000019_gtFine_instanceIds.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 images .* has no annotation"):
        make()
