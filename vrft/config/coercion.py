"""Frozen dataclasses from the mappings of YAML and JSON, every value checked, and back."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

from vrft import paths
from vrft.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """The values that a number may have: from ``low`` (not itself if ``open``) to ``high``."""

    low: float
    high: float = math.inf
    open: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.open else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open else f"at least {self.low:g}"
        return low if self.high == math.inf else f"{low} and at most {self.high:g}"


Count = Annotated[int, Range(1)]
Size = Annotated[int, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Amount = Annotated[float, Range(0)]
Above0 = Annotated[float, Range(0, open=True)]


def build(cls: type[T], tree: Mapping[str, Any], prefix: str = "") -> T:
    """A frozen dataclass from a mapping, every value coerced to its annotated type.

    Raises UserError for an unknown setting or a value of another type.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in tree:
        if key not in known:
            near = paths.suggest(str(key), known).replace("'", "")
            near = near.replace("did you mean ", f"did you mean {prefix}")
            raise UserError(f"unknown setting {prefix}{key}; {near}")
    return cls(**{key: coerce(hints[key], value, prefix + key) for key, value in tree.items()})


def coerce(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the annotated type: YAML 1.1 reads ``1e-6`` as text, lists as lists.

    Raises UserError that names the setting, the value and the expected type or range.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        number = coerce(args[0], value, where)
        if number not in args[1]:
            raise UserError(f"{where}: expected {args[1]}, got {value!r}")
        return number
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return build(hint, value, f"{where}.")  # type: ignore[arg-type]
    elif origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return coerce(next(a for a in args if a is not type(None)), value, where)
    elif origin is Literal:
        if value in args:
            return value
        raise UserError(f"{where}: {value!r} is not one of {', '.join(map(str, args))}")
    elif origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(coerce(args[0], item, where) for item in items)
    elif origin is not None and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {str(k): coerce(args[1], v, f"{where}.{k}") for k, v in value.items()}
    elif hint is bool or hint is str:
        if isinstance(value, hint):
            return value
        if hint is str and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    elif hint in (int, float) and not isinstance(value, bool):
        try:
            number = float(value)
            if hint is float or number.is_integer():
                return hint(number)
        except (TypeError, ValueError, OverflowError):
            pass
    elif hint is Path and isinstance(value, str | Path):
        return Path(value)
    expected = getattr(hint, "__name__", str(hint))
    raise UserError(f"{where}: expected {expected}, got {value!r}")


def to_plain(value: Any) -> Any:
    """Dataclasses, tuples and paths as the mappings, lists and strings of YAML and JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
