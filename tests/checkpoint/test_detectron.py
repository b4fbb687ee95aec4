"""Detectron's .pkl files: a model written in its names comes back, and a file cannot run code."""

from __future__ import annotations

import os
import pickle
import re
import resource
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.checkpoint.detectron import rename_blobs
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.utils.c2_model_loading import load_c2_format, load_resnet_c2_format
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from tests.support.detectron_layout import blob_name, c4_blob_name, is_constant, retinanet_blob, write
from tests.support.helpers import SMALL

CONFIGS = Path(__file__).parents[2] / "configs"


def build(name: str, *options: object):
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / name))
    cfg.merge_from_list([*SMALL, *options])
    return cfg, build_detection_model(cfg)


def random_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Values that depend on the name, so that two of one shape cannot change places unnoticed."""
    state = {}
    for key, value in model.state_dict().items():
        generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        state[key] = value if is_constant(key) else torch.randn(value.shape, generator=generator)
    return state


def assert_loads(tmp_path: Path, cfg, model: torch.nn.Module, blobs: dict, expected: dict) -> None:
    DetectronCheckpointer(cfg, model).load(write(tmp_path / "model_final.pkl", blobs))
    for key, value in model.state_dict().items():
        assert torch.equal(value, expected[key]), key


@pytest.mark.parametrize(
    ("name", "gn"),
    [
        ("e2e_mask_rcnn_R_50_FPN_1x.yaml", False),
        ("e2e_keypoint_rcnn_R_50_FPN_1x.yaml", False),
        ("rpn_R_50_FPN_1x.yaml", False),
        ("gn_baselines/e2e_mask_rcnn_R_50_FPN_1x_gn.yaml", True),
        ("gn_baselines/e2e_mask_rcnn_R_50_FPN_Xconv1fc_1x_gn.yaml", True),
    ],
)
def test_a_model_written_as_detectron_does_comes_back(tmp_path, name, gn):
    cfg, model = build(name)
    expected = random_state(model)
    blobs = {blob_name(key, gn): value.numpy() for key, value in expected.items() if not is_constant(key)}
    assert len(blobs) == sum(not is_constant(key) for key in expected)
    blobs |= {f"{blob}_momentum": np.ones_like(v) for blob, v in list(blobs.items())[::20]}
    blobs |= {"fc1000_w": np.ones((1000, 2048), np.float32), "fc1000_b": np.ones(1000, np.float32)}
    blobs["conv1_b"] = np.zeros(64, np.float32)
    assert_loads(tmp_path, cfg, model, blobs, expected)


@pytest.mark.parametrize(
    "name", ["e2e_faster_rcnn_R_50_C4_1x.yaml", "e2e_mask_rcnn_R_50_C4_1x.yaml", "rpn_R_50_C4_1x.yaml"]
)
def test_a_c4_model_comes_back(tmp_path, name):
    cfg, model = build(name)
    expected = random_state(model)
    shared = "roi_heads.mask.feature_extractor."  # the very module of the boxes, and once in the file
    own = {key: value for key, value in expected.items() if not key.startswith(shared)}
    blobs = {c4_blob_name(key): value.numpy() for key, value in own.items() if not is_constant(key)}
    assert len(blobs) == sum(not is_constant(key) for key in own)
    assert "conv_rpn_w" in blobs and ("res5_2_branch2c_bn_s" in blobs) == ("rcnn" in name)
    expected |= {
        k: own[k.replace(shared, "roi_heads.box.feature_extractor.")] for k in expected if k.startswith(shared)
    }
    assert_loads(tmp_path, cfg, model, blobs, expected)


@pytest.mark.parametrize("name", ["retinanet_R-50-FPN_1x.yaml", "retinanet_R-50-FPN_P5_1x.yaml"])
def test_a_retinanet_comes_back(tmp_path, name):
    cfg, model = build(f"retinanet/{name}")
    expected = random_state(model)
    own = {key: value for key, value in expected.items() if not is_constant(key)}
    blobs = dict(retinanet_blob(key, value) for key, value in own.items())
    assert len(blobs) == len(own) and "retnet_bbox_conv_n3_fpn3_w" in blobs
    assert_loads(tmp_path, cfg, model, blobs, expected)


def test_deformable_layers_take_the_plain_convolutions(tmp_path):
    cfg, plain = build("e2e_mask_rcnn_R_50_FPN_1x.yaml")
    state = random_state(plain)
    body = {k: v.numpy() for k, v in state.items() if ".body." in k and not is_constant(k)}
    path = write(tmp_path / "R-50.pkl", {blob_name(k, False): v for k, v in body.items()}, bare=True)
    cfg, model = build("dcn/e2e_mask_rcnn_mdconv_R_50_FPN_1x.yaml")
    initial = {k: v.clone() for k, v in model.state_dict().items()}
    DetectronCheckpointer(cfg, model).load(path)
    loaded = model.state_dict()
    assert torch.equal(loaded["backbone.body.layer2.0.conv2.conv.weight"], state["backbone.body.layer2.0.conv2.weight"])
    for key, value in loaded.items():
        plain_key = re.sub(r"conv2\.conv\.weight", "conv2.weight", key)
        wanted = state[plain_key] if plain_key in body else initial[key]
        assert torch.equal(value, wanted), key


def test_c4_keypoint_and_retinanet_names():
    names = {
        "conv_rpn_w": "rpn.head.conv.weight",
        "rpn_cls_logits_b": "rpn.head.cls_logits.bias",
        "res5_0_branch2a_bn_s": "layer4.0.bn1.weight",
        "_[mask]_res5_0_branch1_w": "mask.feature_extractor.head.layer4.0.downsample.0.weight",
        "conv_fcn8_w": "keypoint.feature_extractor.conv_fcn8.weight",
        "kps_score_lowres_b": "keypoint.predictor.kps_score_lowres.bias",
        "kps_score_w": None,
        "pred_w": None,
        "fpn_6_w": "fpn.top_blocks.p6.weight",
        "retnet_cls_conv_n3_fpn3_b": "rpn.head.cls_tower.6.bias",
        "retnet_bbox_pred_fpn3_w": "rpn.head.bbox_pred.weight",
        "fpn_res4_35_sum_w": "fpn.fpn_layer3.weight",  # of a ResNet-152
        "head_conv2_w": "box.feature_extractor.xconvs.2.weight",  # without a norm
        "something_else_w": None,
    }
    renamed = rename_blobs({blob: np.zeros(1, np.float32) for blob in names})
    assert list(renamed) == [name for name in names.values() if name]


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_read(tmp_path, protocol):
    blobs: dict = {"conv1_w": np.arange(6, dtype=np.float64).reshape(2, 3).T, "lr": np.float32(0.1)}
    blobs |= {"weight_order": np.array(["a", "b"], dtype=object), "fc6_b": np.arange(2, dtype=">f4")}
    blobs["fc7_w"] = np.zeros((0, 3), np.float16)
    loaded = load_resnet_c2_format(defaults, write(tmp_path / "x.pkl", blobs, protocol))["model"]
    assert set(loaded) == {"stem.conv1.weight", "box.feature_extractor.fc6.bias", "box.feature_extractor.fc7.weight"}
    assert loaded["box.feature_extractor.fc6.bias"].tolist() == [0, 1]
    assert loaded["box.feature_extractor.fc7.weight"].shape == (0, 3)
    assert torch.equal(loaded["stem.conv1.weight"], torch.tensor([[0.0, 3], [1, 4], [2, 5]]))


def test_a_file_of_python_2_is_read(tmp_path):
    # {'blobs': {'fc6_b': array([1, 2], float32)}} as Python 2 writes it: its strings are bytes.
    path = tmp_path / "old.pkl"
    path.write_bytes(
        b"\x80\x02}U\x05blobs}U\x05fc6_bcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08\x00\x00\x80?\x00\x00\x00@tbss."
    )
    assert load_c2_format(defaults, str(path))["model"]["box.feature_extractor.fc6.bias"].tolist() == [1, 2]


class Malicious:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_file_cannot_run_code(tmp_path, protocol):
    target = tmp_path / "made by the file"
    path = write(tmp_path / "bad.pkl", {"conv1_w": Malicious(target)}, protocol)
    with pytest.raises(CheckpointError, match=r"bad.pkl: .* (posix|nt)\.mkdir is refused"):
        load_c2_format(defaults, path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        (b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.", "collections.OrderedDict.__init__"),
        # A dtype of structure, whose flags numpy would take from the file.
        (pickle.dumps({"conv1_w": np.zeros(1, [("a", "f4")])}, protocol=2), "'V4'"),
        (b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.", "'zlib'"),
    ],
)
def test_what_is_refused_is_named(tmp_path, content, refused):
    (tmp_path / "bad.pkl").write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(refused) + ".* refused"):
        load_c2_format(defaults, str(tmp_path / "bad.pkl"))


def test_files_that_are_no_weights(tmp_path):
    (tmp_path / "text.pkl").write_text("hello")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "other.pkl").write_bytes(pickle.dumps({"a": 1, "b": np.zeros(1)}))
    for name, sentence in {
        "text": r"not a readable pickle \(5 bytes\)",
        "list": "holds a list",
        "other": "no blob with a name of Detectron's; its entries are a, b",
    }.items():
        with pytest.raises(CheckpointError, match=sentence):
            load_c2_format(defaults, str(tmp_path / f"{name}.pkl"))
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        load_c2_format(defaults, str(tmp_path / "missing.pkl"))
    cfg = defaults.clone()
    cfg.MODEL.BACKBONE.CONV_BODY = "FBNet"
    with pytest.raises(CheckpointError, match="for ResNets, and MODEL.BACKBONE.CONV_BODY is 'FBNet'"):
        load_c2_format(cfg, str(tmp_path / "other.pkl"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x02}r\xff\xff\xff\x7f.", "its part number 2147483647 cannot be"),  # a table of 16 GB
        (b"\x80\x04B\xff\xff\xff\x7fabc.", "not a readable pickle"),  # 2 GB announced
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x00abc.", "not a readable pickle"),
        (b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "asks for bytearray of a size alone"),
        (pickle.dumps({1: 2}), "not all of its entries have names"),
        (pickle.dumps({"fc6_w": np.array(["a", "b"])}), "holds no numbers"),
    ],
)
def test_a_file_of_a_few_bytes_takes_neither_time_nor_memory(tmp_path, content, said):
    path = tmp_path / "odd.pkl"
    path.write_bytes(content)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), limits[1]))
    try:
        with pytest.raises(CheckpointError, match=said) as raised:
            load_c2_format(defaults, str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert "MemoryError" not in str(raised.value)
