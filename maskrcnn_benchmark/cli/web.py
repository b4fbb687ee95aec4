"""A page in the browser: detections in pictures and in what the camera sees, and what a pixel takes from the rest of the image
(where the model has non-local modules). Nothing leaves this machine.

    mrb web
    mrb web --model CONFIG WEIGHTS --model CONFIG WEIGHTS

Browsers give a camera to pages of this machine only (127.0.0.1), or over HTTPS.
"""

import socket
from pathlib import Path

from maskrcnn_benchmark.config.command_line import KeyParser
from maskrcnn_benchmark.engine.command_line import argument_parser, command_line
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.engine.predictor_options import add_weights, model_files


def load_models(pairs: list[tuple[str, str]], opts: list[str]) -> dict[str, Predictor]:
    """Predictors by the names of their configurations."""
    models: dict[str, Predictor] = {}
    for config, weights in pairs:
        stem = name = Path(config).stem
        number = 2
        while name in models:
            name, number = f"{stem} ({number})", number + 1
        print(f"Loading {name}", flush=True)
        models[name] = Predictor(config, weights, opts=opts)
    return models


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError with a sentence where the address cannot be had."""
    if not 0 <= port < 2**16:
        raise OSError(f"Ports go from 0 to 65535; got --port {port}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except (OSError, OverflowError) as error:
        raise OSError(f"Cannot listen at {host}, port {port} ({error}); give another --port or --host.") from None
    return listener


def build_parser() -> KeyParser:
    parser = argument_parser(__doc__)
    add_weights(parser)
    parser.add_argument(
        "--model",
        nargs=2,
        action="append",
        metavar=("CONFIG", "WEIGHTS"),
        help="a model to choose from; may be given several times, in place of --config-file and --ckpt",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen at (8000); 0 for a free one")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        try:
            import uvicorn

            from maskrcnn_benchmark.web.app import create_app
        except ModuleNotFoundError as error:
            raise ImportError(
                f"The web page needs FastAPI and uvicorn ({error.name} is missing): pip install fastapi uvicorn, or install the "
                "package with its extra 'web'."
            ) from None
        listener = listen(args.host, args.port)
        pairs = [tuple(pair) for pair in args.model or ()] or [model_files(args)]
        app = create_app(load_models(pairs, args.opts), args.host)
        shown = f"[{args.host}]" if ":" in args.host else args.host
        address = f"http://{shown}:{listener.getsockname()[1]}"

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets=sockets)
                if self.started:
                    print(f"Open {address} in a browser; Ctrl-C ends.", flush=True)

        Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
