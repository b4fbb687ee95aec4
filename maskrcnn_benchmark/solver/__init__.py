from maskrcnn_benchmark.solver.build import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.solver.ema import make_ema
from maskrcnn_benchmark.solver.lr_scheduler import WarmupMultiStepLR
from maskrcnn_benchmark.solver.scaling import scale_to_batch
from maskrcnn_benchmark.solver.warmup import WarmupCosineLR

__all__ = ["WarmupCosineLR", "WarmupMultiStepLR", "make_ema", "make_lr_scheduler", "make_optimizer", "scale_to_batch"]
