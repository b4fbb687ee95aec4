"""`mrb draw detections`: see maskrcnn_benchmark/cli/draw_detections.py."""

from maskrcnn_benchmark.cli.draw_detections import main

if __name__ == "__main__":
    main()
