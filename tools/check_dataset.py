"""`mrb check`: see maskrcnn_benchmark/cli/check.py."""

from maskrcnn_benchmark.cli.check import main

if __name__ == "__main__":
    main()
