import contextlib
import logging
import sys
from collections.abc import Iterable, Iterator


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


class _Early(logging.Handler):
    """Keeps warnings, and shows them as Python does where no handler is."""

    def __init__(self, records: list[logging.LogRecord], is_alone: bool):
        super().__init__(logging.WARNING)
        self.records, self.is_alone = records, is_alone

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        if self.is_alone and logging.lastResort is not None:
            logging.lastResort.handle(record)


@contextlib.contextmanager
def early_warnings(name: str) -> Iterator[list[logging.LogRecord]]:
    """Warnings of what runs before there is a file for them, such as the reading of a configuration; for `into_file`."""
    records: list[logging.LogRecord] = []
    logger = logging.getLogger(name)
    handler = _Early(records, is_alone=not logger.hasHandlers())
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


def into_file(logger: logging.Logger, records: Iterable[logging.LogRecord]) -> None:
    """Write records to the LogFile of a logger, if it has one."""
    for handler in logger.handlers:
        if isinstance(handler, LogFile):
            for record in records:
                handler.handle(record)
