"""smoke.py --hide where upstream's list lacks a name that the package imports: it fails."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
from tests.forks import hiding, smoke  # noqa: E402

if __name__ == "__main__":
    hiding.UPSTREAM["maskrcnn_benchmark.layers"].remove("ROIAlign")
    hiding.install()
    sys.exit(smoke.main(["mask"]))
