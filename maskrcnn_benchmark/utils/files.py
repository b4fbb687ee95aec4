"""Files that are written whole or not at all, and text files of users as they come."""

import contextlib
import errno
import io
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")  # that OpenCV writes


class UnwritableError(OSError):
    """A file that cannot be written; `errno` says why."""

    def __str__(self) -> str:
        is_full = self.errno in (errno.ENOSPC, errno.EDQUOT)
        todo = "make room for it, or name another place" if is_full else "name another place"
        return f"{self.filename} cannot be written ({self.strerror}): {todo}."


class _Raw(io.FileIO):
    """A file that remembers why it could not be written: whoever writes, as torch.save does, may make another error of it."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            self.error = error
            raise


@contextlib.contextmanager
def whole_file(path: str, mode: str = "wb", shared: bool = False) -> Iterator[IO[Any]]:
    """An open file that appears as `path` at the end of the block, complete and on the disk; after an error there is none, or
    the one of before.

    Args:
        mode: "wb", or "w" for text in UTF-8.
        shared: several processes may write this file at a time; the last one counts.

    Raises UnwritableError where the file cannot be written, whatever the block makes of that.
    """
    partial = f"{path}.{uuid.uuid4().hex}.partial" if shared else f"{path}.partial"
    raw: _Raw | None = None
    try:
        raw = _Raw(partial, "w")
        binary = io.BufferedWriter(raw)
        with binary if "b" in mode else io.TextIOWrapper(binary, encoding="utf-8") as f:
            yield f
            f.flush()
            os.fsync(raw.fileno())
        try:
            os.replace(partial, path)
        except OSError as error:  # `path` is a folder, for one
            raw.error = error
            raise
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(partial)
        reason = raw.error if raw is not None else error
        if isinstance(reason, OSError) and isinstance(error, Exception):
            raise UnwritableError(reason.errno, reason.strerror, path) from error
        raise


def write_atomically(path: str, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a `whole_file`."""
    with whole_file(path) as f:
        write(f)


def write_text(path: str, text: str) -> None:
    write_atomically(path, lambda f: f.write(text.encode()))


def write_json(path: str, content: Any) -> None:
    write_text(path, json.dumps(content))


def read_text(path: str | Path) -> str:
    """A text file in UTF-8 or, with a byte order mark, UTF-16. Raises FileNotFoundError or ValueError with a sentence."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}.") from None
    try:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8: {error}. Save it as UTF-8 (a spreadsheet as `CSV UTF-8`)."
        ) from None


def read_json(path: str | Path) -> Any:
    """The content of a JSON file. Raises FileNotFoundError or ValueError with a sentence."""
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {why_unread(error)}") from None


def is_too_long(error: Exception) -> bool:
    """Whether Python refused to read a whole number for the number of its digits."""
    return "set_int_max_str_digits" in str(error)


def why_unread(error: Exception) -> str:
    """What an error of a reader of JSON or YAML says to someone who does not program."""
    if is_too_long(error):
        return f"it holds a whole number of more than {sys.get_int_max_str_digits():,} digits"
    return str(error)


def check_folder(path: str, what: str, files: Iterable[str] = ()) -> None:
    """Make a folder to write to, if there is none, and try it.

    Args:
        what: names the folder in messages.
        files: names of files in it that will be written, if they are there already.

    Raises OSError with a sentence where it is no folder, or nothing can be written there.
    """
    probe = ""
    try:
        os.makedirs(path, exist_ok=True)
        probe = os.path.join(path, f".{uuid.uuid4().hex}.partial")
        with open(probe, "wb") as f:
            f.write(b"\0" * 4096)
        os.remove(probe)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(probe)
        in_the_way = "it is a file" if os.path.isfile(path) else error.strerror or error
        raise OSError(f"{what} {path} is no folder that can be written to: {in_the_way}. Name another one.") from None
    except ValueError as error:  # a name with a null character
        raise OSError(f"{what} {path!r} is no name of a folder: {error}.") from None
    for name in files:
        file = os.path.join(path, name)
        if os.path.isdir(file) or (os.path.exists(file) and not os.access(file, os.W_OK)):
            why = (
                "is a folder"
                if os.path.isdir(file)
                else "cannot be written: it belongs to someone else, or is read-only"
            )
            raise OSError(f"{file} {why}. Name another folder as {what}.")


def check_picture_name(path: str, option: str, endings: Sequence[str] = PICTURE_ENDINGS) -> None:
    """Raise ValueError where `path`, which `option` names for a picture to be written, has another ending than these."""
    if not path.lower().endswith(tuple(endings)):
        raise ValueError(f"{option} must end in one of {', '.join(endings)}; got {path}.")


def check_other_file(target: str, source: str, what: str) -> None:
    """Raise FileExistsError where the file `target`, which is to be written, is the one that is read; `what` is its option."""
    if os.path.realpath(target) == os.path.realpath(source):
        raise FileExistsError(f"{what} {target} is {source} itself, which would be replaced. Name another file.")


def check_kind(target: str, is_one: Callable[[str], bool], what: str, option: str) -> None:
    """Raise FileExistsError where `target`, which is to be written, is there and is not what is written to it.

    Args:
        is_one: whether a file, by its path, is one.
        what: the words for such a file, with an article.
        option: that names the target.
    """
    if os.path.isfile(target) and os.path.getsize(target) and not is_one(target):
        raise FileExistsError(f"{option} {target} is there already and is not {what}, so it stays. Name another file.")


def check_not_replaced(folder: str, sources: Iterable[str], what: str) -> None:
    """Raise FileExistsError where one of the files `sources` lies in the folder that results are to be written to, under names of
    their inputs; `what` names the folder in the message."""
    place = os.path.realpath(folder)
    inside = next((s for s in sources if os.path.realpath(os.path.dirname(os.path.abspath(s))) == place), None)
    if inside is not None:
        raise FileExistsError(
            f"{what} {folder} holds {inside} itself, which what is written would replace. Name another folder."
        )


def files_below(folder: str) -> list[str]:
    """All files in a folder and those below it, sorted; folders that are links are followed, each folder once, and links to what
    is gone are files. Raises OSError with a sentence for a folder that may not be read."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):  # which have no files
            raise OSError(
                f"The folder {error.filename} cannot be read ({error.strerror}): make it readable, or move it away."
            ) from None

    found: list[str] = []
    seen: set[str] = set()
    for path, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        place = os.path.realpath(path)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        names = (os.path.join(path, file) for file in files)
        found += [name for name in names if os.path.isfile(name) or os.path.islink(name) and not os.path.exists(name)]
    return sorted(found)
