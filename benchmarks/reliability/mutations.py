"""Changes of the fuzzer's inputs: of bytes, whatever they mean, and of values of JSON."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

LONGEST = 20_000
"""Bytes of a changed input."""

BYTES_ALONE = 0.1
"""The share of changes that break JSON; the others change a value and leave it JSON."""

TIED = ("id", "width", "height", "file_name")
"""The ends of names whose values other values or files refer to."""

OTHERS: tuple[Any, ...] = (None, True, -1, 0, 1e400, float("nan"), "", "\ud83d", [], {}, 10**400)
"""Values that stand where others are expected."""


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four of them changed, cut out, repeated or put in."""
    body = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(5):
            case 0 if at < len(body):
                body[at] = rng.randrange(256)
            case 1:
                del body[at : at + rng.randint(1, 9)]
            case 2:
                body[at:at] = body[at : at + rng.randint(1, 20)] * rng.randint(1, 9)
            case 3:
                other = rng.randrange(len(body) + 1)
                body[at:at] = body[other : other + rng.randint(1, 20)]
            case _:
                body.insert(at, rng.choice(b"0123456789-.,:[]{}()<>\"'\\/$ \n"))
    return bytes(body[:LONGEST])


def mutated_json(content: bytes, rng: random.Random) -> bytes:
    """Return JSON with one or two of its values changed a little, so that most copies are read.

    A tenth of the copies has bytes changed, as has every input that is no JSON.
    """
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict | list) or rng.random() < BYTES_ALONE:
        return mutated(content, rng)
    for _ in range(rng.randint(1, 2)):
        holders = [*containers(tree)]
        if holders:
            change(rng.choice(holders), rng)
    return json.dumps(tree).encode()[:LONGEST]


def containers(tree: Any) -> Iterator[dict[str, Any] | list[Any]]:
    """Yield the lists and objects of a tree that hold something, the outermost first."""
    if isinstance(tree, dict | list) and tree:
        yield tree
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from containers(value)


def change(holder: dict[str, Any] | list[Any], rng: random.Random) -> None:
    """Change one value of a list or object, which stays of its kind eleven times in twelve."""
    place: Any = rng.choice([*holder] if isinstance(holder, dict) else range(len(holder)))
    value = holder[place]
    if rng.randrange(12) == 0:
        holder[place] = rng.choice(OTHERS)
    elif str(place).endswith(TIED):
        pass
    elif isinstance(value, bool):
        holder[place] = not value
    elif isinstance(value, int | float):
        if abs(value) < 1e9:
            holder[place] = value + rng.choice((-1, -0.5, 0.25, 1, 3))
    elif isinstance(value, list) and value and isinstance(value[0], dict | list | str):
        entry = rng.randrange(len(value))
        if rng.random() < 0.5:
            value.insert(entry, copy.deepcopy(value[entry]))
        else:
            del value[entry]
    elif isinstance(value, str):
        holder[place] = value + rng.choice(("", " ", "s", "\u202e", "<answer>", "'", "a" * 300))
