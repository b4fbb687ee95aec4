"""A model, a loader and a run small enough to follow by hand."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.engine.training import train
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.utils.checkpoint import Checkpointer


class Model(nn.Module):
    """Two losses of a linear map; the second never sees the images. Notes what it computed and drew."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
        self.seen: list[dict[str, float]] = []
        self.drawn: list[float] = []

    def forward(self, images: Tensor, targets: list) -> dict[str, Tensor]:
        losses = {"loss_fit": self.linear(images).square().mean(), "loss_size": 0.1 * self.linear.weight.square().sum()}
        self.seen.append({name: value.item() for name, value in losses.items()})
        self.drawn.append(torch.rand(()).item())
        return losses


class Loader:
    """Batches of two images: `Tensor[2, 4]`, filled with `value` in iteration `bad`. Image i has the id 100 + i."""

    class dataset:
        @staticmethod
        def get_img_info(index: int) -> dict:
            return {"id": 100 + index}

    def __init__(self, iterations: int, start: int = 0, bad: int = 0, value: float = float("nan"), seed: int = 0):
        self.iterations, self.start, self.bad, self.value, self.seed = iterations, start, bad, value, seed

    def __iter__(self):
        for i in range(self.start + 1, self.iterations + 1):
            images = torch.randn(2, 4, generator=torch.Generator().manual_seed(1000 * self.seed + i))
            yield images.fill_(self.value) if i == self.bad else images, (), (2 * i, 2 * i + 1)


class Run:
    """What engine.run makes of a configuration, around the model above."""

    def __init__(self, folder: Path, iterations: int, **keys: Any):
        self.cfg = cfg.clone()
        self.cfg.merge_from_list(["SOLVER.BASE_LR", 0.05, "SOLVER.WARMUP_ITERS", 0, "SOLVER.STEPS", (), "SEED", 1])
        self.cfg.merge_from_list(["SOLVER.MAX_ITER", iterations, "SOLVER.LOG_PERIOD", 1, "OUTPUT_DIR", str(folder)])
        self.cfg.merge_from_list([word for k, v in keys.items() for word in (k.replace("__", "."), v)])
        self.folder = folder
        self.model = Model()
        self.optimizer = make_optimizer(self.cfg, self.model)
        self.scheduler = make_lr_scheduler(self.cfg, self.optimizer)
        keep = self.cfg.SOLVER.CHECKPOINTS_KEPT
        self.checkpointer = Checkpointer(self.model, self.optimizer, self.scheduler, str(folder), keep=keep)

    def train(
        self, loader: Any = None, wrapped: nn.Module | None = None, checkpoint_period: int = 0, **options: Any
    ) -> None:
        train(
            self.cfg,
            wrapped or self.model,
            loader or Loader(self.cfg.SOLVER.MAX_ITER),
            self.optimizer,
            self.scheduler,
            self.checkpointer,
            torch.device("cpu"),
            checkpoint_period,
            options.pop("test_period", 0),
            options.pop("arguments", {"iteration": 0}),
            **options,
        )

    def saved(self, name: str) -> dict:
        return torch.load(self.folder / f"{name}.pth", weights_only=True)
