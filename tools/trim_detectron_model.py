"""`mrb trim`: see maskrcnn_benchmark/cli/trim.py."""

from maskrcnn_benchmark.cli.trim import main

if __name__ == "__main__":
    main()
