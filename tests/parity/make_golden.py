"""Make the files of golden/ from maskrcnn-benchmark itself: see golden/README.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
SHOWN = 5  # proposals listed one by one


def describe(name: str, train: bool, coco: Path | None, count: int) -> dict[str, Any]:
    """What the package that is imported computes for `count` images, in the order of the files."""
    import probe

    from maskrcnn_benchmark.modeling.detector import build_detection_model

    cfg = probe.load_config(name)
    model = build_detection_model(cfg)
    probe.set_weights(model)
    facts: dict[str, Any] = {"config": f"{name}.yaml", "opts": [], "train": train, **probe.describe_model(model)}
    if coco:
        samples, more = probe.coco_samples(coco, cfg)
        facts.update(more)
    else:
        classes, keypoints = cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES, cfg.MODEL.KEYPOINT_ON
        samples = [probe.synthetic_sample(seed, classes, keypoints) for seed in range(count)]
    images, targets = probe.batch(samples[:count], cfg)
    facts.update(probe.describe_batch(images, targets))
    if not train:
        facts.update(probe.describe_inference(model, images))
        for proposals in facts["proposals"]:
            proposals["top"] = proposals.pop("all")[:SHOWN]
        return facts
    return {**facts, **probe.describe_training(model, images, targets)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", type=Path, required=True, help="a clone of maskrcnn-benchmark")
    parser.add_argument(
        "--coco", type=Path, help="make golden/coco, from the images of this folder; else golden/synthetic"
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder for the files")
    parser.add_argument("names", nargs="*", help="names of files without .json; all by default")
    options = parser.parse_args()

    sys.path.append(str(ROOT))
    from tests.support.upstream import use_upstream

    use_upstream(options.upstream)
    import probe

    probe.CONFIGS = options.upstream / "configs"
    options.out.mkdir(parents=True, exist_ok=True)
    existing = GOLDEN / ("coco" if options.coco else "synthetic")
    for name in options.names or sorted(path.stem for path in existing.glob("*.json")):
        train = name.endswith("_train")
        # Upstream tests keypoints one image at a time.
        count = 1 if "keypoint" in name and not train else 2
        facts = describe(name.removesuffix("_train"), train, options.coco, count)
        (options.out / f"{name}.json").write_text(json.dumps(facts) + "\n")
        print(name, flush=True)


if __name__ == "__main__":
    main()
