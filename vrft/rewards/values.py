"""Other people's functions: their values as numbers, lists and JSON, and notes on their errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any

from vrft.errors import UserError

LARGEST = 1e18
"""The largest size of a reward: the square of a larger one is no float32."""


@dataclass(frozen=True)
class Foreign:
    """A value that stayed in a worker: its number, if it is one, and its description there."""

    number: float | None
    description: str


def to_number(value: Any) -> float | None:
    """Return a number of Python, NumPy or torch as a float; None for anything else.

    True and False are 1 and 0. A text, a Decimal and an array of several numbers are no numbers.
    """
    if isinstance(value, Foreign):
        return value.number
    # NumPy's truth values, and arrays and tensors without axes, are no Real; their item may be.
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, Real):
        return None
    try:
        return float(value)
    except OverflowError:  # an int or a fraction beyond the range of floats
        return math.inf


def to_list(values: Any) -> list[Any] | None:
    """Return the items of a list, tuple or one-dimensional array; None for anything else."""
    if isinstance(values, list | tuple) or len(getattr(values, "shape", ())) == 1:
        return list(values)
    return None


def to_json(value: Any) -> Any:
    """Return a value as JSON can hold it: numbers of NumPy and torch as Python's, arrays as lists.

    Raises TypeError with the offending part for a value that JSON cannot hold, NaN included.
    """
    if hasattr(value, "tolist") and hasattr(value, "shape"):
        value = value.tolist()
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: to_json(item) for key, item in value.items()}
    raise TypeError(described(value))


def to_line(value: Any) -> Any:
    """Return a reward as a worker's line holds it: None, a float, or what ``Foreign`` says of it.

    A float is the number of a value that counts as a reward, whatever its type.
    """
    if value is None:
        return None
    number = to_number(value)
    if number is not None and abs(number) <= LARGEST:
        return number
    return {"number": number, "description": described(value)}


def from_line(line: Any) -> float | Foreign | None:
    """Return the reward that ``to_line`` wrote; ValueError for anything else."""
    match line:
        case None | float():
            return line
        case {"number": None | float() as number, "description": str(description)}:
            return Foreign(number, description)
    raise ValueError(f"{line!r:.60} is no line of a reward")


def described(value: Any) -> str:
    """Return a value and its type in a few words, for the messages of errors."""
    if isinstance(value, Foreign):
        return value.description
    return f"{value!r:.60} of type {type(value).__name__}"


@contextmanager
def noting(reward: str, sample: str) -> Iterator[None]:
    """Note the names of a reward and a sample on an exception, which keeps its type and traceback.

    A UserError passes as it is: it is one line, without a traceback.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        note = f"in reward {reward!r}, sample {sample!r}"
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        raise
