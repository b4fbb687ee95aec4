from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import do_coco_evaluation as coco_evaluation

__all__ = ["coco_evaluation"]
