"""`mrb publish`: see maskrcnn_benchmark/cli/publish.py."""

from maskrcnn_benchmark.cli.publish import main

if __name__ == "__main__":
    main()
