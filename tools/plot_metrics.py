"""`mrb plot`: see maskrcnn_benchmark/cli/plot.py."""

from maskrcnn_benchmark.cli.plot import main

if __name__ == "__main__":
    main()
