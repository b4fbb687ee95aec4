"""`mrb suggest`: see maskrcnn_benchmark/cli/suggest.py."""

from maskrcnn_benchmark.cli.suggest import main

if __name__ == "__main__":
    main()
