from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import (  # noqa: F401 (they stood here until November 2018)
    COCOResults,
    check_expected_results,
    evaluate_box_proposals,
    evaluate_predictions_on_coco,
    prepare_for_coco_detection,
    prepare_for_coco_segmentation,
)
from maskrcnn_benchmark.engine.detection import (  # noqa: F401
    _accumulate_predictions_from_multiple_gpus,
    compute_on_dataset,
    inference,
)
