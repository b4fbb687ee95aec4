"""`mrb webcam` with the COCODemo of predictor.py beside this file: see maskrcnn_benchmark/cli/webcam.py."""

from predictor import COCODemo

from maskrcnn_benchmark.cli.webcam import main

if __name__ == "__main__":
    main(COCODemo)
