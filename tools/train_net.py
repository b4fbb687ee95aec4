"""`mrb train`: see maskrcnn_benchmark/cli/train.py."""

from maskrcnn_benchmark.cli.train import main

if __name__ == "__main__":
    main()
