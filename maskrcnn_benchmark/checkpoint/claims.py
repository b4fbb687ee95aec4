"""What a few bytes of a weight file ask for, found before any of it is made.

A pickle is a program of its own. One of some hundred bytes may ask for an array of gigabytes by its size alone, copy a list a
thousand times, or nest tuples so that looking for one in a dictionary never ends.
"""

import io
import os
import pickle
import pickletools
import zipfile
from typing import IO, Any, cast

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.utils.wording import counted

# Objects and bytes that a pickle may make, beside so many times its own size.
MOST_MADE = 10_000_000
TIMES_MADE = 8
# Of an archive, what its compressed parts may become.
MOST_UNPACKED = 64 << 20  # bytes
TIMES_UNPACKED = 4
PICKLES_IN_A_ROW = 5  # in a file of torch before version 1.6, in front of the numbers

_GIVES_NOTHING = ("PROTO", "FRAME", "STOP")
_FILLS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")
_CALLS = ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST")
_MARK = object()


class _Part:
    """An object in the making: how much it holds, each time that something is in it counted, and what it says of itself."""

    __slots__ = ("held", "says")

    def __init__(self, held: int, says: Any = None):
        self.held, self.says = held, says


def check_pickle(content: bytes | IO[bytes], size: int) -> None:
    """Raise CheckpointError for a pickle that asks for more than its size warrants, UnpicklingError or ValueError for none.

    Args:
        content: or a file, which is read up to the pickle's end.
        size: of the whole file that the pickle stands in, bytes.
    """
    most = MOST_MADE + TIMES_MADE * size
    stack: list[Any] = []
    memo: dict[int, _Part] = {}
    made = 0
    for opcode, given, _ in pickletools.genops(content):
        name, argument = opcode.name, cast(Any, given)
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if not 0 <= int(argument) <= size:  # the unpickler makes a table of so many
                raise CheckpointError(f"its part number {argument} cannot be")
            memo[int(argument)] = _top(stack)
        elif name == "MEMOIZE":
            memo[len(memo)] = _top(stack)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if int(argument) not in memo:
                raise pickle.UnpicklingError(f"it uses its part number {argument} before it is made")
            stack.append(memo[int(argument)])
        elif name == "DUP":
            stack.append(_top(stack))
        elif name == "MARK":
            stack.append(_MARK)
        elif name not in _GIVES_NOTHING:
            parts = _taken(stack, opcode)
            part = _made(name, argument, parts)
            if name == "BINPERSID":
                _check_storage(part.says, size)
            if name in _CALLS:
                made += part.held
            if max(part.held, made) > most:
                raise CheckpointError(f"it is of {size:,} bytes, and would make more than {most:,} objects and bytes")
            if opcode.stack_after:
                stack.append(part)


def _top(stack: list[Any]) -> Any:
    if not stack:
        raise pickle.UnpicklingError("it takes more than it made")
    return stack[-1]


def _taken(stack: list[Any], opcode: Any) -> list[_Part]:
    """What an operation takes from the stack, the first below."""
    wanted = [kind.name for kind in opcode.stack_before]
    parts: list[_Part] = []
    if "mark" in wanted:
        while _top(stack) is not _MARK:
            parts.append(stack.pop())
        stack.pop()
        wanted = wanted[: wanted.index("mark")]
    for _ in wanted:
        _top(stack)
        part = stack.pop()
        if part is not _MARK:
            parts.append(part)
    return parts[::-1]


def _made(name: str, argument: Any, parts: list[_Part]) -> _Part:
    held = 1 + sum(part.held for part in parts)
    if name in _FILLS and parts:
        parts[0].held = held
        return parts[0]
    if isinstance(argument, (bytes, bytearray, str)):
        held += len(argument)
    says: Any = argument
    if name == "STACK_GLOBAL":
        says = " ".join(part.says for part in parts if isinstance(part.says, str))
    elif name.startswith("TUPLE"):
        says = tuple(part.says for part in parts[:8])
    elif name == "BINPERSID":
        says = parts[0].says if parts else None
    elif name in _CALLS:
        _check_call(name, argument, parts)
    return _Part(held, says)


def _check_call(name: str, argument: Any, parts: list[_Part]) -> None:
    """Raise for a call that makes zeros, or whatever is in memory, of a size that it is given."""
    called, given = (argument, parts) if name == "INST" else (parts[0].says if parts else None, parts[1:])
    kind = called.replace(" ", ".").rpartition(".")[2] if isinstance(called, str) else ""
    first = given[0].says if given else None
    if isinstance(first, tuple):
        first = first[0] if first else None
    if isinstance(first, int) and (kind in ("bytes", "bytearray") or kind.endswith(("Storage", "Tensor"))):
        raise CheckpointError(f"it asks for {kind} of a size alone, which is refused")


def _check_storage(says: Any, size: int) -> None:
    """Raise for numbers that torch.save stored beside the pickle, if there are said to be more than the file has bytes."""
    if isinstance(says, tuple) and says[:1] == ("storage",) and len(says) > 4:
        count = says[4]
        if isinstance(count, int) and not 0 <= count <= size:
            raise CheckpointError(f"it is of {size:,} bytes, and says that it holds {counted(count, 'number')}")


def check_archive(path: str) -> None:
    """Raise CheckpointError for a file of torch.save that asks for more than its size warrants, zipfile.BadZipFile for none."""
    with zipfile.ZipFile(path) as archive:
        unpacked = check_unpacked(archive, os.path.getsize(path))
        for member in archive.infolist():
            if member.filename.endswith("/data.pkl"):
                check_pickle(archive.read(member), unpacked)


def check_unpacked(archive: zipfile.ZipFile, size: int) -> int:
    """The bytes of an archive's parts, of which the file has `size`. Raises CheckpointError if those are far too few."""
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_UNPACKED + TIMES_UNPACKED * size:
        raise CheckpointError(
            f"its parts would be of {unpacked:,} bytes, and are {size:,} compressed; a checkpoint does not shrink so much"
        )
    return unpacked


def check_stream(content: bytes) -> None:
    """`check_pickle` of each of the pickles that torch.save wrote one behind the other before version 1.6."""
    stream = io.BytesIO(content)
    for _ in range(PICKLES_IN_A_ROW):
        check_pickle(stream, len(content))
