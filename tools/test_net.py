"""`mrb test`: see maskrcnn_benchmark/cli/test.py."""

from maskrcnn_benchmark.cli.test import main

if __name__ == "__main__":
    main()
