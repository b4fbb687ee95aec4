"""MODEL.ROI_*.NAME: the heads of a configuration without names can be named, too."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import build_roi_heads

BOTH = ["MODEL.MASK_ON", True, "MODEL.KEYPOINT_ON", True]


def heads(*options: object) -> torch.nn.Module:
    cfg = defaults.clone()
    cfg.merge_from_list([*BOTH, *options])
    with torch.device("meta"):
        return build_roi_heads(cfg, 64)


def test_the_standard_heads_have_names():
    names = {"BOX": "ROIBoxHead", "MASK": "ROIMaskHead", "KEYPOINT": "ROIKeypointHead"}
    named = heads(*(word for kind, name in names.items() for word in (f"MODEL.ROI_{kind}_HEAD.NAME", name)))
    assert [type(head).__name__ for head in named.values()] == list(names.values())
    assert list(named.state_dict()) == list(heads().state_dict())


def test_an_unknown_name_gets_those_there_are():
    with pytest.raises(ConfigError, match="'ROIBoxHeads' is not one of .*ROIBoxHead.*Did you mean 'ROIBoxHead'"):
        heads("MODEL.ROI_BOX_HEAD.NAME", "ROIBoxHeads")


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("ROI_BOX_HEAD", "ROIMaskHead"),
        ("ROI_MASK_HEAD", "ROIBoxHead"),
        ("ROI_KEYPOINT_HEAD", "ROIMaskHead"),
        ("ROI_HEADS", "ROIKeypointHead"),
    ],
)
def test_a_usual_head_of_another_place_is_refused(group, name):
    with pytest.raises(ConfigError, match=f"MODEL.{group}.NAME is '{name}', the usual head of another place"):
        heads(f"MODEL.{group}.NAME", name)


def test_a_box_head_alone_does_for_all():
    assert type(heads("MODEL.ROI_HEADS.NAME", "ROIBoxHead")).__name__ == "ROIBoxHead"
