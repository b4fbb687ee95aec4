"""tools/train_net.py in two processes, as the documentation says to start it."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from tests.support.helpers import CONFIG, options, write_coco

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_whole_run(tmp_path):
    write_coco(tmp_path, images=5, empty=(2,))
    write_coco(tmp_path, "more", images=3)
    keys = {
        "DATASETS__TRAIN": '("set", "more")',
        "DATASETS__DEFINITIONS__more__IMG_DIR": tmp_path / "more",
        "DATASETS__DEFINITIONS__more__ANN_FILE": tmp_path / "more.json",
        "SOLVER__MAX_ITER": 3,
        "SOLVER__BASE_LR": 0.01,
        "DATALOADER__FILTER_EMPTY_ANNOTATIONS": False,
        "MODEL__ROI_HEADS__SCORE_THRESH": 0.01,
    }
    words = ["--config-file", str(CONFIG), *options(tmp_path, **keys)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, str(ROOT / "tools" / "train_net.py"), *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr
    assert "Processes: 2" in done.stdout and "have no predictions" not in done.stdout

    run = tmp_path / "run"
    assert [path.name for path in tmp_path.rglob("metrics.jsonl")] == ["metrics.jsonl"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    assert all(math.isfinite(value) for line in lines for value in line.values())

    assert json.loads((run / "labels.json").read_text()) == {"3": "red", "7": "blue"}

    predictions = torch.load(run / "inference" / "set" / "predictions.pth", weights_only=False)
    assert len(predictions) == 5 and all(len(p) for p in predictions)
    assert [p.size for p in predictions] == [(64, 64) if i % 2 else (80, 64) for i in range(5)]
    # One process with the weights from the disk finds the same, image by image: the two tested one model, although the
    # running statistics of this one's batch normalisation had come apart in training.
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    config.merge_from_list(options(tmp_path, TEST__IMS_PER_BATCH=1, **keys))
    model = build_detection_model(config)
    DetectronCheckpointer(config, model).load(str(run / "model_final.pth"))
    (loader,) = make_data_loader(config, is_train=False)
    inference(model, loader, "set", ("bbox", "segm"), device="cpu", output_folder=str(tmp_path / "alone"))
    alone = torch.load(tmp_path / "alone" / "predictions.pth", weights_only=False)
    for together, single in zip(predictions, alone, strict=True):
        torch.testing.assert_close(together.bbox, single.bbox, rtol=1e-4, atol=1e-2)
        assert torch.equal(together.get_field("labels"), single.get_field("labels"))
