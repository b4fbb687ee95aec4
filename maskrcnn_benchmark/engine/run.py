"""What the command lines share: configuration, devices, training and testing runs."""

import logging
import os
import warnings
from argparse import Namespace
from typing import Any

import numpy as np
import torch
from torch import nn

import maskrcnn_benchmark.utils.env  # noqa: F401  # first: a fork's own environment
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.config.checks import check_config
from maskrcnn_benchmark.config.node import ConfigError, read_values
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.config.unread import forget_reads
from maskrcnn_benchmark.config.whole import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.auto_tiles import choose_tiles
from maskrcnn_benchmark.data.catalog import tested_as_trained
from maskrcnn_benchmark.data.categories import class_names_of, number_of_classes
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult
from maskrcnn_benchmark.data.labels import ids_of_labels, labelled_as, set_class_names
from maskrcnn_benchmark.engine import forks, trainer, training
from maskrcnn_benchmark.engine.errors import EvaluationError
from maskrcnn_benchmark.engine.loading import compile_backbone, find_weights
from maskrcnn_benchmark.engine.pictures import draw_predictions
from maskrcnn_benchmark.engine.reporting import report_test, report_training
from maskrcnn_benchmark.engine.testing import check_best_metric, evaluate_model
from maskrcnn_benchmark.engine.tiled_detection import make_tiled_detection
from maskrcnn_benchmark.engine.time_budget import make_time_budget
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.solver.ema import make_ema
from maskrcnn_benchmark.solver.scaling import scale_to_batch
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from maskrcnn_benchmark.utils.files import check_folder
from maskrcnn_benchmark.utils.log_file import early_warnings, into_file
from maskrcnn_benchmark.utils.logger import setup_logger
from maskrcnn_benchmark.utils.miscellaneous import mkdir
from maskrcnn_benchmark.utils.run_record import record_run, save_config, write_labels
from maskrcnn_benchmark.utils.seed import draw_seed, seed_everything
from maskrcnn_benchmark.utils.wording import counted

CONFIG_NAME = "config.yml"  # in OUTPUT_DIR: the whole configuration of the training
WRITTEN = (CONFIG_NAME, "log.txt", "metrics.jsonl", "labels.json", "environment.txt", "last_checkpoint")


def set_up(args: Namespace, phase: str = "") -> torch.device:
    """Read the configuration into `cfg`, join the other processes, start the log. Returns this process's device.

    With a `phase`, "TRAIN" or "TEST", something has to name data sets for it.
    """
    with early_warnings("maskrcnn_benchmark") as warned:
        if args.config_file:
            cfg.merge_from_file(args.config_file)
        cfg.merge_from_list(args.opts)
        check_config(cfg)
    if phase and not (args.config_file or cfg.DATASETS[phase]):
        raise ConfigError(
            f"No configuration was named: `mrb {phase.lower()} CONFIG`. `mrb suggest` writes one for your images and labels; the "
            "package has some in its folder configs, like enl/faster_rcnn_R_50_FPN_3enl_td."
        )
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}, but torch {torch.__version__} finds no GPU here; add MODEL.DEVICE cpu."
        )
    timeout = options(cfg).TIMEOUT
    # A process that hangs ends itself after TIMEOUT and says where it was; torch's own time-out is for those that cannot.
    device = distributed.init_from_environment(cfg.MODEL.DEVICE, timeout_s=timeout + 60 if timeout > 0 else 7 * 86400)
    if options(cfg).SEED < 0:  # also where a fork has another kind of SEED
        seed = _seed_of_last_run(cfg.OUTPUT_DIR)
        cfg.SEED = distributed.broadcast_object(draw_seed() if seed is None else seed)
    if cfg.OUTPUT_DIR:
        check_folder(cfg.OUTPUT_DIR, "OUTPUT_DIR", WRITTEN)
    logger = setup_logger("maskrcnn_benchmark", cfg.OUTPUT_DIR, distributed.get_rank())
    into_file(logger, warned)
    scale_to_batch(cfg, distributed.get_world_size())
    choose_tiles(cfg)
    cfg.freeze()
    logger.info("Processes: %d, device %s, seed %d", distributed.get_world_size(), device, cfg.SEED)
    logger.debug("Configuration:\n%s", cfg)
    forget_reads(cfg)
    return device


def _seed_of_last_run(output_dir: str) -> int | None:
    """The seed that a run to be resumed drew."""
    path = os.path.join(output_dir, CONFIG_NAME)
    if (
        not output_dir
        or not os.path.isfile(path)
        or not Checkpointer(nn.Identity(), save_dir=output_dir).has_checkpoint()
    ):
        return None
    return read_values(path).get("SEED")


def build_model(device: torch.device) -> nn.Module:
    """The configured model; its initial weights depend on SEED alone."""
    seed_everything(cfg.SEED)
    return compile_backbone(cfg, build_detection_model(cfg).to(device))


def distribute(model: nn.Module, device: torch.device, find_unused_parameters: bool = False) -> nn.Module:
    """The model with gradients averaged over the processes; running statistics are each process's own."""
    device_ids = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():
        # From torch 2.15 on `forward_sync_buffers` is to replace this argument; earlier versions do not know it.
        warnings.simplefilter("ignore", FutureWarning)
        return nn.parallel.DistributedDataParallel(
            model,
            device_ids=device_ids,
            broadcast_buffers=False,
            find_unused_parameters=find_unused_parameters,
        )


def train(device: torch.device) -> nn.Module:
    """Train as `cfg` says, going on from the last checkpoint in OUTPUT_DIR if there is one.

    Returns:
        The model to test: with SOLVER.EMA the averaged one.
    """
    if not cfg.OUTPUT_DIR:
        logging.getLogger("maskrcnn_benchmark").warning(
            "OUTPUT_DIR is empty: no checkpoint and nothing else of this training will be saved. Set OUTPUT_DIR to a folder to "
            "keep the model."
        )
    for sentence in tested_as_trained(cfg):
        logging.getLogger("maskrcnn_benchmark").warning("%s", sentence)
    model = build_model(device)
    optimizer = make_optimizer(cfg, model)
    scheduler = make_lr_scheduler(cfg, optimizer)
    own, is_distributed = options(cfg), distributed.get_world_size() > 1
    wrapped = distribute(model, device, own.SOLVER.FIND_UNUSED_PARAMETERS) if is_distributed else model
    checkpointer = DetectronCheckpointer(
        cfg, model, optimizer, scheduler, cfg.OUTPUT_DIR, distributed.is_main_process()
    )
    arguments: dict[str, Any] = {"iteration": 0, "seed": cfg.SEED}
    arguments.update(checkpointer.load(cfg.MODEL.WEIGHT))
    _check_same_start(arguments["iteration"])
    if cfg.OUTPUT_DIR:  # not before: the folder may hold a finished run of another model
        save_config(cfg, os.path.join(cfg.OUTPUT_DIR, CONFIG_NAME))
        if distributed.is_main_process():
            record_run(cfg.OUTPUT_DIR)
    averaged = arguments.pop("ema", None)
    ema = make_ema(cfg, model, averaged)
    is_resumed = arguments["iteration"] > 0  # rather than begun with another training's weights
    if is_resumed and averaged is not None and ema is None:
        logging.getLogger("maskrcnn_benchmark.trainer").warning(
            "The checkpoint holds averaged weights (SOLVER.EMA), this training keeps none: its checkpoints are without them."
        )
    tested = model if ema is None else ema.module
    early_stopped = arguments.pop("early_stopped", False) and own.SOLVER.EARLY_STOP > 0
    budget = make_time_budget(cfg, arguments.get("seconds", 0.0))
    is_done = arguments["iteration"] >= cfg.SOLVER.MAX_ITER if budget is None else budget.is_over
    if is_done or early_stopped:
        set_class_names(tested, arguments.get("class_names", {}))
        logging.getLogger("maskrcnn_benchmark").info(
            "Nothing to train: %s done%s.",
            counted(arguments["iteration"], "iteration is", "iterations are"),
            ", and the last tests brought nothing better (SOLVER.EARLY_STOP)" if early_stopped else "",
        )
        return tested
    if cfg.SOLVER.TEST_PERIOD > 0 and trainer.do_train is training.do_train:
        check_best_metric(cfg)
    # What a checkpoint's labels are called: its tests match categories by it. Asked for before the loader writes labels.json.
    known = arguments.get("class_names") or getattr(checkpointer, "class_names", {})
    known = known or class_names_of(cfg, {}, find_weights(cfg))
    common: dict[str, Any] = {
        "model": wrapped,
        "data_loader": make_data_loader(
            cfg, is_train=True, is_distributed=is_distributed, start_iter=arguments["iteration"]
        ),
        "optimizer": optimizer,
        "scheduler": scheduler,
        "checkpointer": checkpointer,
        "device": device,
        "checkpoint_period": cfg.SOLVER.CHECKPOINT_PERIOD,
        "test_period": cfg.SOLVER.TEST_PERIOD,
        "arguments": arguments,
    }
    dataset = common["data_loader"].dataset
    arguments["class_names"] = labelled_as(dataset, known, number_of_classes(cfg))
    if cfg.OUTPUT_DIR:
        write_labels(ids_of_labels(dataset, arguments["class_names"]), cfg.OUTPUT_DIR)
    for part in (model, tested):
        set_class_names(part, arguments["class_names"])
    if trainer.do_train is training.do_train:
        training.train(
            cfg,
            **common,
            evaluate=lambda pictures: test(tested, device, pictures if own.TENSORBOARD else None, is_periodic=True),
            ema=ema,
        )
        report_training(cfg)
        return tested
    if budget is not None:
        raise ConfigError("SOLVER.MAX_TIME needs this package's do_train, not a fork's; set it to 0.")
    validation = None
    if cfg.SOLVER.TEST_PERIOD > 0:
        validation = make_data_loader(cfg, is_train=False, is_distributed=is_distributed, is_for_period=True)
    forks.call_do_train(trainer.do_train, cfg, **common, data_loader_val=validation)
    report_training(cfg)
    return model


def _check_same_start(iteration: int) -> None:
    """Raise unless all processes go on from the same iteration."""
    found = distributed.all_gather(iteration)
    if len(set(found)) > 1:
        raise CheckpointError(
            f"The processes found checkpoints of different iterations in {cfg.OUTPUT_DIR} (by rank: {found}). OUTPUT_DIR must "
            "be a folder that all nodes share."
        )


def test(
    model: nn.Module,
    device: torch.device,
    pictures: dict[str, np.ndarray] | None = None,
    is_periodic: bool = False,
) -> list[EvaluationResult | None]:
    """Evaluate on every data set of DATASETS.TEST; results go to OUTPUT_DIR/inference/NAME.

    All processes test the main one's model, which is the one that checkpoints hold. `pictures` is filled with drawings of some
    detections; a test that `is_periodic`, within a training, has no report. Raises EvaluationError if an evaluation failed,
    after the others, whose results it holds.
    """

    distributed.broadcast_tensors(model.buffers())
    loaders: Any = make_data_loader(cfg, is_train=False, is_distributed=distributed.get_world_size() > 1)
    tiled = make_tiled_detection(cfg)
    views = cfg.TEST.BBOX_AUG.ENABLED if tiled is None else tiled.detect
    results: list[EvaluationResult | None] = []
    failures: list[EvaluationError] = []
    for name, loader in zip(cfg.DATASETS.TEST, loaders, strict=True):
        folder = os.path.join(cfg.OUTPUT_DIR, "inference", name) if cfg.OUTPUT_DIR else None
        if folder:
            mkdir(folder)
        try:
            seen: list[BoxList] = []
            results.append(evaluate_model(cfg, model, loader, name, device, folder, views, seen))
            if pictures is not None and folder and distributed.is_main_process():
                pictures.update(_pictures_of(loader.dataset, os.path.join(folder, "predictions.pth")))
            if not is_periodic:
                report_test(cfg, name, folder, results[-1], loader.dataset, seen)
        except EvaluationError as error:  # of the main process alone: the others go on to the next data set
            failures.append(error)
            results.append(None)
        distributed.synchronize()
    for failure in failures[1:]:
        logging.getLogger("maskrcnn_benchmark").error("%s", failure)
    if failures:
        failures[0].results = results
        raise failures[0]
    return results


def _pictures_of(dataset: Any, predictions: str) -> dict[str, np.ndarray]:
    """Drawings of what a test, which a fork may have made its own, wrote to a file a moment ago; none if it could not."""
    if not os.path.isfile(predictions):
        return {}
    try:
        return draw_predictions(dataset, torch.load(predictions, weights_only=False))
    except Exception as error:
        logging.getLogger("maskrcnn_benchmark").warning("Detections could not be drawn: %s", error, exc_info=True)
        return {}
