"""`mrb predict`: see maskrcnn_benchmark/cli/predict.py."""

from maskrcnn_benchmark.cli.predict import main

if __name__ == "__main__":
    main()
