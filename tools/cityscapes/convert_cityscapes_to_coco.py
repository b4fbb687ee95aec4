"""`mrb convert cityscapes`: see maskrcnn_benchmark/cli/convert_cityscapes.py."""

from maskrcnn_benchmark.cli.convert_cityscapes import main

if __name__ == "__main__":
    main()
