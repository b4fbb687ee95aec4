"""`mrb` in a process that has imported the package already and forks for each command: starting one anew takes four seconds."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.docs.blocks import ROOT

ADDRESS = "MRB_TEST_FORKS"  # the variable that tells `mrb` on the PATH where the process listens


@contextlib.contextmanager
def running() -> Iterator[dict[str, str]]:
    """Start the process, and end it afterwards; gives the environment in which `ask` finds it."""
    with tempfile.TemporaryDirectory() as folder:  # short: the path of a socket has about a hundred characters
        address = str(Path(folder, "mrb"))
        text = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; from tests.docs.forking import serve; serve({address!r})"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen([sys.executable, "-c", text], env=environment) as server:
            while not os.path.exists(address):
                assert server.poll() is None, "the process that forks has ended"
                time.sleep(0.05)
            yield {ADDRESS: address}
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                connection.connect(address)  # and no request: the end


def ask(words: Sequence[str]) -> int:
    """Run `mrb` with these words here, with this process's files and environment; returns its exit status."""
    request = json.dumps({"words": list(words), "folder": os.getcwd(), "environment": dict(os.environ)})
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(os.environ[ADDRESS])
        socket.send_fds(connection, [request.encode()], [0, 1, 2])
        return connection.recv(1)[0]


def serve(address: str) -> None:
    """Answer requests of `ask`, one after the other, until one is empty."""
    import maskrcnn_benchmark.engine.predictor
    import maskrcnn_benchmark.engine.run  # noqa: F401

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(address)
        server.listen()
        while True:
            connection, _ = server.accept()
            with connection:
                request, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
                if not request:
                    return
                child = os.fork()
                if child == 0:
                    _run(json.loads(request), files)
                for file in files:
                    os.close(file)
                _, status = os.waitpid(child, 0)
                connection.sendall(bytes([os.waitstatus_to_exitcode(status) & 255]))


def _run(request: dict, files: Sequence[int]) -> None:
    """What the forked process does."""
    status = 1
    try:
        for standard, file in enumerate(files):
            os.dup2(file, standard)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.path[:0] = request["environment"]["PYTHONPATH"].split(":")
        sys.argv = ["mrb", *request["words"]]
        from maskrcnn_benchmark.cli.commands import main

        status = main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
