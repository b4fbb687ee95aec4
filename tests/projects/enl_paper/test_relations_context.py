"""Relations, its promise: what can be known about a small object without the rest of the image, and what cannot."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from enl_paper.relations import (
    DECIDED_PAIRS,
    PRESETS,
    RELATIONS_CATEGORIES,
    RelationsSpec,
    generate_scene,
)
from enl_paper.relations.plan import Decision, ScenePlan, Thing, plan_scene
from enl_paper.relations.render import render_scene

DEMO, FULL = PRESETS["demo"], PRESETS["full"]
SMALL_FULL = dataclasses.replace(FULL, sides=(192, 400))  # quick to draw
NAMES = {category["id"]: category["name"] for category in RELATIONS_CATEGORIES}
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


def test_in_true_context_each_decided_object_has_its_decider_and_far_away():
    checked = 0
    for spec, count in ((DEMO, 120), (SMALL_FULL, 50)):
        for image, objects in (generate_scene(spec, index, 7) for index in range(count)):
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
        for index in range(2500):
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
