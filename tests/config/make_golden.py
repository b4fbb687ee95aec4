"""Make the files of golden/ from maskrcnn-benchmark itself: see golden/README.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# One file of every family of models.
FAMILIES = list(json.loads((Path(__file__).parent / "golden" / "state_dicts.json").read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", type=Path, required=True, help="a clone of maskrcnn-benchmark")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the files")
    options = parser.parse_args()

    sys.path.append(str(ROOT))
    from tests.support.upstream import use_upstream

    use_upstream(options.upstream)
    from maskrcnn_benchmark.config import cfg as defaults
    from maskrcnn_benchmark.modeling.detector import build_detection_model
    from tests.config import facts

    defaults.MODEL.DEVICE = "cpu"  # what a model is built for; no part of the facts
    configs = options.upstream / "configs"
    leaves = facts.flat(defaults)
    del leaves["PATHS_CATALOG"]
    effective = {"defaults": facts.crc({**leaves, "MODEL.DEVICE": "cuda"})}
    models = {}
    for path in sorted(configs.rglob("*.yaml")):
        name = path.relative_to(configs).as_posix()
        cfg = defaults.clone()
        cfg.merge_from_file(str(path))
        effective[name] = facts.changes(cfg, defaults)
        if name in FAMILIES:
            models[name] = facts.describe_model(build_detection_model(cfg))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "effective.json").write_text(json.dumps(effective, indent=1) + "\n")
    ordered = {name: models[name] for name in FAMILIES}
    (options.out / "state_dicts.json").write_text(json.dumps(ordered, indent=1) + "\n")


if __name__ == "__main__":
    main()
