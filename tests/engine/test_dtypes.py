"""Every detector detects in every arithmetic; places in the image are float32 in all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.engine.loading import optimize
from maskrcnn_benchmark.engine.precision import DTYPES, autocast
from maskrcnn_benchmark.engine.results import to_original_image
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.inference import heatmaps_to_keypoints
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import Masker
from maskrcnn_benchmark.modeling.roi_heads.mask_head.pasting import encode_masks
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import SMALL

CONFIGS = Path(__file__).parents[2] / "configs"
FEW: list = [
    *("MODEL.RPN.PRE_NMS_TOP_N_TEST", 50, "MODEL.RPN.POST_NMS_TOP_N_TEST", 20, "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 20),
    *(
        "MODEL.ROI_HEADS.SCORE_THRESH",
        0.0,
        "MODEL.ROI_HEADS.DETECTIONS_PER_IMG",
        10,
        "MODEL.RETINANET.INFERENCE_TH",
        1e-6,
    ),
    *("MODEL.RETINANET.NUM_CONVS", 1, "TEST.DETECTIONS_PER_IMG", 10, "MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS", (16,)),
    *("MODEL.DEVICE", "cpu", "MODEL.WEIGHT", ""),
]
DETECTORS: dict[str, tuple[str, list]] = {
    "Faster R-CNN": ("e2e_faster_rcnn_R_50_FPN_1x.yaml", SMALL),
    "Mask R-CNN": ("demo/base_R_18_FPN.yaml", SMALL),
    "Mask R-CNN, C4": (
        "e2e_mask_rcnn_R_50_C4_1x.yaml",
        [
            "MODEL.RESNETS.WIDTH_PER_GROUP",
            8,
            "MODEL.RESNETS.RES2_OUT_CHANNELS",
            32,
            "MODEL.RESNETS.BACKBONE_OUT_CHANNELS",
            128,
        ],
    ),
    "Keypoint R-CNN": ("e2e_keypoint_rcnn_R_50_FPN_1x.yaml", SMALL),
    "RetinaNet": ("retinanet/retinanet_R-50-FPN_1x.yaml", SMALL),
    "proposals": ("rpn_R_50_FPN_1x.yaml", SMALL),
    "group norms": ("gn_baselines/e2e_faster_rcnn_R_50_FPN_1x_gn.yaml", SMALL),
    "deformable": ("dcn/e2e_mask_rcnn_dconv_R_50_FPN_1x.yaml", SMALL),
    "FBNet": ("e2e_mask_rcnn_fbnet.yaml", []),
    "ENL": ("enl/faster_rcnn_R_50_FPN_3enl_td.yaml", SMALL),
}


@pytest.mark.usefixtures("any_dtype")
@pytest.mark.parametrize("optimized", [False, True], ids=["plain", "optimized"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_in_every_dtype(name, dtype, optimized):
    """As a test does it: detection and what follows under autocast."""
    file, keys = DETECTORS[name]
    config = defaults.clone()
    config.merge_from_file(str(CONFIGS / file))
    config.merge_from_list([*keys, *FEW, "DTYPE", dtype, "TEST.OPTIMIZE", optimized])
    torch.manual_seed(0)
    model = optimize(config, build_detection_model(config).eval())
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 40
    device = torch.device("cpu")
    with torch.inference_mode(), autocast(config, device):
        (found,) = model(images)
        finished = to_original_image(found, 480, 320)
    assert len(found) > 0 and found.bbox.dtype == torch.float32 and found.bbox.isfinite().all()
    if found.has_field("mask"):
        masks = found.get_field("mask")
        assert masks.dtype == torch.float32
        plain = encode_masks(masks, finished.bbox, 320, 480)  # as a Predictor does it, outside
        assert finished.get_field("rle") == plain
    if config.MODEL.KEYPOINT_ON:
        points = finished.get_field("keypoints")
        assert points.keypoints.dtype == points.get_field("logits").dtype == torch.float32
        assert points.keypoints.shape == (len(found), 17, 3) and points.keypoints.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_keypoints_are_those_of_the_same_heatmaps_in_float32(dtype):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(5, 17, 14, 14, generator=generator).to(dtype)
    rois = torch.tensor([[10.3, 20.1, 700.9, 900.4]]) + torch.arange(5.0)[:, None]
    expected = heatmaps_to_keypoints(maps.float(), rois)
    with torch.autocast("cpu", dtype=dtype):
        found = heatmaps_to_keypoints(maps, rois)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("threshold", [0.5, -1])
def test_masks_are_pasted_alike_inside_and_outside_of_autocast(dtype, threshold):
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(4, 1, 28, 28, generator=generator)
    boxes = BoxList(torch.tensor([[3.0, 5.0, 700.0, 500.0]]).expand(4, 4), (720, 540))
    expected = Masker(threshold)([masks], [boxes])[0]
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(Masker(threshold)([masks], [boxes])[0], expected)
