"""Reading pickled arrays from elsewhere without running what they say.

numpy's own way back from a pickle takes the state of a dtype from the file, flags included, and can be made to read
bytes as pointers. So arrays are put together here, from their bytes, and numpy sees nothing else of the file.
"""

import io
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from maskrcnn_benchmark.checkpoint.claims import check_pickle
from maskrcnn_benchmark.checkpoint.errors import CheckpointError

_PLAIN_DTYPE = re.compile(r"[?biufcSU]\d*")


class _Dtype:
    """A dtype that the file names; its pickled state holds the byte order."""

    def __init__(self, name: str, align: bool = False, copy: bool = False):
        self.name, self.big = str(name), False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.big = state[1] == ">"

    def numpy(self) -> np.dtype:
        if not _PLAIN_DTYPE.fullmatch(self.name):
            raise CheckpointError(f"A weight file holds arrays of numbers; one of dtype {self.name!r} is refused.")
        return np.dtype(self.name).newbyteorder(">" if self.big else "<")


class _Array:
    """An array in the making: created empty, then given its state."""

    value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if isinstance(data, list):
            self.value = data  # an array of objects, which are plain: no weights, but no harm either
        else:
            self.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")


def _from_buffer(data: Any, dtype: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """How protocol 5 gives an array. Python 2 wrote bytes as text, which is read as latin1."""
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype=dtype.numpy()).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: _Dtype, data: Any = b"") -> Any:
    return _from_buffer(data, dtype, (), "C")[()]


def _reconstruct(kind: Any, shape: Any, typecode: Any) -> _Array:
    return _Array()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What Python 3 writes for bytes in the old protocols; other codecs would unpack or decode."""
    if encoding not in ("latin1", "latin-1"):
        raise CheckpointError(f"A pickled weight file uses the codec {encoding!r}, which is refused.")
    return text.encode("latin1")


def _made_of_bytes(kind: type) -> Callable[..., Any]:
    def make(value: Any = b"", *encoding: str) -> Any:
        if isinstance(value, int):  # so many zeros: a few bytes of a file could ask for all of the memory
            raise CheckpointError(f"A pickled weight file asks for {kind.__name__} of a size alone, which is refused.")
        return kind(value, *encoding)

    return make


class _WeightUnpickler(pickle.Unpickler):
    """Knows arrays and plain containers and nothing else."""

    ALLOWED: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): None,  # names the kind of array, and is never called
        ("numpy", "dtype"): _Dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _encode,
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
        **{
            (module, kind.__name__): kind
            for module in ("builtins", "__builtin__")
            for kind in (dict, list, tuple, set, frozenset)
        },
        **{
            (module, kind.__name__): _made_of_bytes(kind)
            for module in ("builtins", "__builtin__")
            for kind in (bytes, bytearray)
        },
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise CheckpointError(f"A weight file holds arrays and plain containers only; {module}.{name} is refused.")
        return self.ALLOWED[module, name]


def check_is_file(path: str) -> None:
    """Raise FileNotFoundError where there is no such file to load weights from."""
    if os.path.isdir(path):
        raise FileNotFoundError(f"{path!r} is a folder: name the checkpoint in it, a file.")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no checkpoint {path!r}.")


def load_pickle(path: str) -> dict[str, Any]:
    """The dictionary in a .pkl file, which may come from Python 2; arrays may be read-only.

    Raises:
        CheckpointError: it is no pickle, or holds something else than arrays and plain containers.
        FileNotFoundError: there is no such file.
    """
    check_is_file(path)
    try:
        with open(path, "rb") as file:
            content = file.read()
        check_pickle(content, len(content))
        loaded = _WeightUnpickler(io.BytesIO(content), encoding="latin1").load()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # bytes that are no pickle fail in every way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is not a readable pickle ({os.path.getsize(path)} bytes): {reason}") from None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a dictionary of arrays.")
    try:
        return _finished(loaded)
    except RecursionError:
        raise CheckpointError(f"{path} is no weight file: its dictionaries lie too deep in one another.") from None


def _finished(value: Any, done: dict[int, dict[str, Any]] | None = None) -> Any:
    """The dictionaries of a file, one in the other, with their arrays complete. One that is in several places is so once."""
    done = {} if done is None else done
    if isinstance(value, dict):
        if id(value) not in done:
            done[id(value)] = {}
            done[id(value)].update((key, _finished(entry, done)) for key, entry in value.items())
        return done[id(value)]
    return value.value if isinstance(value, _Array) else value
