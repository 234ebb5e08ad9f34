"""Frozen dataclasses from the mappings of YAML and JSON, every value checked, and back again."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

from vrft import paths
from vrft.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """The interval that a number must lie in: ``low`` (itself not if ``open``) to ``high``."""

    low: float
    high: float = math.inf
    open: bool = False

    def __contains__(self, value: float) -> bool:
        # NaN compares false with everything, so no range contains it.
        return (self.low < value if self.open else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open else f"at least {self.low:g}"
        return low if self.high == math.inf else f"{low} and at most {self.high:g}"


Count = Annotated[int, Range(1)]
Size = Annotated[int, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Amount = Annotated[float, Range(0)]
Above0 = Annotated[float, Range(0, open=True)]
Place = Annotated[str, paths.at_home]
"""A path, or a name that may be one, such as a model's: ``~`` at its beginning is written out."""


def build(cls: type[T], tree: Mapping[str, Any], prefix: str = "", root: type | None = None) -> T:
    """Build a frozen dataclass from a mapping, with every value coerced to its annotated type.

    ``prefix`` is the path of the mapping, such as "train.", for messages, and ``root`` the
    dataclass in which it lies, ``cls`` itself by default. Raises UserError for an unknown setting,
    with the one that it is elsewhere or the nearest known one, and for a value of another type.
    """
    return cls(**check(cls, tree, prefix, root))


def check(
    cls: type, tree: Mapping[str, Any], prefix: str = "", root: type | None = None
) -> dict[str, Any]:
    """Return the values of a mapping as the types that a dataclass annotates; UserError as above.

    Settings of the dataclass may be missing.
    """
    check_names(cls, tree, prefix, paths_of(root) if root else paths_of(cls, prefix))
    hints = typing.get_type_hints(cls, include_extras=True)  # with what an Annotated says further
    return {key: coerce(hints[key], value, prefix + key) for key, value in tree.items()}


def check_names(cls: type, tree: Mapping[str, Any], prefix: str, everywhere: Sequence[str]) -> None:
    """Raise UserError for a setting that the dataclass, or one in it, has not.

    A name of another place is answered by its path, of the paths ``everywhere``: people know
    TRL's names, which have no sections.
    """
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    for key, value in tree.items():
        if key not in known:
            near = paths.suggest(str(key), known).replace("'", "")
            near = near.replace("did you mean ", f"did you mean {prefix}")
            if places := [path for path in everywhere if path.rpartition(".")[2] == key]:
                near = f"did you mean {' or '.join(places)}?"
            raise UserError(f"unknown setting {prefix}{key}; {near}")
        if isinstance(value, Mapping) and dataclasses.is_dataclass(hints[key]):
            check_names(hints[key], value, f"{prefix}{key}.", everywhere)


def paths_of(cls: type, prefix: str = "") -> list[str]:
    """Return the paths of all settings of a dataclass, and of the dataclasses in it and theirs."""
    hints = typing.get_type_hints(cls)
    places: list[str] = []
    for name in (f.name for f in dataclasses.fields(cls)):
        places.append(prefix + name)
        if dataclasses.is_dataclass(hints[name]):
            places += paths_of(hints[name], f"{prefix}{name}.")
    return places


def coerce(hint: Any, value: Any, where: str) -> Any:
    """Return ``value`` as the type that a dataclass annotates, as YAML's types are not Python's.

    Raises UserError that names the setting ``where``, the value and the expected type or range.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        inner = coerce(args[0], value, where)
        if not isinstance(args[1], Range):
            return args[1](inner)
        if inner not in args[1]:
            raise UserError(f"{where}: expected {args[1]}, got {value!r:.100}")
        return inner
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return coerce(next(a for a in args if a is not type(None)), value, where)
    if origin is Literal:
        if isinstance(value, bool):
            value = "on" if value else "off"  # YAML reads these two words as truth values
        if value not in args:
            raise UserError(f"{where}: {value!r:.100} is not one of {', '.join(map(str, args))}")
        return value
    if origin is tuple:
        # A single item stands for a list of one: train.report_to=wandb.
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(coerce(args[0], item, where) for item in items)
    if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
        return build(hint, value, f"{where}.")  # type: ignore[arg-type]
    if isinstance(value, Mapping) and isinstance(origin, type) and issubclass(origin, Mapping):
        return {str(key): coerce(args[1], item, f"{where}.{key}") for key, item in value.items()}
    try:
        scalar = SCALARS[hint](value)
    except (KeyError, TypeError, ValueError, OverflowError):
        expected = getattr(hint, "__name__", str(hint))
        quoted = "; put a text in quotes, within those of the shell" if hint is str else ""
        raise UserError(f"{where}: expected {expected}, got {value!r:.100}{quoted}") from None
    if isinstance(scalar, float) and not math.isfinite(scalar):
        # No rate, weight or limit is infinite: what has no limit is None or 0, as documented.
        raise UserError(f"{where}: expected a finite number, got {value!r:.100}")
    return scalar


def to_bool(value: Any) -> bool:
    """Return a truth value, which 0 and 1 are not; TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError
    return value


def to_int(value: Any) -> int:
    """Return a whole number, also of 2.0 and of "2"; TypeError or ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # not through a float, which is exact up to 2**53 only
    number = to_float(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def to_float(value: Any) -> float:
    """Return a number; TypeError or ValueError for anything else.

    A text may be one: YAML 1.1 wants a point in a number, and reads 1e-6 as text.
    """
    if isinstance(value, bool):  # which Python takes for 0 or 1
        raise TypeError
    return float(value)


def to_text(value: Any) -> str:
    """Return a text, also of a number, as in model.name=7; TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    return str(value)


SCALARS: Mapping[Any, Callable[[Any], Any]] = {
    bool: to_bool,
    int: to_int,
    float: to_float,
    str: to_text,
    Path: paths.expanded,
}
"""The converter of each type that is not made of others."""


def changed(settings: Any) -> dict[str, Any]:
    """Return the settings of a section that have another value than by default, by their names."""
    usual = type(settings)()
    return {field.name: value for field in dataclasses.fields(settings)
            if (value := getattr(settings, field.name)) != getattr(usual, field.name)}  # fmt: skip


def to_plain(value: Any) -> Any:
    """Return dataclasses, tuples and paths as the mappings, lists and texts of YAML and JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
