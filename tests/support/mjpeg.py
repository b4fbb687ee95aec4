"""A camera on the network: an HTTP server on this machine that sends pictures as a Motion JPEG stream."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

BOUNDARY = "frame"


@contextlib.contextmanager
def mjpeg_server(frames: Sequence[np.ndarray], pause_s: float = 0.02) -> Iterator[str]:
    """Serves the frames once to each client, then ends the stream. Yields the address."""
    pictures = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client may go before the end
                for picture in pictures:
                    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    time.sleep(pause_s)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/camera.mjpg"
    finally:
        server.shutdown()
        server.server_close()
