"""What a configuration or a data set may name: kinds of data sets, and evaluators. One's own is registered in one line."""

from maskrcnn_benchmark.utils.registry import Registry

# FACTORY in DATASETS.DEFINITIONS, "factory" in the catalog: make(**arguments, transforms=...) -> a data set. Those of
# data/datasets are there once their modules are imported, which dataset_class of data/catalog.py does.
DATASETS = Registry()
# A data set's attribute `evaluator`: make(dataset, output_folder, tasks, proposals) -> an Evaluator.
EVALUATORS = Registry()
