"""Random changes: of bytes, and of values such as files hold."""

from __future__ import annotations

import random
from typing import Any

ODD_NUMBERS = (0, -1, 1, 2, 7, 255, 2**15, 2**31 - 1, 2**31, 2**32, 2**63, 10**20, -(2**63), 1.5, -0.0, 1e308, 1e-308)
ODD_FLOATS = (float("nan"), float("inf"), float("-inf"))
ODD_TEXTS = (
    "",
    " ",
    "a",
    "0",
    "-1",
    "1e999",
    "None",
    "(1,",
    "[" * 50,
    "x" * 3000,
    "\0",
    "ä猫\U0001f600",
    "../..",
    "%d",
    "nan",
    "{}",
)


def odd_value(rng: random.Random, depth: int = 0) -> Any:
    """A value of any plain kind."""
    choice = rng.randrange(9 if depth < 3 else 6)
    if choice == 0:
        return rng.choice(ODD_NUMBERS)
    if choice == 1:
        return rng.choice(ODD_FLOATS)
    if choice == 2:
        return rng.choice(ODD_TEXTS)
    if choice == 3:
        return rng.choice((None, True, False))
    if choice in (4, 5):
        return rng.randint(-300, 300)
    values = [odd_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if choice == 6:
        return values
    if choice == 7:
        return tuple(values)
    return {rng.choice((*ODD_TEXTS, "id", "bbox", "size", "model", 3)): value for value in values}


def changed_bytes(rng: random.Random, content: bytes) -> bytes:
    """Some bytes flipped, overwritten, cut out, repeated or inserted; most changes are small."""
    result = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8, 30))):
        if not result:
            break
        place, length = rng.randrange(len(result)), min(int(rng.expovariate(0.1)) + 1, 5000)
        kind = rng.randrange(7)
        if kind == 0:
            result[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            result[place] = rng.randrange(256)
        elif kind == 2:
            del result[place : place + length]
        elif kind == 3:
            result[place:place] = result[place : place + length]
        elif kind == 4:
            result[place:place] = rng.randbytes(length)
        elif kind == 5:
            result[place : place + 4] = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 10**6)).to_bytes(
                4, rng.choice(("little", "big"))
            )
        elif rng.random() < 0.3:
            del result[place:]
    return bytes(result)


def changed_value(rng: random.Random, value: Any) -> Any:
    """A copy of nested lists, tuples and dictionaries in which one thing is replaced, left out, doubled or renamed."""
    if not isinstance(value, (dict, list, tuple)) or not value or rng.random() < 0.08:
        return odd_value(rng)
    if isinstance(value, dict):
        key = rng.choice(list(value))
        result = dict(value)
        kind = rng.randrange(6)
        if kind == 0:
            del result[key]
        elif kind == 1:
            result[odd_value(rng, 3) if rng.random() < 0.3 else f"{key}{rng.choice('_ .0')}"] = result.pop(key)
        else:
            result[key] = changed_value(rng, value[key])
        return result
    items = list(value)
    place = rng.randrange(len(items))
    kind = rng.randrange(6)
    if kind == 0:
        del items[place]
    elif kind == 1:
        items.insert(place, items[rng.randrange(len(items))])
    else:
        items[place] = changed_value(rng, items[place])
    return type(value)(items)


def as_json(value: object) -> object:
    """A value as JSON can have it: keys are text."""
    if isinstance(value, dict):
        return {str(key): as_json(v) for key, v in value.items()}
    return [as_json(v) for v in value] if isinstance(value, (list, tuple)) else value
