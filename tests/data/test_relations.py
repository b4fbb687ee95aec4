"""The Relations data set: is it valid COCO, is it reproducible, and does it keep what its docstring promises?"""

from __future__ import annotations

import dataclasses
import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets.relations import (
    DECIDED_PAIRS,
    PRESETS,
    RELATIONS_CATEGORIES,
    ROLES,
    RelationsSpec,
    generate_scene,
    split_seed,
    write_relations,
)
from maskrcnn_benchmark.data.datasets.relations.plan import Decision, ScenePlan, Thing, plan_scene
from maskrcnn_benchmark.data.datasets.relations.render import _polygons, render_scene

# pycocotools' decode() does not know NumPy 2's signature of __array__ yet
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "make_relations.py"
DEMO, FULL = PRESETS["demo"], PRESETS["full"]
SMALL_FULL = dataclasses.replace(FULL, sides=(192, 400))  # quick to draw
NAMES = {category["id"]: category["name"] for category in RELATIONS_CATEGORIES}
ROLE = {category["name"]: category["role"] for category in RELATIONS_CATEGORIES}
DECIDER = {decided: decider for pair in DECIDED_PAIRS.values() for decided, decider in pair}
LOOK = {decided: look for look, pair in DECIDED_PAIRS.items() for decided, _ in pair}


def in_context(spec: RelationsSpec, context: str) -> RelationsSpec:
    return dataclasses.replace(spec, context=context)


def with_members(spec: RelationsSpec, look: str, count: int, seed: int = 5) -> list[ScenePlan]:
    """The first ``count`` plans that have objects of this look to decide."""
    plans = (plan_scene(spec, index, seed) for index in range(100 * count))
    found = [plan for plan in plans if look in plan.decisions and plan.decisions[look].members]
    assert len(found) >= count
    return found[:count]


def outside(plan: ScenePlan, look: str) -> np.ndarray:
    """bool[H, W]: the pixels out of reach of a pair's decider and of its shadow, which stays within a tenth."""
    x1, y1, x2, y2 = plan.decisions[look].slot.box
    margin = 0.1 * (x2 - x1) + 2
    outer = np.ones((plan.height, plan.width), bool)
    outer[max(int(y1 - margin), 0) : int(y2 + margin), max(int(x1 - margin), 0) : int(x2 + margin)] = False
    return outer


def decoded(annotation: dict, height: int, width: int) -> np.ndarray:
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    return coco_mask.decode(segmentation).astype(bool)


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[tuple[np.ndarray, list[dict]]]]:
    return {
        "demo": [generate_scene(DEMO, index, 7) for index in range(150)],
        "full": [generate_scene(SMALL_FULL, index, 7) for index in range(60)],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("relations") / "demo"
    write_relations(root, {"train": 24, "val": 9}, DEMO, seed=3, workers=2, progress=False)
    return root


# ---------------------------------------------------------------------------------------------------------- scenes


@pytest.mark.parametrize("preset", ["demo", "full"])
def test_annotations_agree_with_their_masks(scenes, preset):
    ids = [annotation["id"] for _, annotations in scenes[preset] for annotation in annotations]
    assert len(ids) == len(set(ids))
    kinds = set()
    for index, (image, objects) in enumerate(scenes[preset]):
        height, width = image.shape[:2]
        assert image.dtype == np.uint8 and image.shape[2] == 3
        cover = np.zeros((height, width), int)
        for annotation in objects:
            mask = decoded(annotation, height, width)
            ys, xs = np.nonzero(mask)
            x, y, w, h = annotation["bbox"]
            np.testing.assert_allclose([x, y], [xs.min(), ys.min()], atol=1)
            np.testing.assert_allclose([x + w, y + h], [xs.max() + 1, ys.max() + 1], atol=1)
            assert 0 <= x and 0 <= y and x + w <= width and y + h <= height
            assert annotation["area"] == mask.sum()
            assert annotation["image_id"] == index + 1
            assert annotation["role"] == ROLE[NAMES[annotation["category_id"]]]
            is_rle = isinstance(annotation["segmentation"], dict)
            assert not is_rle or isinstance(annotation["segmentation"]["counts"], str)
            assert is_rle or not annotation["iscrowd"]
            kinds.add((is_rle, annotation["iscrowd"]))
            cover += mask
        # masks are of visible pixels: only the simplified outlines may overlap, by a rim
        assert (cover > 1).sum() <= 0.05 * max((cover > 0).sum(), 1) + 2
    assert kinds == {(False, 0), (True, 0), (True, 1)}


def test_every_category_and_empty_images_occur(scenes):
    for preset in scenes:
        found = {annotation["category_id"] for _, annotations in scenes[preset] for annotation in annotations}
        assert found == set(NAMES)
    assert any(not annotations for _, annotations in scenes["demo"])
    assert sorted(NAMES) != list(range(1, len(NAMES) + 1)), "the ids should leave gaps"
    assert {category["role"] for category in RELATIONS_CATEGORIES} == set(ROLES)


def test_most_objects_are_small_and_deciders_are_large(scenes):
    for preset in scenes:
        objects = [a for _, annotations in scenes[preset] for a in annotations if not a["iscrowd"]]
        small = {role: np.mean([a["area"] < 32 * 32 for a in objects if a["role"] == role]) for role in ROLES}
        assert small["decided"] > 0.9
        assert small["repeated"] > 0.8
        assert 0.2 < small["alone"] < 0.9
        assert small["decider"] < 0.2
        assert np.mean([a["area"] < 32 * 32 for a in objects]) > 0.6


def test_masks_lie_on_their_objects(scenes):
    """A disc is the only orange to red thing of its size: inside its mask red must stand out."""
    checked = 0
    for image, objects in scenes["demo"]:
        for annotation in objects:
            if NAMES[annotation["category_id"]] in ("ball", "fruit"):
                blue, _, red = image[decoded(annotation, *image.shape[:2])].mean(0)
                assert red > blue + 40
                checked += 1
    assert checked > 20


def test_image_sizes_follow_the_spec(scenes):
    for preset, spec in (("demo", DEMO), ("full", SMALL_FULL)):
        sides = [side for image, _ in scenes[preset] for side in image.shape[:2]]
        assert min(sides) >= spec.sides[0] and max(sides) <= spec.sides[1]
        assert all(side % spec.multiple == 0 for side in sides)
        assert len(set(sides)) > 1


def car(x: float, near: float, seed: int) -> Thing:
    return Thing("car", "car", (x, 60.0, x + 80.0, 100.0), near, seed)


def test_hidden_objects_are_dropped_and_covered_pixels_lost():
    alone = ScenePlan(128, 256, 50, 1, 0.0, (car(20, 0.5, 1),))
    whole = render_scene(alone, 1)[1][0]["area"]
    half = dataclasses.replace(alone, things=(car(20, 0.5, 1), car(55, 0.9, 2)))
    near, far = render_scene(half, 1)[1]
    assert near["bbox"][0] > far["bbox"][0]
    assert 0.4 * whole < far["area"] < 0.75 * whole
    hidden = dataclasses.replace(alone, things=(car(20, 0.5, 1), car(26, 0.9, 2)))
    assert [annotation["bbox"][0] for annotation in render_scene(hidden, 1)[1]] == [26.0]


def test_polygons_follow_pixel_edges_and_refuse_holes():
    box = np.zeros((20, 30), bool)
    box[3:9, 5:17] = True
    assert sorted(zip(*[iter(_polygons(box)[0])] * 2, strict=True)) == [(5, 3), (5, 9), (17, 3), (17, 9)]
    box[5:7, 8:12] = False
    assert _polygons(box) is None


# --------------------------------------------------------------------------------- what can be known without context


@pytest.mark.parametrize("spec", [DEMO, SMALL_FULL], ids=["demo", "full"])
@pytest.mark.parametrize("look", sorted(DECIDED_PAIRS))
def test_the_class_of_a_decided_object_shows_nowhere_near_it(spec, look):
    """Exchange the class: nothing outside the decider's own place may change by a single grey level."""
    changed, compared = 0, 0
    for plan in with_members(spec, look, 12):
        here, found = render_scene(plan, 1)
        there, exchanged = render_scene(plan.flipped(look), 1)
        outer = outside(plan, look)
        np.testing.assert_array_equal(here[outer], there[outer])
        members = [a for a in found if LOOK.get(NAMES[a["category_id"]]) == look]
        others = [a for a in exchanged if LOOK.get(NAMES[a["category_id"]]) == look]
        assert len(members) == len(others)
        compared += len(members)
        for one, other in zip(members, others, strict=True):
            assert (one["bbox"], one["segmentation"]) == (other["bbox"], other["segmentation"])
            assert {NAMES[one["category_id"]], NAMES[other["category_id"]]} == {n for n, _ in DECIDED_PAIRS[look]}
            x, y, w, h = one["bbox"]
            assert outer[int(y) : int(y + h), int(x) : int(x + w)].all()
        changed += not np.array_equal(here, there)
    assert changed == 12, "the decider must show somewhere"
    assert compared > 10


@pytest.mark.parametrize("look", sorted(DECIDED_PAIRS))
def test_contexts_differ_in_the_decider_alone(look):
    for plan in with_members(DEMO, look, 6):
        decisions = {look: plan.decisions[look]}
        true = dataclasses.replace(plan, decisions=decisions)
        removed = dataclasses.replace(plan, decisions={look: dataclasses.replace(decisions[look], decider=None)})
        (here, found), (there, left) = render_scene(true, 1), render_scene(removed, 1)
        np.testing.assert_array_equal(here[outside(plan, look)], there[outside(plan, look)])
        kept = {(a["category_id"], *a["bbox"]) for a in left if a["role"] == "decided"}
        assert kept == {(a["category_id"], *a["bbox"]) for a in found if a["role"] == "decided"}
    for context in ("removed", "shuffled"):
        assert plan_scene(in_context(DEMO, context), 4, 5).things == plan_scene(DEMO, 4, 5).things


def test_what_stays_in_a_scene_does_not_tell_which_decider_stands():
    """A sheep that a tree would hide and a goal would not is gone in both cases, and if neither stands."""
    slot = Thing("", "", (40.0, 20.0, 130.0, 120.0), 0.7, 3)
    sheep = Thing("sheep", "sheep", (70.0, 40.0, 91.0, 55.0), 0.3, 4)
    free = dataclasses.replace(sheep, box=(150.0, 60.0, 171.0, 75.0))
    for decider, drawn in ((0, ["sheep", "goal"]), (1, ["sheep", "tree"]), (None, ["sheep"])):
        decisions = {"disc": Decision(slot, (), 0, decider)}
        plan = ScenePlan(128, 192, 50, 1, 0.0, (sheep, free), decisions)
        found = render_scene(plan, 1)[1]
        assert sorted(NAMES[a["category_id"]] for a in found) == sorted(drawn)
        assert [a["bbox"][0] > 140 for a in found if a["role"] == "repeated"] == [True]


def test_nothing_hides_a_decider():
    slot = Thing("", "", (40.0, 20.0, 130.0, 120.0), 0.7, 3)
    wall = Thing("bush", "", (30.0, 20.0, 140.0, 125.0), 0.9, 4)
    for decider, name in enumerate(("goal", "tree")):
        plan = ScenePlan(128, 192, 50, 1, 0.0, (), {"disc": Decision(slot, (), 0, decider)})
        ((_, free), (_, behind)) = (render_scene(p, 1) for p in (plan, dataclasses.replace(plan, things=(wall,))))
        assert [NAMES[a["category_id"]] for a in behind] == [name]
        assert behind[0]["area"] >= 0.5 * free[0]["area"]


def present(annotations: list[dict]) -> tuple[set[str], set[str]]:
    """The decided categories and the deciders of a scene."""
    names = [(NAMES[a["category_id"]], a["role"]) for a in annotations]
    return {n for n, role in names if role == "decided"}, {n for n, role in names if role == "decider"}


def test_in_true_context_each_decided_object_has_its_decider_and_far_away(scenes):
    checked = 0
    for preset in scenes:
        for image, objects in scenes[preset]:
            decided, deciders = present(objects)
            for name in decided:
                pair = DECIDED_PAIRS[LOOK[name]]
                assert {decider for _, decider in pair} & deciders == {DECIDER[name]}
                assert {label for label, _ in pair} & decided == {name}
                checked += 1
            boxes = {NAMES[a["category_id"]]: a["bbox"] for a in objects if a["role"] == "decider"}
            for annotation in objects:
                if annotation["role"] == "decided":
                    x, y, w, h = annotation["bbox"]
                    dx, dy, dw, dh = boxes[DECIDER[NAMES[annotation["category_id"]]]]
                    gap = max(dx - (x + w), x - (dx + dw), dy - (y + h), y - (dy + dh))
                    assert gap >= max(2 * max(w, h), 0.1 * min(image.shape[:2])) - 8  # 8: whole pixels, simplified rims
    assert checked > 60


def test_without_context_the_decider_is_missing():
    checked = 0
    for index in range(60):
        decided, deciders = present(generate_scene(in_context(DEMO, "removed"), index, 7)[1])
        for name in decided:
            assert not {decider for _, decider in DECIDED_PAIRS[LOOK[name]]} & deciders
            checked += 1
    assert checked > 15


@pytest.mark.parametrize("look", sorted(DECIDED_PAIRS))
def test_label_and_decider_are_independent_unless_the_context_is_true(look):
    def decisions(context: str) -> np.ndarray:
        plans = (plan_scene(in_context(DEMO, context), index, 1) for index in range(3000))
        active = [p.decisions[look] for p in plans if look in p.decisions and p.decisions[look].members]
        return np.array([(d.label, -1 if d.decider is None else d.decider) for d in active])

    true, shuffled, removed = (decisions(context) for context in ("true", "shuffled", "removed"))
    assert len(true) > 700
    tolerance = 4 * 0.5 / np.sqrt(len(true))  # four standard deviations of a fair coin's mean
    assert (true[:, 0] == true[:, 1]).all()
    assert (removed[:, 1] == -1).all()
    np.testing.assert_array_equal(true[:, 0], shuffled[:, 0])
    for pairs in (true[:, 0] == 0, shuffled[:, 1] == 0, shuffled[:, 0] == shuffled[:, 1]):
        assert abs(pairs.mean() - 0.5) < tolerance


def ks_distance(a: list[float], b: list[float]) -> float:
    """Kolmogorov and Smirnov's: the largest gap between two empirical distributions, in units of chance."""
    points = np.sort(np.concatenate([a, b]))
    gap = np.abs(
        np.searchsorted(np.sort(a), points, "right") / len(a) - np.searchsorted(np.sort(b), points, "right") / len(b)
    ).max()
    return gap * np.sqrt(len(a) * len(b) / (len(a) + len(b)))


def features(thing: Thing, plan: ScenePlan) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = thing.box
    return x1 / plan.width, y2 / plan.height, (x2 - x1) / plan.width, thing.near


def test_places_and_sizes_do_not_tell_the_class():
    samples: dict[tuple[str, int], list] = {}
    for index in range(4000):
        plan = plan_scene(DEMO, index, 2)
        for look, decision in plan.decisions.items():  # one of each scene: those of one scene are not independent
            samples.setdefault((look, decision.label), []).extend(features(m, plan) for m in decision.members[:1])
    for look in DECIDED_PAIRS:
        for a, b in zip(zip(*samples[look, 0], strict=True), zip(*samples[look, 1], strict=True), strict=True):
            assert min(len(a), len(b)) > 300
            assert ks_distance(a, b) < 2.2  # exceeded by chance once in about 8,000


def test_a_degraded_member_looks_and_stands_like_a_decoy():
    rng = np.random.default_rng(0)
    for look in ("sheep", "balloon"):
        members, decoys, number = [], [], {True: 0, False: 0}
        for index in range(4000):
            plan = plan_scene(FULL, index, 3)
            blurred = [thing for thing in plan.things if thing.look == look and not thing.clear]
            if blurred:
                is_decoy = not blurred[0].category
                assert all(bool(thing.category) != is_decoy for thing in blurred)
                assert is_decoy != any(t.clear and t.category == look for t in plan.things if t.look == look)
                (decoys if is_decoy else members).append(features(blurred[rng.integers(len(blurred))], plan))
                number[is_decoy] += len(blurred)
        assert abs(number[True] / (number[True] + number[False]) - FULL.decoys) < 0.05
        for a, b in zip(zip(*members, strict=True), zip(*decoys, strict=True), strict=True):
            assert ks_distance(a, b) < 2.2


def test_a_decoy_has_the_pixels_of_a_member():
    member = Thing("sheep", "sheep", (60.0, 80.0, 88.0, 100.0), 0.6, 11, clear=False)
    plan = ScenePlan(128, 160, 50, 1, 0.5, (member,))
    decoy = dataclasses.replace(plan, things=(dataclasses.replace(member, category=""),))
    (here, found), (there, none) = render_scene(plan, 1), render_scene(decoy, 1)
    np.testing.assert_array_equal(here, there)
    assert len(found) == 1 and none == []


# --------------------------------------------------------------------------------------------------------- the folder


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_bytes_do_not_depend_on_the_number_of_workers(folder, tmp_path):
    write_relations(tmp_path / "one", {"train": 24, "val": 9}, DEMO, seed=3, workers=1, progress=False)
    assert contents(tmp_path / "one") == contents(folder)
    assert not list(folder.rglob("*.partial"))


def test_seeds_splits_and_indices_give_different_scenes(folder):
    files = contents(folder)
    images = [data for name, data in files.items() if name.endswith(".jpg")]
    assert len(images) == 33 == len(set(images))
    assert split_seed(3, "train") != split_seed(3, "val") != split_seed(4, "val")
    first, again, other = (generate_scene(DEMO, 0, seed) for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0]) and first[1] == again[1]
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])


def test_pycocotools_reads_it(folder, capsys):
    for split, size in (("train", 24), ("val", 9)):
        coco = COCO(str(folder / "annotations" / f"instances_{split}.json"))
        assert len(coco.imgs) == size and set(coco.cats) == set(NAMES) and len(coco.anns) > size
        results = [
            {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 1.0}
            for a in coco.anns.values()
        ]
        assert len(coco.loadRes(results).anns) == len(coco.anns)
        for record in coco.imgs.values():
            image = cv2.imread(str(folder / split / record["file_name"]))
            assert image.shape == (record["height"], record["width"], 3)
        for annotation in coco.anns.values():
            assert coco.annToMask(annotation).sum() == annotation["area"]
            assert annotation["role"] in ROLES


def test_a_second_run_reuses_and_repairs(folder, tmp_path):
    root = tmp_path / "again"
    arguments = (root, {"train": 6}, dataclasses.replace(DEMO, image_format="png"))
    write_relations(*arguments, progress=False)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    write_relations(*arguments, progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    lost = root / "train" / "000000000002.png"
    data = lost.read_bytes()
    lost.unlink()
    write_relations(*arguments, progress=False)
    assert lost.read_bytes() == data


def test_other_parameters_are_refused_unless_overwriting(tmp_path):
    root = tmp_path / "relations"
    write_relations(root, {"train": 5, "val": 2}, DEMO, seed=1, progress=False)
    before = contents(root)
    with pytest.raises(ValueError, match="seed: 1 there, 2 asked for"):
        write_relations(root, {"train": 5, "val": 2}, DEMO, seed=2, progress=False)
    with pytest.raises(ValueError, match="context: true there, shuffled asked for"):
        write_relations(root, {"train": 5, "val": 2}, in_context(DEMO, "shuffled"), seed=1, progress=False)
    assert contents(root) == before
    write_relations(root, {"train": 3}, DEMO, seed=2, progress=False, overwrite=True)
    write_relations(tmp_path / "fresh", {"train": 3}, DEMO, seed=2, progress=False)
    assert contents(root) == contents(tmp_path / "fresh")


def test_a_foreign_folder_is_never_touched(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ValueError, match="not a Relations folder"):
        write_relations(tmp_path, {"train": 1}, DEMO, progress=False, overwrite=True)
    assert contents(tmp_path) == {os.path.join("train", "holiday.jpg"): b"mine"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": "false"}, "true, removed, shuffled, got 'false'"),
        ({"image_format": "gif"}, "jpg or png, got 'gif'"),
        ({"sides": (300, 200)}, "sides must be two numbers"),
        ({"sides": (130, 140), "multiple": 64}, "no multiple of 64"),
        ({"hardness": 1.5}, "hardness must be"),
    ],
)
def test_a_wrong_spec_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        RelationsSpec(**changes)


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one image, got 'train' with 0"):
        write_relations(tmp_path / "a", {"train": 0}, DEMO)
    with pytest.raises(ValueError, match="plain name"):
        write_relations(tmp_path / "a", {"../train": 1}, DEMO)
    with pytest.raises(ValueError, match="index=-1"):
        generate_scene(DEMO, -1, 0)


# --------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("make_relations", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tool_writes_and_prints_a_summary_that_adds_up(tool, tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "r"), "--train", "12", "--val", "0", "--workers", "1", "--quiet"]
    assert tool.main(arguments) == 0
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "r" / "annotations" / "instances_train.json").read_text())
    objects = [NAMES[a["category_id"]] for a in content["annotations"] if not a["iscrowd"]]
    table = {line.split()[0]: int(line.split()[2]) for line in printed.splitlines()[2:14]}
    assert table == {name: objects.count(name) for name in NAMES.values()}
    assert "12 images" in printed and "decided" in printed
    assert tool.main([*arguments, "--seed", "1"]) == 1
    error = capsys.readouterr().err
    assert "seed: 0 there, 1 asked for" in error and "--overwrite" in error
    assert tool.main([*arguments, "--seed", "1", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "The disk is full"), (errno.EACCES, "Cannot write to"), (errno.EIO, "Could not")],
)
def test_tool_says_why_it_could_not_write(tool, tmp_path, capsys, monkeypatch, code, message):
    def fail(self: Path, data: bytes) -> int:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "write_bytes", fail)
    assert tool.main(["--out", str(tmp_path / "r"), "--train", "2", "--val", "0", "--workers", "1", "--quiet"]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("instances_*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupting_the_tool_leaves_no_half_written_annotations(tmp_path, workers):
    root = tmp_path / "r"
    command = [sys.executable, str(TOOL), "--out", str(root), "--train", "100000", "--workers", str(workers), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not list(root.glob("train/*.jpg")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the tool and to its workers
        _, error = process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 130
    assert error.strip().startswith("Interrupted") and "Traceback" not in error
    assert list(root.glob("train/*.jpg")) and not list(root.rglob("instances_*"))
