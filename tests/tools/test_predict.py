"""tools/predict.py on pictures, folders, patterns, videos, a stream, and on what is none of these."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets.images import ORIENTATION
from maskrcnn_benchmark.engine import Predictor, predictor_options
from maskrcnn_benchmark.engine.predict_files import find_inputs
from maskrcnn_benchmark.utils.video import Video, VideoWriter
from tests.support.helpers import write_coco
from tests.support.mjpeg import mjpeg_server
from tests.support.tiny import write_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> list[str]:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def predict(run_tool, tiny, tmp_path):
    def call(*words: object, model: tuple = ("--config-file", tiny[0], "--ckpt", tiny[1])) -> tuple[int, str]:
        return run_tool("predict", *model, "--threshold", 0, "--top-k", 3, "--out", tmp_path / "out", *words)

    return call


def written(tmp_path) -> tuple[dict, list]:
    return tuple(json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("images", "predictions"))  # type: ignore


def write_video(path, frames: int = 4, fps: float = 5):
    with VideoWriter(path, fps) as writer:
        for i in range(frames):
            writer.write(np.full((48, 64, 3), 50 * i, np.uint8))
    return path


def test_a_folder_a_pattern_and_a_video(predict, tiny, tmp_path):
    write_coco(tmp_path, images=3)
    (tmp_path / "set" / "deep").mkdir()
    cv2.imwrite(str(tmp_path / "set" / "deep" / "0.jpg"), np.zeros((50, 70, 3), np.uint8))
    (tmp_path / "set" / "notes.txt").write_text("not a picture")
    video = write_video(tmp_path / "clip.mp4")
    code, printed = predict("--input", tmp_path / "set", str(tmp_path / "se?" / "1.jpg"), video)
    assert code == 0 and "24 detections in 8 images" in printed, printed
    images, predictions = written(tmp_path)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == sorted(["0.jpg", "0_2.jpg", "1.jpg", "2.jpg", "clip.mp4", "images.json", "predictions.json"])
    assert [i["id"] for i in images["images"]] == list(range(1, 9))
    assert [i.get("frame") for i in images["images"]] == [None] * 4 + [0, 1, 2, 3]
    of_second = [p for p in predictions if p["image_id"] == images["images"][1]["id"]]
    predictor = Predictor(*tiny, threshold=0, top_k=3)
    assert of_second == json.loads(json.dumps(predictor.coco(predictor(tmp_path / "set" / "1.jpg"), 2)))
    with Video(tmp_path / "out" / "clip.mp4") as drawn:
        assert drawn.fps == pytest.approx(5) and [f.shape for f in drawn] == [(480, 640, 3)] * 4
    loaded = COCO(str(tmp_path / "out" / "images.json")).loadRes(str(tmp_path / "out" / "predictions.json"))
    assert len(loaded.anns) == 24 and loaded.annToMask(loaded.anns[1]).shape == (64, 80)


def test_it_goes_on_past_broken_files_and_says_so(predict, tmp_path):
    write_coco(tmp_path, images=2)
    (tmp_path / "set" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "set" / "cut.mp4").write_bytes(b"no video" * 50)
    (tmp_path / "set" / "a.png").write_bytes(cv2.imencode(".png", np.zeros((90, 90, 3), np.uint8))[1].tobytes()[:50])
    code, printed = predict("--input", tmp_path / "set", "--no-drawing")
    assert code == 1
    lines = printed.splitlines()
    assert "6 detections in 2 images" in lines[-5] and "3 of 5 inputs could not be used" in lines[-4]
    assert "a.png cannot be read" in lines[-3] and "broken.jpg cannot be read" in lines[-2] and "cut.mp4" in lines[-1]
    images, predictions = written(tmp_path)
    assert [i["file_name"][-5:] for i in images["images"]] == ["0.jpg", "1.jpg"]
    assert len(predictions) == 6 and len(list((tmp_path / "out").iterdir())) == 2


def test_ids_of_an_annotation_file(predict, tmp_path):
    write_coco(tmp_path, images=2)
    cv2.imwrite(str(tmp_path / "set" / "new.jpg"), np.zeros((50, 70, 3), np.uint8))
    code, printed = predict("--input", tmp_path / "set", "--ann-file", tmp_path / "set.json", "--no-drawing")
    assert code == 1 and "names no image new.jpg" in printed
    images, predictions = written(tmp_path)
    assert [i["id"] for i in images["images"]] == [10, 11] and {p["image_id"] for p in predictions} == {10, 11}


def test_images_are_read_the_way_up_that_they_were_annotated(predict, tiny, tmp_path):
    (tmp_path / "set").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    for name, orientation in (("stored", 6), ("half", 3), ("plain", 1)):
        image = Image.fromarray(pixels)
        exif = image.getexif()
        exif[ORIENTATION] = orientation
        image.save(tmp_path / "set" / f"{name}.png", exif=exif)
    entries = [
        {"id": 7 + i, "file_name": f"{name}.png", "width": width, "height": 64}
        for i, (name, width) in enumerate({"stored": 96, "half": 96, "plain": 97}.items())
    ]
    content = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "set.json").write_text(json.dumps(content))
    code, printed = predict("--input", tmp_path / "set", "--ann-file", tmp_path / "set.json")
    assert code == 1 and "1 of 3 inputs" in printed and "annotations" in printed.splitlines()[-1], printed
    assert "plain.png is 96 x 64 pixels (width x height)" in printed.splitlines()[-1]
    images, predictions = written(tmp_path)
    assert [(i["id"], i["width"], i["height"]) for i in images["images"]] == [(8, 96, 64), (7, 96, 64)]
    predictor = Predictor(*tiny, threshold=0, top_k=3)
    stored = predictor(Image.fromarray(pixels))
    for image_id in (7, 8):
        of_image = [p for p in predictions if p["image_id"] == image_id]
        assert of_image == json.loads(json.dumps(predictor.coco(stored, image_id)))
    assert (
        cv2.imread(str(tmp_path / "out" / "stored.png")).shape == predictor.draw(Image.fromarray(pixels), stored).shape
    )


@pytest.mark.parametrize(
    ("named", "ids"), [({"blue": 5, "red": 9}, {1: 9, 2: 5}), ({"blue": 1}, {1: 2, 2: 1}), ({"x": 3}, {1: 1, 2: 2})]
)
def test_classes_have_the_ids_of_the_annotation_file(predict, tmp_path, named, ids):
    """By name: labels 1 and 2 of the model are red and blue."""
    write_coco(tmp_path, images=1)
    found = {}
    for words in ((), ("--ann-file", tmp_path / "set.json")):
        content = json.loads((tmp_path / "set.json").read_text())
        content["categories"] = [{"id": i, "name": name} for name, i in named.items()]
        content["annotations"] = []
        (tmp_path / "set.json").write_text(json.dumps(content))
        code, printed = predict("--input", tmp_path / "set", "--no-drawing", *words)
        assert code == 0, printed
        images, predictions = written(tmp_path)
        found[bool(words)] = [p["category_id"] for p in predictions]
        shutil.rmtree(tmp_path / "out")
    assert found[True] == [ids[label] for label in found[False]] and found[True]
    assert {c["name"]: c["id"] for c in images["categories"]} == {"red": ids[1], "blue": ids[2]}
    assert ("No class of the model" in printed) == ("x" in named)


def test_what_was_found_before_an_interruption_is_kept(predict, tmp_path, monkeypatch):
    write_coco(tmp_path, images=3)
    draw = Predictor.draw

    def interrupted(self, image, found):
        if len(list((tmp_path / "out").glob("*.jpg"))) == 1:
            raise KeyboardInterrupt
        return draw(self, image, found)

    monkeypatch.setattr(Predictor, "draw", interrupted)
    code, printed = predict("--input", tmp_path / "set")
    assert code == 130 and printed.splitlines()[-1] == "Interrupted."
    images, predictions = written(tmp_path)
    assert [i["id"] for i in images["images"]] == [1] and len(predictions) == 3
    assert not list((tmp_path / "out").glob("*.partial"))
    monkeypatch.setattr(Predictor, "draw", draw)
    code, printed = predict("--input", tmp_path / "set")
    assert code == 0 and "1 input is done already" in printed and "9 detections in 3 images" in printed
    assert not (tmp_path / "out" / "shards").exists()


def test_the_first_frames_of_a_stream(predict, tmp_path):
    with mjpeg_server([np.full((48, 64, 3), i, np.uint8) for i in range(200)]) as address:
        code, printed = predict("--input", address, "--frames", 5)
    assert code == 0 and "15 detections in 5 images" in printed, printed
    with Video(tmp_path / "out" / "stream.mp4") as drawn:
        assert len(list(drawn)) == 5


def test_nothing_is_found(predict, tmp_path):
    write_coco(tmp_path, images=1)
    code, printed = predict("--input", tmp_path / "set", "--threshold", 1)
    assert code == 0 and "0 detections in 1 image: " in printed
    assert written(tmp_path)[1] == [] and (tmp_path / "out" / "0.jpg").exists()


def test_weights_alone_find_their_configuration(predict, tiny, tmp_path, monkeypatch):
    write_coco(tmp_path, images=1)
    code, printed = predict("--input", tmp_path / "set", model=("--ckpt", tiny[1]))
    assert code == 0 and "3 detections" in printed
    config, weights = write_model(tmp_path / "shipped", "relations_enl", half=True)
    monkeypatch.setattr(predictor_options.shipped, "MODEL", tmp_path / "shipped" / "relations_enl")
    code, printed = predict("--input", tmp_path / "set", model=())
    assert code == 0 and "3 detections" in printed and weights in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--input", "no/such.jpg"), "There is no file, folder or pattern no/such.jpg to predict on."),
        (("--input", "x.jpg", "MODEL.DEVICE", "cpu"), "no file, folder or pattern x.jpg"),
        (("--input", "{set}/0.jpg", "MODLE.DEVICE", "cpu"), "no configuration key 'MODLE'; did you mean 'MODEL'?"),
        (("--input", "{set}", "TEST.OPTIMIZE", "3", "--top-k", "2"), "TEST.OPTIMIZE"),
        (("--input", "{empty}"), "There is no picture and no video in the folder"),
        (("--input", "{set}", "--classes", "rod"), "Did you mean 'red'?"),
        (("--input", "{set}", "--ckpt", "no.pth"), "There is no checkpoint 'no.pth'"),
        (("--input", "{set}", "--config-file", "no.yaml"), "no configuration file 'no.yaml'"),
        (("--input", "{set}", "--ann-file", "no.json"), "There is no annotation file 'no.json'"),
        (("--input", "{set}", "--out", "{set}/0.jpg"), "is a file; name a folder"),
        (("--input", "{set}", "--frames", "0"), "--frames must be 1 or more; got 0"),
        (("--input", "{set}", "--threshold", "7"), "from 0 to 1; got 7"),
    ],
)
def test_said_in_a_sentence(predict, tmp_path, words, said):
    write_coco(tmp_path, images=1)
    (tmp_path / "empty").mkdir()
    code, printed = predict(*(w.format(set=tmp_path / "set", empty=tmp_path / "empty") for w in words))
    assert code == 1 and said in printed.splitlines()[-1] and "Traceback" not in printed


def test_without_the_model_of_the_package(predict, tmp_path, monkeypatch):
    write_coco(tmp_path, images=1)
    monkeypatch.setattr(predictor_options.shipped, "MODEL", tmp_path / "none")
    code, printed = predict("--input", tmp_path / "set", model=())
    assert code == 1 and "No model was named, and the one that comes with the package" in printed.splitlines()[-1]


@pytest.mark.parametrize(
    "name", ["with spaces", "run [1]", "100% %03d", "back\\slash", "a*b?", "{x}", "-dash", "Größe 猫"]
)
def test_folders_of_any_name(predict, tmp_path, name):
    folder = tmp_path / name / "deep"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "0 [a]%d.jpg"), np.zeros((50, 70, 3), np.uint8))
    write_video(folder / "clip %d.mp4")
    found = find_inputs([str(tmp_path / name)])
    assert [Path(path).name for path in found] == ["0 [a]%d.jpg", "clip %d.mp4"]
    assert find_inputs([str(folder / "*.jpg")]) == find_inputs([str(tmp_path / name / "**" / "*.jpg")]) == found[:1]
    code, printed = predict("--input", tmp_path / name, "--out", tmp_path / name / "out")
    assert code == 0 and "in 5 images" in printed, printed
    names = sorted(p.name for p in (tmp_path / name / "out").iterdir())
    assert names == ["0 [a]%d.jpg", "clip %d.mp4", "images.json", "predictions.json"]


def test_originals_are_never_drawn_over(predict, tmp_path):
    write_coco(tmp_path, images=2)
    pictures = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    for source in (tmp_path / "set", sorted(pictures)[0], tmp_path / "set" / "*"):
        code, printed = predict("--input", source, "--out", tmp_path / "set")
        assert code == 1 and "itself, which what is written would replace" in printed.splitlines()[-1], printed
    assert {path: path.read_bytes() for path in (tmp_path / "set").iterdir()} == pictures
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "0.jpg").write_bytes(pictures[tmp_path / "set" / "1.jpg"])
    code, printed = predict("--input", tmp_path / "other", "--out", tmp_path / "set")
    assert code == 1 and "0.jpg is there already, and a drawing would replace it" in printed.splitlines()[-1], printed
    assert {path: path.read_bytes() for path in (tmp_path / "set").iterdir() if path in pictures} == pictures
    assert predict("--input", tmp_path / "set", "--out", tmp_path / "set", "--no-drawing")[0] == 0
    assert {path: path.read_bytes() for path in pictures} == pictures


def test_results_below_the_input_are_no_input(predict, tmp_path):
    write_coco(tmp_path, images=2)
    for _ in range(2):
        for source in (tmp_path / "set", tmp_path / "set" / "**" / "*.*"):
            code, printed = predict("--input", source, "--out", tmp_path / "set" / "found")
            assert code == 0 and "in 2 images" in printed, printed


def test_two_pictures_that_would_be_one_annotated_image(predict, tmp_path):
    write_coco(tmp_path, images=2)
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    words = ("--input", tmp_path / "set", tmp_path / "copy", "--ann-file", tmp_path / "set.json")
    code, printed = predict(*words, "--out", tmp_path / "out")
    assert code == 1 and "would both be the image" in printed.splitlines()[-1], printed


def test_images_of_kinds_that_are_not_read_are_said(tmp_path, caplog):
    for name in ("a.heic", "deep/b.DNG"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="no picture .* 2 image files are of a kind that is not read, .*a.heic"):
        find_inputs([str(tmp_path / "set")])
    (tmp_path / "set" / "c.png").write_bytes(b"")
    assert find_inputs([str(tmp_path / "set")]) == [str(tmp_path / "set" / "c.png")]
    assert "Left out: 2 image files are of a kind that is not read" in caplog.text


def test_linked_folders_are_followed_once(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(b"")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "file.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "set" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    found = find_inputs([str(tmp_path / "set")])
    assert [Path(path).relative_to(tmp_path).as_posix() for path in found] == [
        "set/file.jpg",
        "set/gone.jpg",  # which is said to be unreadable
        "set/link/a.jpg",
    ]
