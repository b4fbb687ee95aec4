"""`mrb subset`: see maskrcnn_benchmark/cli/subset.py."""

from maskrcnn_benchmark.cli.subset import main

if __name__ == "__main__":
    main()
