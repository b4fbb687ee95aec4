"""`mrb web`: see maskrcnn_benchmark/cli/web.py."""

from maskrcnn_benchmark.cli.web import main

if __name__ == "__main__":
    main()
