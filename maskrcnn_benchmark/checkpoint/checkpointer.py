"""Saving and loading the state of a training."""

import logging
import os
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from maskrcnn_benchmark.checkpoint import matching
from maskrcnn_benchmark.checkpoint.context import KINDS, kinds_of, leave_other_kinds
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.checkpoint.weights import check_contents, load_file, load_weights, with_model
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.solver.warmup import WarmupLR
from maskrcnn_benchmark.utils import distributed, model_serialization
from maskrcnn_benchmark.utils.files import write_atomically

LAST_CHECKPOINT = "last_checkpoint"  # a text file that names the checkpoint to resume from


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any], model: nn.Module) -> None:
    """Load an optimizer's state, also upstream's, which has one group for each parameter in the order of the model.

    Momentum takes the strides of its parameter, which the fused step relies on.
    """
    own = optimizer.state_dict()
    sizes, own_sizes = ([len(g["params"]) for g in s["param_groups"]] for s in (state, own))
    if sizes != own_sizes:
        names = [name for group in own["param_groups"] for name in group.get("param_names", ())]
        in_model_order = [name for name, p in model.named_parameters() if p.requires_grad]
        if sum(sizes) != sum(own_sizes) or sorted(names) != sorted(in_model_order):
            raise CheckpointError(
                f"The checkpoint's optimizer state is for {sum(sizes)} parameters, this model trains {sum(own_sizes)}; "
                "start a new run from its weights instead (MODEL.WEIGHT, in another OUTPUT_DIR)."
            )
        values = {i: state["state"][in_model_order.index(n)] for i, n in enumerate(names)} if state["state"] else {}
        state = {"state": values, "param_groups": own["param_groups"]}
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _load_part(name: str, load: Callable[[Any], None], state: Any) -> None:
    """Let `load` take the state of the optimizer or schedule. Raises CheckpointError whatever is wrong with it."""
    try:
        load(state)
    except CheckpointError:
        raise
    except Exception as error:  # what another program wrote there fails in every way: KeyError, AttributeError, ...
        raise CheckpointError(
            f"The state of the {name} in the checkpoint cannot be used: it is incomplete, or of another {name} or model. Start a "
            "new run from its weights instead (MODEL.WEIGHT, in another OUTPUT_DIR)."
        ) from error


def _number(path: str) -> int | None:
    """The iteration of .../model_0000100.pth; None for other names."""
    found = re.fullmatch(r"model_(\d{7,})\.pth", os.path.basename(path))
    return int(found[1]) if found else None


def _check_position(checkpoint: dict[str, Any]) -> None:
    iteration = checkpoint.get("iteration", 0)
    if isinstance(iteration, bool) or not isinstance(iteration, int) or iteration < 0:
        raise CheckpointError(
            f"The checkpoint says {iteration!r} where the number of its iteration belongs, so no run can go on from it; start "
            "a new one from its weights (MODEL.WEIGHT, in another OUTPUT_DIR)."
        )


class Checkpointer:
    """Saves and loads a model with its optimizer and schedule in a folder.

    Args:
        save_dir: the folder; nothing is saved or found if it is empty.
        save_to_disk: whether this process writes; one of several should.
        keep: how many numbered checkpoints stay in the folder, of those up to the one that is saved the newest; 0 for all.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        save_dir: str = "",
        save_to_disk: bool | None = None,
        logger: logging.Logger | None = None,
        keep: int = 0,
    ):
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.save_dir = save_dir
        self.save_to_disk = distributed.is_main_process() if save_to_disk is None else save_to_disk
        self.logger = logger or logging.getLogger(__name__)
        self.keep = keep

    def save(self, name: str, tag: bool = True, **kwargs: Any) -> None:
        """Write save_dir/name.pth with the state of everything and `kwargs`; with `tag` a resumed run starts from it.

        The file appears only when it is complete, so a full disk or a kill leaves the one before it in place.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data: dict[str, Any] = {"model": self._plain_model().state_dict()}
        if self.optimizer is not None:
            data["optimizer"] = self.optimizer.state_dict()
        if self.scheduler is not None:
            data["scheduler"] = self.scheduler.state_dict()
        if kinds := kinds_of(self._plain_model()):
            data[KINDS] = kinds
        data.update(kwargs)
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        os.makedirs(self.save_dir, exist_ok=True)
        write_atomically(path, lambda f: torch.save(data, f))
        if tag:
            self.tag_last_checkpoint(path)
            # Later ones are another run's, or were passed over as damaged.
            until = _number(path) if _number(path) is not None else kwargs.get("iteration")
            for old in self._numbered(until)[self.keep :] if self.keep > 0 else ():
                self._remove(old)

    def _remove(self, path: str) -> None:
        try:
            os.remove(path)
        except OSError as error:
            self.logger.warning("An old checkpoint could not be removed: %s", error)

    def load(self, f: str | None = None, use_latest: bool = True, averaged: bool = False) -> dict[str, Any]:
        """Load the run's last checkpoint if there is one and `use_latest`, otherwise the file `f`.

        If the last checkpoint cannot be read, the one before it is taken, and that is said.

        Args:
            averaged: take the averaged weights (SOLVER.EMA) for the model, where the file has them.

        Returns:
            What the checkpoint holds beside model, optimizer and schedule; empty if nothing was loaded.
        """
        resuming = use_latest and self.has_checkpoint()
        if resuming:
            latest = self.get_checkpoint_file()
            if f and f != latest:
                self.logger.warning("Resuming from %s; the weights %s are not used.", latest, f)
            f = latest
        if not f:
            self.logger.info("No checkpoint: the model starts from its initial weights.")
            return {}
        checkpoint = self._load_last() if resuming else self._load_named(f)
        if averaged and isinstance(checkpoint.get("ema"), dict):
            self.logger.info("Its averaged weights are used (SOLVER.EMA)")
            checkpoint["model"] = checkpoint["ema"]
        leave_other_kinds(self._plain_model(), checkpoint, self._may_mismatch() and not resuming)
        self._load_model(checkpoint)
        for name, load in (("optimizer", self._load_optimizer), ("scheduler", self._load_scheduler)):
            state = checkpoint.pop(name, None)
            if state is not None and getattr(self, name) is not None and resuming:
                _load_part(name, load, state)
        if resuming:
            _check_position(checkpoint)
        return checkpoint if resuming else {}

    def _load_named(self, f: str) -> dict[str, Any]:
        self.logger.info("Loading checkpoint from %s", f)
        return self._load_file(f)

    def _load_last(self) -> dict[str, Any]:
        """The last checkpoint that can be read."""
        last = self.get_checkpoint_file()
        before = [path for path in self._numbered() if os.path.basename(path) < os.path.basename(last)]
        for path, next_path in zip([last, *before], [*before, None], strict=True):
            try:
                check_contents(path)
                return self._load_named(path)
            except (CheckpointError, FileNotFoundError) as error:
                if next_path is None:
                    raise
                self.logger.error("%s The run goes on from the checkpoint before it, %s.", error, next_path)
        raise AssertionError("unreachable")

    def _numbered(self, until: int | None = None) -> list[str]:
        """The checkpoints of iterations, of those up to `until`, newest first."""
        numbers = {name: number for name in os.listdir(self.save_dir) if (number := _number(name)) is not None}
        names = [name for name, number in numbers.items() if until is None or number <= until]
        return [os.path.join(self.save_dir, name) for name in sorted(names, key=numbers.__getitem__, reverse=True)]

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        assert self.optimizer is not None
        load_optimizer_state(self.optimizer, state, self._plain_model())

    def _load_scheduler(self, state: dict[str, Any]) -> None:
        """The position in the schedule; milestones and rates are the configuration's, if the schedule is this package's."""
        assert self.optimizer is not None
        if not isinstance(self.scheduler, WarmupLR):
            self.scheduler.load_state_dict(state)
            return
        self.scheduler.last_epoch = state["last_epoch"]
        for group, lr in zip(self.optimizer.param_groups, self.scheduler.get_lr(), strict=True):
            group["lr"] = lr
        self.scheduler._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def has_checkpoint(self) -> bool:
        return bool(self.save_dir) and os.path.isfile(os.path.join(self.save_dir, LAST_CHECKPOINT))

    def get_checkpoint_file(self) -> str:
        """The checkpoint to resume from; empty if there is none. It may have moved together with its folder."""
        if not self.has_checkpoint():
            return ""
        with open(os.path.join(self.save_dir, LAST_CHECKPOINT), encoding="utf-8", errors="replace") as f:
            named = f.read().strip()
        beside = os.path.join(self.save_dir, os.path.basename(named))
        return beside if os.path.isfile(beside) else named

    def tag_last_checkpoint(self, last_filename: str) -> None:
        path = os.path.join(self.save_dir, LAST_CHECKPOINT)
        write_atomically(path, lambda f: f.write(last_filename.encode()))

    def _load_file(self, f: str) -> dict[str, Any]:
        return with_model(load_file(f), f)

    def _may_mismatch(self) -> bool:
        return False

    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        model_serialization.load_state_dict(self._plain_model(), checkpoint.pop("model"))

    def _plain_model(self) -> nn.Module:
        """The model without DistributedDataParallel around it."""
        return getattr(self.model, "module", self.model)


class DetectronCheckpointer(Checkpointer):
    """A Checkpointer that also takes bare state dicts and says what of a file does not fit the model."""

    def __init__(
        self,
        cfg: CfgNode,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        save_dir: str = "",
        save_to_disk: bool | None = None,
        logger: logging.Logger | None = None,
    ):
        keep = options(cfg).SOLVER.CHECKPOINTS_KEPT
        super().__init__(model, optimizer, scheduler, save_dir, save_to_disk, logger, keep)
        self.cfg = cfg.clone()
        self.class_names: dict[int, str] = {}  # what the labels of the weights loaded last are called

    def _load_file(self, f: str) -> dict[str, Any]:
        return load_weights(self.cfg, f)

    def _may_mismatch(self) -> bool:
        return bool(options(self.cfg).MODEL.WEIGHT_ALLOW_MISMATCH)

    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        self.class_names = checkpoint.get("class_names") or {}
        if not self._may_mismatch():
            super()._load_model(checkpoint)
            return
        matching.load_state_dict(self._plain_model(), checkpoint.pop("model"), allow_mismatch=True)
