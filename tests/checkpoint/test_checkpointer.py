"""Checkpoints: nothing is lost by a failing write, and what comes from elsewhere finds its place."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.checkpoint import checkpointer as module
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.checkpoint.weights import load_file
from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.utils.checkpoint import Checkpointer, DetectronCheckpointer
from tests.support.helpers import CONFIG


class Run:
    """A small model in training, and its checkpointer."""

    def __init__(self, folder: Path, seed: int = 0, **solver: object):
        self.cfg = cfg.clone()
        for key, value in solver.items():
            self.cfg.SOLVER[key] = value
        torch.manual_seed(seed)
        # Layers of one shape, so that state in the wrong place does not go unnoticed as an error of shapes.
        self.model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv2d(4, 4, 3)).to(
            memory_format=torch.channels_last
        )
        self.optimizer = make_optimizer(self.cfg, self.model)
        self.scheduler = make_lr_scheduler(self.cfg, self.optimizer)
        self.checkpointer = DetectronCheckpointer(self.cfg, self.model, self.optimizer, self.scheduler, str(folder))

    def step(self, count: int = 1) -> None:
        for i in range(count):
            fill_gradients(self.model, i)
            self.optimizer.step()
            self.scheduler.step()

    def state(self) -> list[torch.Tensor]:
        momentum = [self.optimizer.state[p]["momentum_buffer"] for p in self.model.parameters()]
        return [t.detach().clone() for t in (*self.model.parameters(), *momentum)]


def fill_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator).contiguous(
            memory_format=torch.channels_last if p.ndim == 4 else torch.contiguous_format
        )


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_resumed_run_has_everything_back(tmp_path):
    run = Run(tmp_path)
    run.step(5)
    run.checkpointer.save("model_0000005", iteration=5, seed=9)
    other = Run(tmp_path, seed=1)
    assert not same(other.state(), run.state())
    assert other.checkpointer.load() == {"iteration": 5, "seed": 9}
    assert same(other.state(), run.state())
    assert [g["lr"] for g in other.optimizer.param_groups] == [g["lr"] for g in run.optimizer.param_groups]
    run.step(3)
    other.step(3)
    assert same(other.state(), run.state())


def test_the_schedule_is_the_configurations_and_only_the_position_the_files(tmp_path):
    run = Run(tmp_path, STEPS=(100,), WARMUP_ITERS=0)
    run.step(5)
    run.checkpointer.save("model_0000005", iteration=5)
    other = Run(tmp_path, STEPS=(3,), BASE_LR=0.5, WARMUP_ITERS=0)
    other.checkpointer.load()
    assert other.scheduler.last_epoch == 5
    assert [g["lr"] for g in other.optimizer.param_groups] == pytest.approx([0.05, 0.1])


@pytest.mark.parametrize("name", ["model_0000002", "model_0000001"])  # a new file, and one that is there already
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, name):
    run = Run(tmp_path)
    run.checkpointer.save("model_0000001", iteration=1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert set(before) == {"model_0000001.pth", "last_checkpoint"}
    run.step()

    def disk_full(data: dict, file) -> None:
        file.write(b"half a checkpoint")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        run.checkpointer.save(name, iteration=2)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    monkeypatch.undo()
    assert Run(tmp_path).checkpointer.load() == {"iteration": 1}


def test_a_folder_may_move(tmp_path):
    run = Run(tmp_path / "old")
    run.checkpointer.save("model_0000001", iteration=1)
    (tmp_path / "old").rename(tmp_path / "new")
    assert Run(tmp_path / "new").checkpointer.load() == {"iteration": 1}
    # A copy beside the original resumes from itself.
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    copied = Run(tmp_path / "old").checkpointer
    assert copied.get_checkpoint_file() == str(tmp_path / "old" / "model_0000001.pth")


def test_an_untagged_checkpoint_is_not_resumed_from(tmp_path):
    run = Run(tmp_path)
    run.checkpointer.save("model_nonfinite", tag=False, iteration=7)
    assert not run.checkpointer.has_checkpoint() and run.checkpointer.get_checkpoint_file() == ""
    assert run.checkpointer.load() == {}


def test_weights_that_a_resumed_run_does_not_use_are_named(tmp_path, log):
    run = Run(tmp_path / "run")
    run.checkpointer.save("model_0000001", iteration=1)
    weights = tmp_path / "weights.pth"
    torch.save({"model": Run(tmp_path, seed=5).model.state_dict()}, weights)
    other = Run(tmp_path / "run", seed=1)
    assert other.checkpointer.load(str(weights)) == {"iteration": 1}
    assert same(other.state(), run.state())
    assert f"the weights {weights} are not used" in log.text and "Resuming from" in log.text
    log.clear()
    other.checkpointer.load()
    assert "are not used" not in log.text


def test_weights_to_start_from_bring_no_iteration_and_no_momentum(tmp_path):
    trained = Run(tmp_path / "trained")
    trained.step(3)
    trained.checkpointer.save("model_final", iteration=3)
    run = Run(tmp_path / "new", seed=1)
    assert run.checkpointer.load(str(tmp_path / "trained" / "model_final.pth")) == {}
    assert same(list(run.model.parameters()), list(trained.model.parameters()))
    assert all(s["momentum_buffer"].count_nonzero() == 0 for s in run.optimizer.state.values())
    assert run.scheduler.last_epoch == 0
    assert (
        Run(tmp_path / "trained", seed=1).checkpointer.load(
            str(tmp_path / "trained" / "model_final.pth"), use_latest=False
        )
        == {}
    )


def upstream_checkpoint(run: Run) -> tuple[dict, dict[str, torch.Tensor]]:
    """What upstream saves: an optimizer with one group for each parameter. Also the momentum by name."""
    groups = [{"params": [p], "lr": 0.01, "weight_decay": 0.1} for p in run.model.parameters()]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
    for i in range(2):
        fill_gradients(run.model, i)
        optimizer.step()
    for state in optimizer.state.values():  # upstream knows one memory format only
        state["momentum_buffer"] = state["momentum_buffer"].contiguous()
    momentum = {n: optimizer.state[p]["momentum_buffer"].clone() for n, p in run.model.named_parameters()}
    scheduler = {"last_epoch": 2, "base_lrs": [0.01] * len(groups), "milestones": (9,), "gamma": 0.1}
    state = {f"module.{n}": v.contiguous() for n, v in run.model.state_dict().items()}
    return {"model": state, "optimizer": optimizer.state_dict(), "scheduler": scheduler, "iteration": 2}, momentum


def test_a_run_of_upstreams_goes_on(tmp_path):
    theirs = Run(tmp_path, seed=3)
    checkpoint, momentum = upstream_checkpoint(theirs)
    torch.save(checkpoint, tmp_path / "model_0000002.pth")
    (tmp_path / "last_checkpoint").write_text("/their/machine/model_0000002.pth")
    ours = Run(tmp_path)
    assert ours.checkpointer.load() == {"iteration": 2}
    assert len(ours.optimizer.param_groups) == 2
    for name, p in ours.model.named_parameters():
        assert torch.equal(p, theirs.model.get_parameter(name)), name
        buffer = ours.optimizer.state[p]["momentum_buffer"]
        assert torch.equal(buffer, momentum[name]) and buffer.stride() == p.stride(), name
    assert ours.scheduler.last_epoch == 2
    assert [g["weight_decay"] for g in ours.optimizer.param_groups] == [0.0005, 0]  # the configuration's
    ours.step()


def test_an_optimizer_of_another_model_is_refused(tmp_path):
    run = Run(tmp_path)
    run.checkpointer.save("model_0000001", iteration=1)
    other = Run(tmp_path)
    other.model[0].bias.requires_grad_(False)
    other.optimizer = make_optimizer(other.cfg, other.model)
    other.checkpointer.optimizer = other.optimizer
    with pytest.raises(CheckpointError, match="state is for 6 parameters, this model trains 5; start a new run"):
        other.checkpointer.load()


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("bare", [False, True])
def test_state_dicts_bare_and_wrapped(tmp_path, prefix, bare):
    source = Run(tmp_path, seed=3).model
    state = {prefix + name: value for name, value in source.state_dict().items()}
    torch.save(state if bare else {"model": state}, tmp_path / "weights.pth")
    run = Run(tmp_path / "run")
    run.checkpointer.load(str(tmp_path / "weights.pth"))
    assert same(list(run.model.parameters()), list(source.parameters()))


def test_a_model_wrapped_for_several_processes_is_saved_plain(tmp_path):
    run = Run(tmp_path)
    wrapper = nn.Module()
    wrapper.module = run.model
    Checkpointer(wrapper, save_dir=str(tmp_path)).save("model_final")
    assert set(torch.load(tmp_path / "model_final.pth")["model"]) == set(run.model.state_dict())


def test_weights_of_a_body_land_in_the_body(tmp_path):
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    model = build_detection_model(config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prefix = "backbone.body."
    body = {n.removeprefix(prefix): v for n, v in before.items() if n.startswith(prefix) and v.is_floating_point()}
    assert "layer1.0.conv1.weight" in body and "stem.conv1.weight" in body
    body = {name: torch.randn_like(value) for name, value in body.items()}
    torch.save(body, tmp_path / "body.pth")
    DetectronCheckpointer(config, model).load(str(tmp_path / "body.pth"))
    for name, value in model.state_dict().items():
        expected = body.get(name.removeprefix(prefix), before[name])
        assert torch.equal(value, expected), name


def test_weights_of_something_else_are_an_error(tmp_path):
    torch.save({"encoder.layers.0": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match="None of the 1 loaded weights belongs to this model: .*'encoder.layers.0'.*'0.weight'"
    ):
        Run(tmp_path / "run").checkpointer.load(str(tmp_path / "other.pth"))


class Malicious:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cannot_run_code(tmp_path, zipped):
    target = tmp_path / "made by the file"
    torch.save({"model": Malicious(target)}, tmp_path / "bad.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        CheckpointError, match=r"bad.pth is not a readable checkpoint .*it asks for posix.mkdir, and other objects"
    ):
        load_file(str(tmp_path / "bad.pth"))
    assert not target.exists()


def test_files_that_are_no_checkpoints(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").touch()
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(FileNotFoundError, match="is a folder: name the checkpoint in it"):
        load_file(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        load_file(str(tmp_path / "missing.pth"))
    sentences = {"text": r"not a readable checkpoint \(5 bytes\)", "empty": r"\(0 bytes\)", "list": "a list, not"}
    for name, sentence in sentences.items():
        with pytest.raises(CheckpointError, match=sentence):
            load_file(str(tmp_path / f"{name}.pth"))
    with pytest.raises(
        ConfigError, match="no model 'ImageNetPretrained/R-50' in the catalog; give MODEL.WEIGHT the path"
    ):
        Run(tmp_path / "run").checkpointer.load("catalog://ImageNetPretrained/R-50")


def test_processes_but_the_main_one_do_not_write(tmp_path):
    run = Run(tmp_path)
    Checkpointer(run.model, save_dir=str(tmp_path), save_to_disk=False).save("model_final")
    Checkpointer(run.model, save_dir="").save("model_final")
    assert list(tmp_path.iterdir()) == []
    assert module.LAST_CHECKPOINT == "last_checkpoint"  # upstream's runs are found by this name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("model"), "holds no weights of a model; its entries are: optimizer, scheduler, iteration"),
        (
            lambda c: c.update(optimizer={"state": {}}),
            "state of the optimizer in the checkpoint cannot be used: it is incomplete",
        ),
        (lambda c: c.update(optimizer=[1]), "state of the optimizer in the checkpoint cannot be used"),
        (
            lambda c: c.update(scheduler={}),
            "state of the scheduler in the checkpoint cannot be used: it is incomplete, or of another scheduler",
        ),
        (lambda c: c.update(iteration="7"), "says '7' where the number of its iteration belongs"),
        (lambda c: c.update(iteration=-1), "says -1 where"),
    ],
)
@pytest.mark.parametrize("kind", [Checkpointer, DetectronCheckpointer])
def test_what_is_odd_in_a_checkpoint_to_go_on_from_is_a_sentence(tmp_path, change, said, kind):
    run = Run(tmp_path)
    run.step()
    run.checkpointer.save("model_0000001", iteration=1)
    content = torch.load(tmp_path / "model_0000001.pth")
    change(content)
    torch.save(content, tmp_path / "model_0000001.pth")
    parts = (run.model, run.optimizer, run.scheduler, str(tmp_path))
    checkpointer = kind(*parts) if kind is Checkpointer else kind(run.cfg, *parts)
    with pytest.raises(CheckpointError, match=said):
        checkpointer.load()


def test_a_bare_state_dict_is_taken_by_either_checkpointer(tmp_path):
    source = Run(tmp_path, seed=3).model
    torch.save(source.state_dict(), tmp_path / "bare.pth")
    model = Run(tmp_path / "run").model
    Checkpointer(model).load(str(tmp_path / "bare.pth"))
    assert same(list(model.parameters()), list(source.parameters()))


def test_of_checkpoints_kept_the_one_just_written_stays(tmp_path):
    """In a folder with later ones, of an earlier run or damaged."""
    for name in ("model_0080000.pth", "model_0090000.pth"):
        (tmp_path / name).write_bytes(b"of another run")
    run = Run(tmp_path, CHECKPOINTS_KEPT=2)
    run.step()
    for iteration in (10, 20, 30):
        run.checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
        assert run.checkpointer.load()["iteration"] == iteration
    run.checkpointer.save("model_final", iteration=40)
    names = sorted(path.name for path in tmp_path.glob("*.pth"))
    assert names == [*(f"model_{i:07d}.pth" for i in (20, 30, 80000, 90000)), "model_final.pth"]
    assert run.checkpointer.load()["iteration"] == 40


def test_a_run_of_an_old_torch_goes_on(tmp_path):
    """torch before 1.6, with which upstream's runs were trained, wrote no archives."""
    run = Run(tmp_path)
    run.step(3)
    expected = run.state()
    for iteration in (2, 3):
        run.checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
        path = tmp_path / f"model_{iteration:07d}.pth"
        torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)
    other = Run(tmp_path, seed=1)
    assert other.checkpointer.load()["iteration"] == 3
    assert same(other.state(), expected)
    path.write_bytes(path.read_bytes()[:1000])
    assert Run(tmp_path).checkpointer.load()["iteration"] == 2
