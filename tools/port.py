"""`mrb port`: see maskrcnn_benchmark/cli/port.py."""

import sys

from maskrcnn_benchmark.cli.port import main

if __name__ == "__main__":
    sys.exit(main())
