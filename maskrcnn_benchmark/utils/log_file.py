import contextlib
import logging
import sys


class LogFile(logging.FileHandler):
    """A log on the disk. Where a line cannot be written, as on a full disk, that is said once, and the program goes on."""

    def __init__(self, path: str):
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        if not self._failed:
            self._failed = True
            with contextlib.suppress(OSError):  # which may be a file on the same disk
                print(f"WARNING: {self.baseFilename} is not complete: {error}.", file=sys.stderr)
