"""`mrb export`: see maskrcnn_benchmark/cli/export.py."""

from maskrcnn_benchmark.cli.export import main

if __name__ == "__main__":
    main()
