"""Test a trained detector. On several devices: torchrun --nproc_per_node=8 tools/test_net.py ..."""

from maskrcnn_benchmark.checkpoint import forks
from maskrcnn_benchmark.engine import run
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer


def main() -> None:
    parser = run.argument_parser(__doc__)
    parser.add_argument(
        "--ckpt", metavar="FILE", help="weights to test (default: the last checkpoint in OUTPUT_DIR, or MODEL.WEIGHT)"
    )
    args = parser.parse_args()
    with run.command_line():
        device = run.set_up(args)
        model = run.build_model(device)
        checkpointer = DetectronCheckpointer(run.cfg, model, save_dir=run.cfg.OUTPUT_DIR)
        forks.load(checkpointer, args.ckpt or run.cfg.MODEL.WEIGHT, use_latest=args.ckpt is None, averaged=True)
        run.test(run.optimize(model), device)


if __name__ == "__main__":
    main()
