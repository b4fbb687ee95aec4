"""`mrb analyze`: see maskrcnn_benchmark/cli/analyze.py."""

from maskrcnn_benchmark.cli.analyze import main

if __name__ == "__main__":
    main()
