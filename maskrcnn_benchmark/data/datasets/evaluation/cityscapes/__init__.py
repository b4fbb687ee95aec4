from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.cityscapes_eval import (
    abs_cityscapes_evaluation,
    do_cityscapes_evaluation,
)

__all__ = ["abs_cityscapes_evaluation", "do_cityscapes_evaluation"]
