"""`python -m maskrcnn_benchmark COMMAND` is `mrb COMMAND`; torchrun starts it with `-m maskrcnn_benchmark COMMAND`."""

import sys

from maskrcnn_benchmark.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
