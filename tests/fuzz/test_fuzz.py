"""Some hundred inputs of each kind, the same ones each time; FUZZ_CASES takes more. See README.md."""

import logging
import os
import random

import pytest

from tests.fuzz.driver import Kind, in_processes, judge
from tests.fuzz.kinds import KINDS
from tests.fuzz.mutations import changed_bytes, changed_value

CASES = int(os.environ.get("FUZZ_CASES", "0"))
FEW = {"requests": 100}


@pytest.mark.parametrize("name", KINDS)
def test_whatever_a_user_brings_ends_well_or_in_a_sentence(name):
    if name == "requests":
        pytest.importorskip("fastapi", reason="the web page needs FastAPI: the extra 'web'")
    cases = CASES or FEW.get(name, 300)
    logging.disable(logging.CRITICAL)
    try:
        outcomes = [outcome for _, outcome in in_processes(KINDS[name], 0, cases, 1)]
    finally:
        logging.disable(logging.NOTSET)
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    ends = sum((outcome.ends for outcome in outcomes[1:]), outcomes[0].ends)
    assert not faults, "\n".join(f"--seed {seed}: {wrong}" for seed, wrong in faults[:5])
    assert (
        ends.total() == cases and len(ends) > 1 and ends["success"] > 0
    )  # the changes are neither all harmless nor all fatal


def end(run) -> tuple[str, str]:
    return judge(Kind("test", lambda rng: rng.random(), run, (ValueError,)), 1)


def test_the_judge_sees_every_bad_end(monkeypatch):
    def sentence(_: float) -> None:
        raise ValueError("This value is of no use; give another one.")

    def word(_: float) -> None:
        raise ValueError("nope")

    def crash(_: float) -> None:
        raise KeyError("model")

    def hog(_: float) -> None:
        bytearray(2 << 30)

    def sleep(_: float) -> None:
        while True:
            pass

    monkeypatch.setattr("tests.fuzz.driver.SECONDS", 0.05)
    assert end(lambda _: None) == ("success", "")
    assert end(sentence) == ("ValueError", "")
    assert "without a sentence" in end(word)[1]
    assert end(crash)[0] == "KeyError" and "crash" in end(crash)[1]
    assert end(hog)[0] == "MemoryError" and end(hog)[1]
    assert end(sleep)[0] == "time" and end(sleep)[1]


def test_a_process_that_dies_is_a_fault():
    kind = Kind("dying", lambda rng: rng.random(), lambda value: os._exit(3) if value > 0.9 else None, ())
    ((_, outcome),) = in_processes(kind, 0, 50, 1)
    assert len(outcome.faults) == 1 and "status 3" in outcome.faults[0][1]


def test_a_seed_makes_the_same_input_each_time():
    for kind in KINDS.values():
        first, again, other = (kind.make(random.Random(f"{kind.name} {seed}")) for seed in (5, 5, 6))
        assert repr(first) == repr(again) and repr(first) != repr(other)
    rng = random.Random(0)
    assert len({changed_bytes(rng, b"some content of a file") for _ in range(100)}) > 80
    assert len({repr(changed_value(rng, {"a": [1, {"b": 2}]})) for _ in range(100)}) > 50
