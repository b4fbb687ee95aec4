"""What every program of this package sets before it begins."""

import errno
import io
import os
import sys
import warnings

import pytest

from maskrcnn_benchmark.engine.command_line import command_line


@pytest.mark.parametrize(("chosen", "expected"), [(None, "1"), ("0", "0")])
def test_large_pages_unless_the_environment_says_otherwise(chosen, expected, monkeypatch):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    if chosen is not None:
        monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", chosen)
    with warnings.catch_warnings(), command_line():
        assert os.environ["THP_MEM_ALLOC_ENABLE"] == expected


def test_pillow_does_not_warn_of_what_is_refused_here():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with command_line():
            warnings.warn("Image size (3 pixels) exceeds limit of 2 pixels, could be ...", stacklevel=1)
            warnings.warn("another", stacklevel=1)
    assert [str(one.message) for one in said] == ["another"]


class NoText(io.StringIO):
    """Whose settings cannot be changed, as those of a file that became a pipe after it was opened."""

    def reconfigure(self, **options):
        raise OSError(errno.ESPIPE, "Illegal seek")


@pytest.mark.parametrize("stream", [NoText(), io.StringIO(), None])
def test_any_stream_may_take_what_is_printed(stream, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream)
    with command_line():
        print("a line")
    assert stream is None or stream.getvalue() == "a line\n"
