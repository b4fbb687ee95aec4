"""`mrb launch`: see maskrcnn_benchmark/cli/launch.py."""

import sys

from maskrcnn_benchmark.cli.launch import main

if __name__ == "__main__":
    sys.exit(main())
