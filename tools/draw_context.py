"""`mrb draw context`: see maskrcnn_benchmark/cli/draw_context.py."""

from maskrcnn_benchmark.cli.draw_context import main

if __name__ == "__main__":
    main()
