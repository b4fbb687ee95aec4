"""What a training says about itself."""

import logging
import os
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.engine.time_budget import TimeBudget
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.metric_logger import MetricLogger, SmoothedValue
from maskrcnn_benchmark.utils.metric_writer import MetricWriter
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.timer import get_time_str


class Progress:
    """Progress: a line in the log, a line of JSON, TensorBoard, and a bar where someone watches."""

    def __init__(self, cfg, start_iter: int, budget: TimeBudget | None = None):
        own, self.budget = options(cfg), budget
        self.period, self.max_iter, self.start_iter = own.SOLVER.LOG_PERIOD, cfg.SOLVER.MAX_ITER, start_iter
        self.logger = logging.getLogger("maskrcnn_benchmark.trainer")
        self.seconds = SmoothedValue()
        self.since_report = MetricLogger()
        self.images, self.began, self.last_line = 0, time.perf_counter(), ""
        self.writer: MetricWriter | None = None
        self.bar: tqdm | None = None
        if distributed.is_main_process():
            if cfg.OUTPUT_DIR:
                os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
                events = cfg.OUTPUT_DIR if own.TENSORBOARD else None
                self.writer = MetricWriter(os.path.join(cfg.OUTPUT_DIR, "metrics.jsonl"), events, start_iter)
            total = self.max_iter if budget is None else None
            self.bar = progress_bar(total=total, initial=start_iter, desc="training", unit="it")

    def step(self, values: dict[str, Tensor], images: int, seconds: float, waited: float) -> None:
        """Note what an iteration computed, its images in this process, how long it took and how long it waited for them."""
        self.seconds.update(seconds)
        self.images += images
        self.since_report.update(**values, images=images, time=seconds, data=waited)
        if self.bar is not None:
            self.bar.update()

    def is_due(self, iteration: int) -> bool:
        is_last = iteration == self.max_iter if self.budget is None else self.budget.is_over
        return iteration % self.period == 0 or is_last

    def report(self, iteration: int, lr: float, device: torch.device, **extra: float) -> None:
        """Means over the iterations since the last report. A collective call: losses are means over the processes too."""
        means = {name: meter.global_avg for name, meter in self.since_report.meters.items()}
        self.since_report = MetricLogger()
        seconds, waited, images = means.pop("time"), means.pop("data"), means.pop("images")
        images_s = images * distributed.get_world_size() / seconds
        local = {name: torch.tensor(mean, device=device) for name, mean in means.items()}
        losses = {name: value.item() for name, value in distributed.reduce_dict(local).items()}
        if not distributed.is_main_process():
            return
        if self.budget is None:
            place, eta = f"iter {iteration}/{self.max_iter}", (self.max_iter - iteration) * self.seconds.global_avg
        else:
            place = f"iter {iteration} ({100 * self.budget.share:.0f} %)"
            eta = max(self.budget.limit - self.budget.spent, 0)
        on_gpu = device.type == "cuda"
        memory = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else _resident_mb()
        if self.writer is not None:
            values = {**losses, **extra, "lr": lr, "time": seconds, "data": waited, "images_s": images_s}
            self.writer.write(iteration, {**values, "memory_mb": memory})
        self.last_line = (
            "  ".join(f"{name} {value:.4f}" for name, value in losses.items()) + f"  memory {memory:.0f} MB"
        )
        parts = [place, f"eta {get_time_str(eta)}"]
        parts += [f"{name} {value:.4f}" for name, value in losses.items()]
        parts += [f"lr {lr:.6f}", f"time {seconds:.3f} s", f"data {waited:.3f} s", f"{images_s:.1f} images/s"]
        parts += [f"memory {memory:.0f} MB", *(f"{name} {value:g}" for name, value in extra.items())]
        self.logger.info("  ".join(parts))

    def note(self, iteration: int, metrics: dict[str, float], pictures: dict[str, np.ndarray]) -> None:
        """Results of a test, and RGB pictures of its detections by name."""
        if self.writer is None:
            return
        if metrics:
            self.writer.write(iteration, {f"test/{name}": value for name, value in metrics.items()})
        for name, picture in pictures.items():
            self.writer.picture(iteration, f"detections/{name}", picture)

    def summary(self, arguments: dict[str, Any]) -> None:
        """What the training came to."""
        seconds = time.perf_counter() - self.began
        done = max(arguments["iteration"] - self.start_iter, 1)
        self.logger.info(
            "Training took %s (%.4f s an iteration, %.1f images/s)",
            get_time_str(seconds),
            seconds / done,
            self.images * distributed.get_world_size() / seconds,
        )
        if best := arguments.get("best"):
            self.logger.info(
                "Best test: %s %.4f after iteration %d, in model_best.pth",
                best["metric"],
                best["value"],
                best["iteration"],
            )

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        if self.bar is not None:
            self.bar.close()


def _resident_mb() -> float:
    """Memory of this process now, in MB (0 where the system does not say)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError):
        return 0.0
