"""Exported detectors find what the plain ones find, in images of several sizes and where there is nothing."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.export import FORMATS, ExportableDetector, export_program, write
from maskrcnn_benchmark.layers import batched_nms, multiscale_roi_align
from maskrcnn_benchmark.layers.non_local import LinearAttention
from maskrcnn_benchmark.modeling.batching import group_sizes, rank_in_group
from maskrcnn_benchmark.modeling.detector import build_detection_model

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = [
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 32, "SEED", 0),
    *(
        "MODEL.RPN.PRE_NMS_TOP_N_TEST",
        100,
        "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST",
        40,
        "MODEL.ROI_HEADS.SCORE_THRESH",
        0.7,
    ),
]
DEMO = "demo/relations_R_18_FPN_enl.yaml"
RETINANET = [
    *("MODEL.BACKBONE.CONV_BODY", "R-18-FPN-RETINANET", "MODEL.RETINANET_ON", True, "MODEL.MASK_ON", False),
    *("MODEL.RETINANET.NUM_CLASSES", 4, "MODEL.RETINANET.NUM_CONVS", 1, "MODEL.RETINANET.PRIOR_PROB", 0.2),
    *("MODEL.NON_LOCAL.TOP_DOWN.STAGES", ("res5", "res4"), "MODEL.NON_LOCAL.TOP_DOWN.TYPE", "linear_attention"),
]
MODELS = {
    "mask-enl-nl": ["MODEL.NON_LOCAL.BOTTOM_UP.TYPE", "nl", "MODEL.ROI_HEADS.SCORE_THRESH", 0.5],
    "retinanet-la": RETINANET,
}


def make(kind: str) -> tuple[nn.Module, object]:
    """A small model of random weights whose scores are spread out, so that several classes are found."""
    config = cfg.clone()
    config.merge_from_file(str(CONFIGS / DEMO))
    config.merge_from_list([*TINY, *MODELS[kind]])
    torch.manual_seed(0)
    model = build_detection_model(config)
    with torch.no_grad():
        for norm in model.modules():  # statistics that keep maps in range
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 1.0
        for context in model.modules():  # a response: it starts with none
            if isinstance(context, LinearAttention):
                nn.init.normal_(context.out.weight, std=0.01)
        model.backbone.train()(torch.randn(2, 3, 256, 320) * 60)
        if model.roi_heads is not None:
            model.roi_heads.box.predictor.cls_score.weight.mul_(6)
            model.roi_heads.box.predictor.bbox_pred.weight.mul_(30)
            model.rpn.head.cls_logits.weight.mul_(20)
        else:
            model.rpn.head.cls_logits.weight.mul_(8)
    return model.eval(), config


def images() -> list[Tensor]:
    """Of several sizes; on the last, which is black, the models with regions find nothing."""
    generator = torch.Generator().manual_seed(1)
    sizes = ((270, 330), (200, 224), (301, 161))
    noise = [torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8) for size in sizes]
    return [*noise, torch.zeros(260, 300, 3, dtype=torch.uint8)]


def assert_same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    """The same detections, the best first; those whose scores are equal to the last digits come in either order."""
    assert [(a.shape, a.dtype) for a in ours] == [(b.shape, b.dtype) for b in theirs]
    assert (theirs[2].diff() <= 0).all()
    apart = (ours[0][:, None] - theirs[0]).abs().sum(-1) + 1e6 * (ours[1][:, None] != theirs[1])
    order = apart.argmin(1) if len(apart) else torch.zeros(0, dtype=torch.int64)
    assert sorted(order.tolist()) == list(range(len(order)))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(b[order], a, rtol=1e-3, atol=1e-3)


@pytest.fixture(params=list(MODELS), scope="module")
def exported(request):
    model, config = make(request.param)
    return ExportableDetector(model, config), export_program(model, config)


def assert_finds_the_same(run: Callable[[Tensor], Sequence[Tensor]], detector: ExportableDetector) -> None:
    found = []
    with torch.no_grad():
        for image in images():
            expected = detector(image)
            assert_same(expected, tuple(run(image)))
            found.append(expected)
    assert all(len(boxes) > 3 and len(labels.unique()) > 1 for boxes, labels, *_ in found[:-1])
    assert detector.detector.roi_heads is None or len(found[-1][0]) == 0


def least_images(side: int) -> list[Tensor]:
    """Three with sides of `side`, then two with one of a pixel less."""
    generator = torch.Generator().manual_seed(2)
    sizes = ((side, 200), (200, side), (side, side), (200, side - 1), (side - 1, 200))
    return [torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8) for size in sizes]


@pytest.mark.slow
def test_the_program_is_the_model(exported):
    detector, program = exported
    run = program.module()
    assert_finds_the_same(run, detector)
    assert detector.min_side == (129 if detector.detector.roi_heads is None else 65)
    *taken, narrow, low = least_images(detector.min_side)
    for image in taken:
        with torch.no_grad():
            assert_same(detector(image), run(image))
    for image in (narrow, low):
        with pytest.raises(AssertionError, match=rf"image.size\(\)\[[01]\] >= {detector.min_side}"):
            run(image)


@pytest.mark.slow
@pytest.mark.no_cover
def test_what_is_written_is_the_model(exported, tmp_path):
    """ONNX, in two runtimes; with masks torch's files too, from the same program: the conversion to ONNX leaves it as it was."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    detector, program = exported
    write(program, "onnx", str(tmp_path / "model.onnx"), detector.names, {"min_size": "256"})
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.get_modelmeta().custom_metadata_map["min_size"] == "256"
    assert [output.name for output in session.get_outputs()] == list(detector.names)

    def run(image: Tensor) -> list[Tensor]:
        return [torch.from_numpy(array) for array in session.run(None, {"image": image.numpy()})]

    assert_finds_the_same(run, detector)
    for image in [*least_images(detector.min_side), images()[0][:40, :50].contiguous()]:  # ONNX takes smaller ones too
        with torch.no_grad():
            assert_same(detector(image), tuple(run(image)))
    if importlib.util.find_spec("openvino"):
        assert_finds_the_same(openvino_run(tmp_path / "model.onnx"), detector)
    if "masks" not in detector.names:
        return

    write(program, "torch", str(tmp_path / "m.program.pt2"), detector.names, {"min_size": "256"})
    notes = {"min_size": ""}
    assert_finds_the_same(torch.export.load(str(tmp_path / "m.program.pt2"), extra_files=notes).module(), detector)
    assert notes == {"min_size": "256"}
    with torch._inductor.config.patch({"aot_inductor.compile_wrapper_opt_level": "O0"}):  # compiled sooner
        write(program, "aoti", str(tmp_path / "m.package.pt2"), detector.names)
    assert_finds_the_same(torch._inductor.aoti_load_package(str(tmp_path / "m.package.pt2")), detector)


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_an_export_that_fails_leaves_the_one_before(format, tmp_path, monkeypatch):
    def fill(program, path, names, notes):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / f"model{FORMATS[format][0]}"
    path.write_bytes(b"before")
    monkeypatch.setitem(FORMATS, format, (FORMATS[format][0], fill))
    with pytest.raises(OSError, match=rf"{path.name} cannot be written \(No space left on device\): make room"):
        write(None, format, str(path), ())
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"before"


class _Nms(nn.Module):
    def forward(self, boxes, scores, groups):
        return batched_nms(boxes, scores, groups, 0.5)


class _Pool(nn.Module):
    def __init__(self, sampling_ratio: int):
        super().__init__()
        self.sampling_ratio = sampling_ratio

    def forward(self, fine, coarse, rois, levels):
        return multiscale_roi_align([fine, coarse], rois, levels, [0.25, 0.125], (3, 5), self.sampling_ratio)


def openvino_run(path: Path) -> Callable[..., list[Tensor]]:
    openvino = pytest.importorskip("openvino")
    # In float32: on some processors OpenVINO would compute in bfloat16.
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda *inputs: [torch.from_numpy(array) for array in compiled([x.numpy() for x in inputs]).to_tuple()]


def onnx_session(module: nn.Module, example: tuple, dynamic: tuple, path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    names = [f"in{i}" for i in range(len(example))]
    program = torch.export.export(module, example, dynamic_shapes=dynamic)
    from maskrcnn_benchmark.export.onnx_operators import TABLE

    converted = torch.onnx.export(
        program, dynamo=True, opset_version=18, input_names=names, custom_translation_table=TABLE, verbose=False
    )
    converted.save(str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 4  # some of its operators go wrong in several
    session = onnxruntime.InferenceSession(str(path), options)
    return lambda *inputs: session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))


def test_suppression_in_onnx_counts_pixels_inclusively(tmp_path):
    """Boxes of whole pixels, where overlaps fall right on the threshold, equal scores, gaps among the groups, and no box."""
    rows = torch.export.Dim("rows", min=0, max=10000)
    generator = torch.Generator().manual_seed(0)

    def boxes(count: int) -> tuple[Tensor, Tensor, Tensor]:
        corner = torch.randint(0, 12, (count, 2), generator=generator).float()
        extent = torch.randint(0, 12, (count, 2), generator=generator).float()
        scores = torch.randint(0, 20, (count,), generator=generator) / 20
        return torch.cat((corner, corner + extent), 1), scores, torch.randint(0, 4, (count,), generator=generator) * 3

    run = onnx_session(_Nms(), boxes(7), ({0: rows}, {0: rows}, {0: rows}), tmp_path / "nms.onnx")
    for count in (300, 64, 1, 0):
        inputs = boxes(count)
        (kept,) = run(*inputs)
        assert kept.tolist() == batched_nms(*inputs, 0.5).tolist()
    assert len(batched_nms(*boxes(300), 0.5)) < 250


class _Sort(nn.Module):
    def __init__(self, dim: int, descending: bool):
        super().__init__()
        self.dim, self.descending = dim, descending

    def forward(self, values):
        return torch.sort(values, stable=True, dim=self.dim, descending=self.descending)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@pytest.mark.parametrize("sizes", [(0, 1, 2, 1000, 30_000), pytest.param((600_000,), marks=pytest.mark.slow)])
def test_sorting_in_onnx_is_stable(dtype, sizes, tmp_path):
    """Few values, of which most come often; many, of which some come twice or three times; and one value alone."""
    rows = torch.export.Dim("rows", min=0, max=1_000_000)
    generator = torch.Generator().manual_seed(0)
    module = _Sort(-1, dtype == torch.float32)
    run = onnx_session(module, (torch.zeros(7, dtype=dtype),), ({0: rows},), tmp_path / "sort.onnx")
    for name, sort in (("ONNX Runtime", run), ("OpenVINO", openvino_run(tmp_path / "sort.onnx"))):
        for size in sizes:
            for different in (5, 3 * size + 1, 1):
                values = torch.randint(0, different, (size,), generator=generator)
                values = values / (different + 2) if dtype == torch.float32 else values
                for expected, found in zip(module(values), sort(values), strict=True):
                    assert torch.equal(expected, torch.as_tensor(found)), (name, size, different)


@pytest.mark.parametrize(("shape", "dim"), [((3, 50), -1), ((3, 50), 0), ((2, 9, 5), 1)])
def test_sorting_in_onnx_along_any_axis(shape, dim, tmp_path):
    generator = torch.Generator().manual_seed(0)
    module = _Sort(dim, True)
    dynamic = ({axis: torch.export.Dim.AUTO for axis in range(len(shape))},)
    run = onnx_session(module, (torch.zeros(shape),), dynamic, tmp_path / "sort.onnx")
    for name, sort in (("ONNX Runtime", run), ("OpenVINO", openvino_run(tmp_path / "sort.onnx"))):
        for times in (1, 3, 0):
            sides = [side * times if times or axis == dim % len(shape) else side for axis, side in enumerate(shape)]
            values = torch.randint(0, 4, sides, generator=generator).float()
            for expected, found in zip(module(values), sort(values), strict=True):
                assert torch.equal(expected, torch.as_tensor(found)), (name, sides)


class _Count(nn.Module):
    def forward(self, groups, weights):
        return group_sizes(groups, 3), rank_in_group(groups, 3), weights.index_add(1, groups[:2], weights, alpha=2)


def test_members_of_groups_in_onnx_are_counted(tmp_path):
    """So many that ONNX Runtime, whose ScatterND adds up in several threads without care, would lose some now and then."""
    rows = torch.export.Dim("rows", min=2, max=1_000_000)
    groups, weights = torch.arange(600_000) % 3, torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    run = onnx_session(_Count(), (groups[:5], weights), ({0: rows}, {}), tmp_path / "groups.onnx")
    nodes = pytest.importorskip("onnx").load(str(tmp_path / "groups.onnx")).graph.node
    adding = [node.op_type for node in nodes if any(attribute.s == b"add" for attribute in node.attribute)]
    assert adding == ["ScatterElements"] * 2
    found = run(groups, weights)
    assert found[0].tolist() == [200_000] * 3
    assert (torch.from_numpy(found[1]) == torch.arange(600_000) // 3).all()
    assert found[2].tolist() == [[3.0, 6.0], [9.0, 12.0]]


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_pooling_in_onnx_is_the_unaligned_one(sampling_ratio, tmp_path):
    rows = torch.export.Dim("rows", min=0, max=10000)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, 4, side, side + 3, generator=generator) for side in (32, 16)]

    def regions(count: int) -> tuple[Tensor, Tensor]:
        corner = torch.rand(count, 2, generator=generator) * 130 - 10  # some reach outside the map
        extent = torch.rand(count, 2, generator=generator) ** 3 * 100  # some are below one pixel of the map
        rois = torch.cat((torch.zeros(count, 1), corner, corner + extent), 1)
        return rois, torch.randint(0, 2, (count,), generator=generator)

    module = _Pool(sampling_ratio)
    run = onnx_session(module, (*maps, *regions(5)), ({}, {}, {0: rows}, {0: rows}), tmp_path / "pool.onnx")
    for count in (50, 1, 0):
        inputs = (*maps, *regions(count))
        torch.testing.assert_close(torch.from_numpy(run(*inputs)[0]), module(*inputs), rtol=1e-4, atol=1e-5)


def test_what_has_no_exported_form():
    model, config = nn.Linear(1, 1), cfg.clone()
    config.MODEL.KEYPOINT_ON = True
    with pytest.raises(ValueError, match="Identity has no `rpn.anchor_generator`"):
        ExportableDetector(nn.Identity(), cfg)
    with pytest.raises(ValueError, match="Models with MODEL.KEYPOINT_ON cannot be exported"):
        ExportableDetector(model, config)
    with pytest.raises(ValueError, match="exported as onnx, torch, aoti; got 'caffe'"):
        write(None, "caffe", "x", ())  # type: ignore[arg-type]


class _Counting(nn.Module):
    """A head whose length depends on the image."""

    def forward(self, features, proposals, targets=None):
        return features, [proposals[0][: len(proposals[0].bbox.nonzero())]], {}


@pytest.mark.slow
@pytest.mark.no_cover
def test_a_head_that_cannot_be_traced_is_named(capfd):
    model, config = make("mask-enl-nl")
    model.roi_heads.box = _Counting()
    with pytest.raises(
        ValueError, match=r"cannot trace forward in .*test_export.py, line \d+, `return features, \[prop.*shape\[0\]"
    ):
        export_program(model, config)
    assert "def forward" not in capfd.readouterr().err


def test_an_operator_of_ones_own_that_onnx_lacks_is_named(tmp_path):
    @torch.library.custom_op("tests_export::scale", mutates_args=())
    def scale(x: Tensor, factor: float) -> Tensor:
        return x * factor

    scale.register_fake(lambda x, factor: torch.empty_like(x))

    class Scaled(nn.Module):
        def forward(self, x):
            return scale(x, 0.5)

    program = torch.export.export(Scaled(), (torch.ones(2),))
    with pytest.raises(ValueError, match=r"nothing for the operator 'tests_export\.scale' .* in \.program\.pt2"):
        write(program, "onnx", str(tmp_path / "a.onnx"), ("y",))
    write(program, "torch", str(tmp_path / "a.program.pt2"), ("y",))
