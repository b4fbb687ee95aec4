"""`mrb analyze errors`: see maskrcnn_benchmark/cli/analyze_errors.py."""

from maskrcnn_benchmark.cli.analyze_errors import main

if __name__ == "__main__":
    main()
