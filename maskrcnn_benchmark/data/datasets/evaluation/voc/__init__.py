from maskrcnn_benchmark.data.datasets.evaluation.voc.voc_eval import do_voc_evaluation, voc_evaluation

__all__ = ["do_voc_evaluation", "voc_evaluation"]
