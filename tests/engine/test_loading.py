"""One way to load a detector: its last checkpoint or a file, averaged weights first, and nothing left untrained."""

import pytest
import torch

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.engine.loading import find_weights, load_detector, optimize
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from tests.support.helpers import CONFIG, SMALL

NAME = "roi_heads.box.predictor.cls_score.bias"


@pytest.fixture
def config(tmp_path):
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    config.merge_from_list([*SMALL, "OUTPUT_DIR", str(tmp_path), "MODEL.DEVICE", "cpu"])
    return config


def filled(config, value: float) -> dict[str, torch.Tensor]:
    """The state of a model of which one tensor holds `value`."""
    state = build_detection_model(config).state_dict()
    state[NAME] = torch.full_like(state[NAME], value)
    return state


def loaded(model) -> float:
    (value,) = set(model.state_dict()[NAME].tolist())
    return value


@pytest.mark.slow
def test_a_file_comes_before_the_last_checkpoint_and_that_before_the_configured_weights(config, tmp_path):
    torch.save({"model": filled(config, 1.0)}, tmp_path / "configured.pth")
    torch.save(filled(config, 2.0), tmp_path / "bare.pth")
    config.MODEL.WEIGHT = str(tmp_path / "configured.pth")
    assert loaded(load_detector(config)) == 1.0
    model = build_detection_model(config)
    model.load_state_dict(filled(config, 3.0))
    DetectronCheckpointer(config, model, save_dir=str(tmp_path), save_to_disk=True).save("model_0000001")
    assert loaded(load_detector(config)) == 3.0
    assert find_weights(config) == str(tmp_path / "model_0000001.pth")
    found = load_detector(config, str(tmp_path / "bare.pth"), "cpu")
    assert loaded(found) == 2.0 and not found.training and next(found.parameters()).device.type == "cpu"


def test_context_modules_that_are_left_out_are_named(config, tmp_path, log):
    with_context = config.clone()
    with_context.merge_from_list(["MODEL.NON_LOCAL.TOP_DOWN.TYPE", "enl"])
    config.merge_from_list(["MODEL.NON_LOCAL.TOP_DOWN.TYPE", ""])
    said = "The weights hold context modules that this configuration has no place for (MODEL.NON_LOCAL): non_local_res"
    for trained, tested, is_said in ((with_context, config, True), (with_context, with_context, False)):
        log.clear()
        torch.save({"model": build_detection_model(trained).state_dict()}, tmp_path / "a.pth")
        load_detector(tested, str(tmp_path / "a.pth"))
        warnings = [r.getMessage() for r in log.records if r.levelname == "WARNING"]
        assert any(said in text for text in warnings) == is_said


def test_a_folder_without_a_checkpoint_is_named(config, tmp_path, log):
    """As a mistyped OUTPUT_DIR is, where the configuration has weights to start from."""
    config.MODEL.WEIGHT = str(tmp_path / "start.pth")
    torch.save({"model": filled(config, 1.0)}, config.MODEL.WEIGHT)
    load_detector(config)
    said = f"OUTPUT_DIR ({tmp_path}) holds no checkpoint: the weights are those of MODEL.WEIGHT, {config.MODEL.WEIGHT}."
    assert said in log.text
    log.clear()
    load_detector(config, config.MODEL.WEIGHT)
    assert "holds no checkpoint" not in log.text


def test_weights_of_a_body_alone_are_not_downloaded_to_detect_with(config):
    config.MODEL.WEIGHT = "catalog://ImageNetPretrained/MSRA/R-50"
    with pytest.raises(ConfigError, match="There are no weights to detect with: MODEL.WEIGHT names catalog://ImageNet"):
        load_detector(config)


def test_averaged_weights_come_first(config, tmp_path):
    torch.save({"model": filled(config, 1.0), "ema": filled(config, 2.0)}, tmp_path / "both.pth")
    assert loaded(load_detector(config, str(tmp_path / "both.pth"))) == 2.0


@pytest.mark.slow
def test_no_part_stays_untrained(config, tmp_path):
    state = filled(config, 1.0)
    body = {name: value for name, value in state.items() if name.startswith("backbone.")}
    torch.save(body, tmp_path / "body.pth")
    with pytest.raises(
        CheckpointError, match=r"weights lack 26 of the model's 147 .*: rpn\.head\.conv \(2\), .*roi_heads"
    ):
        load_detector(config, str(tmp_path / "body.pth"))
    config.MODEL.WEIGHT_ALLOW_MISMATCH = True  # a training's; what it leaves out here would be noise
    torch.save({**state, NAME: torch.zeros(99)}, tmp_path / "other.pth")
    torch.save({name: torch.zeros(9, 9) for name, value in state.items() if value.dim()}, tmp_path / "shapes.pth")
    for name in ("body", "other", "shapes"):
        with pytest.raises(CheckpointError, match="MODEL.WEIGHT_ALLOW_MISSING True goes on"):
            load_detector(config, str(tmp_path / f"{name}.pth"))
    config.MODEL.WEIGHT_ALLOW_MISSING = True
    model = load_detector(config, str(tmp_path / "body.pth"))
    torch.testing.assert_close(model.backbone.state_dict(), {k.removeprefix("backbone."): v for k, v in body.items()})


def test_without_weights(config, log):
    with pytest.raises(ConfigError, match=r"no weights to detect with: OUTPUT_DIR \(\S+\) holds no checkpoint"):
        load_detector(config)
    allowed = config.clone()
    allowed.MODEL.WEIGHT_ALLOW_MISSING = True
    assert load_detector(allowed) is not None and "noise" in log.text
    log.clear()
    assert load_detector(config, require_weights=False) is not None
    assert "what this model detects is noise" in log.text
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 'missing\.pth'"):
        load_detector(config, "missing.pth", require_weights=False)


def test_the_weights_stay_under_their_names_when_the_backbone_is_compiled(config):
    model = load_detector(config, require_weights=False)
    names = list(model.state_dict())
    config.MODEL.COMPILE = True
    compiled = optimize(config, model)
    call = compiled.backbone._compiled_call_impl
    assert compiled is model and call is not None and list(compiled.state_dict()) == names
    assert optimize(config, model).backbone._compiled_call_impl is call
    config.TEST.OPTIMIZE = True
    assert optimize(config, load_detector(config, require_weights=False)) is not model
