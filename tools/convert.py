"""`mrb convert`: see maskrcnn_benchmark/cli/convert.py."""

from maskrcnn_benchmark.cli.convert import main

if __name__ == "__main__":
    main()
