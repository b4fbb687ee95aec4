"""Figures by what it takes to find an object: perfect detections, and ones that are wrong in one respect."""

import json

import pytest

from enl_paper.relations import PRESETS, write_relations
from enl_paper.roles import METRICS, role_figures


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    path = write_relations(tmp_path_factory.mktemp("scenes"), {"val": 24}, PRESETS["small"], progress=False)["val"]
    return str(path), json.loads(path.read_text())


def detections(content, change=lambda annotation: annotation["category_id"], keep=lambda annotation: True):
    return [
        {"image_id": a["image_id"], "category_id": change(a), "bbox": a["bbox"], "score": 0.9}
        for a in content["annotations"]
        if not a["iscrowd"] and keep(a)
    ]


def test_everything_found(scenes):
    path, content = scenes
    figures = role_figures(path, detections(content))
    assert tuple(figures) == METRICS and all(value == pytest.approx(100) for value in figures.values())


def test_pairs_confused(scenes):
    path, content = scenes
    other = {11: 12, 12: 11, 15: 16, 16: 15}
    figures = role_figures(path, detections(content, lambda a: other.get(a["category_id"], a["category_id"])))
    assert figures["pair accuracy"] == 0 and figures["decided AP"] < 1
    assert figures["repeated AP"] == figures["context-free AP"] == pytest.approx(100)
    one = role_figures(path, detections(content, lambda a: {12: 11, 16: 15}.get(a["category_id"], a["category_id"])))
    decided = [a["category_id"] for a in content["annotations"] if a["role"] == "decided"]
    assert one["pair accuracy"] == pytest.approx(100 * sum(i in (11, 15) for i in decided) / len(decided))


def test_degraded_members_missed(scenes):
    path, content = scenes
    assert 0 < sum(a["degraded"] for a in content["annotations"]) < len(content["annotations"])
    figures = role_figures(path, detections(content, keep=lambda a: not a["degraded"]))
    assert figures["degraded AP"] == 0 and 0 < figures["repeated AP"] < 100
    figures = role_figures(path, detections(content, keep=lambda a: a["degraded"] or a["role"] != "repeated"))
    assert figures["degraded AP"] == pytest.approx(100) and figures["repeated AP"] < 100


def test_nothing_found(scenes):
    figures = role_figures(scenes[0], [])
    assert figures.pop("pair accuracy") != figures["all AP"] == 0 and set(figures.values()) == {0.0}
