"""Small Mask R-CNN, Keypoint R-CNN and RetinaNet train two steps, test, save and load, called as upstream's own tools call them.

    python tests/forks/smoke.py [--hide] [model ...]

Prints a line for each model; the exit status is the number of models that failed. --hide: see hiding.py.
"""

import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
SIDE = 64

CATALOG = """
class DatasetCatalog(object):
    @staticmethod
    def get(name):
        return dict(factory="COCODataset", args=dict(root="{root}/set", ann_file="{root}/set.json"))


class ModelCatalog(object):
    @staticmethod
    def get(name):
        raise RuntimeError(name)
"""

# Keys of upstream alone, so that a fork's configuration knows them too.
SMALL = [
    *(
        "MODEL.DEVICE",
        "cpu",
        "MODEL.WEIGHT",
        "",
        "MODEL.RESNETS.WIDTH_PER_GROUP",
        8,
        "MODEL.RESNETS.RES2_OUT_CHANNELS",
        32,
    ),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 32),
    *("MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", 16, "MODEL.ROI_MASK_HEAD.CONV_LAYERS", (8,)),
    *("MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS", (8,), "MODEL.RETINANET.NUM_CONVS", 1),
    *("MODEL.RPN.PRE_NMS_TOP_N_TRAIN", 100, "MODEL.RPN.PRE_NMS_TOP_N_TEST", 100),
    *("MODEL.RPN.POST_NMS_TOP_N_TRAIN", 50, "MODEL.RPN.POST_NMS_TOP_N_TEST", 20),
    *("MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN", 50, "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 20),
    *("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 16, "MODEL.ROI_HEADS.SCORE_THRESH", 0.01),
    *("MODEL.RETINANET.INFERENCE_TH", 0.009, "TEST.DETECTIONS_PER_IMG", 20),
    *("INPUT.MIN_SIZE_TRAIN", (SIDE,), "INPUT.MIN_SIZE_TEST", SIDE, "SOLVER.IMS_PER_BATCH", 2, "TEST.IMS_PER_BATCH", 1),
    *("SOLVER.MAX_ITER", 2, "SOLVER.BASE_LR", 1e-4, "DATALOADER.NUM_WORKERS", 0),
    *("DATASETS.TRAIN", ("mine",), "DATASETS.TEST", ("mine",)),
]
MODELS = {
    "mask": ("e2e_mask_rcnn_R_50_FPN_1x.yaml", ["MODEL.ROI_BOX_HEAD.NUM_CLASSES", 3], ("bbox", "segm")),
    "keypoint": ("e2e_keypoint_rcnn_R_50_FPN_1x.yaml", [], ("bbox", "keypoints")),
    "retinanet": ("retinanet/retinanet_R-50-FPN_1x.yaml", ["MODEL.RETINANET.NUM_CLASSES", 3], ("bbox",)),
}


def write_data(root: Path, keypoints: bool) -> None:
    from tests.support.helpers import write_coco
    from tests.support.people import write_people

    if keypoints:
        write_people(root, "set", size=SIDE, per_image=1)
    else:
        write_coco(root, "set", size=SIDE)
    (root / "catalog.py").write_text(CATALOG.format(root=root))


def run(name: str, folder: Path) -> None:
    import torch

    from maskrcnn_benchmark.config import cfg as defaults
    from maskrcnn_benchmark.data import make_data_loader
    from maskrcnn_benchmark.engine.inference import inference
    from maskrcnn_benchmark.engine.trainer import do_train
    from maskrcnn_benchmark.modeling.detector import build_detection_model
    from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
    from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer

    config, keys, tasks = MODELS[name]
    write_data(folder, keypoints=name == "keypoint")
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / config))
    cfg.merge_from_list([*SMALL, *keys, "PATHS_CATALOG", str(folder / "catalog.py"), "OUTPUT_DIR", str(folder / "run")])
    (folder / "run").mkdir()
    device = torch.device("cpu")

    torch.manual_seed(0)
    model = build_detection_model(cfg)
    optimizer = make_optimizer(cfg, model)
    scheduler = make_lr_scheduler(cfg, optimizer)
    checkpointer = DetectronCheckpointer(cfg, model, optimizer, scheduler, cfg.OUTPUT_DIR, True)
    arguments = {"iteration": 0}
    arguments.update(checkpointer.load(cfg.MODEL.WEIGHT))
    loader = make_data_loader(cfg, is_train=True, is_distributed=False, start_iter=0)
    before = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    do_train(cfg, model, loader, None, optimizer, scheduler, checkpointer, device, 1, 0, arguments)
    after = [p.detach() for p in model.parameters() if p.requires_grad]
    assert arguments["iteration"] == 2, arguments
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)), "nothing was trained"

    (test_loader,) = make_data_loader(cfg, is_train=False)
    inference(model, test_loader, "mine", tasks, False, False, "cpu", (), 4, cfg.OUTPUT_DIR)
    found = torch.load(folder / "run" / "predictions.pth", weights_only=False)
    assert len(found) == 4 and sum(map(len, found)) > 0, found

    again = build_detection_model(cfg)
    rest = DetectronCheckpointer(cfg, again, save_dir=cfg.OUTPUT_DIR).load("")
    assert rest["iteration"] == 2, rest
    for (key, a), b in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


def main(names: list[str]) -> int:
    failed = 0
    for name in names or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                run(name, Path(folder))
                print("ok", name, flush=True)
            except Exception:
                failed += 1
                traceback.print_exc()
                print("FAILED", name, flush=True)
    return failed


if __name__ == "__main__":
    sys.path.append(str(ROOT))  # behind PYTHONPATH, which may name a tree with files of a fork
    words = sys.argv[1:]
    if "--hide" in words:
        from tests.forks import hiding

        hiding.install()
    sys.exit(main([word for word in words if not word.startswith("--")]))
