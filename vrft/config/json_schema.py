"""The JSON schema of a configuration file, by which editors complete and check its settings."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

from vrft.config import coercion
from vrft.config.coercion import Range
from vrft.config.remarks import remarks
from vrft.config.schema import Config

DRAFT = "https://json-schema.org/draft/2020-12/schema"

SCALARS: Mapping[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}

SHORT = {
    "task": "a task by its name or file; its settings stand beside it or in a mapping",
    "model": "a hub id, a folder, or demo",
    "algorithm": "the name of a method: gpg, grpo ...",
}
"""The groups for which a file may give their ``name`` alone."""


def json_schema() -> dict[str, Any]:
    """Return the schema of a configuration, which may extend another; unknown settings are wrong.

    ``task`` and ``data`` take further settings, those of the task.
    """
    tree = of_group(Config)
    for name, text in SHORT.items():
        tree["properties"][name] = {
            "anyOf": [{"type": "string", "description": text}, tree["properties"][name]]
        }
    tree["properties"]["task"]["anyOf"][1]["additionalProperties"] = True
    tree["properties"]["data"]["additionalProperties"] = True
    extends = {"type": "string", "description": "a file beside this one, or a shipped name"}
    tree["properties"] = {"extends": extends, **tree["properties"]}
    return {"$schema": DRAFT, "title": "vrft configuration", **tree}


def of_group(cls: type) -> dict[str, Any]:
    """Return the schema of a group of settings, with what each says of itself."""
    hints, texts = typing.get_type_hints(cls, include_extras=True), remarks(cls)
    properties = {}
    for field in dataclasses.fields(cls):
        entry = of_type(hints[field.name])
        if field.name in texts:
            entry["description"] = texts[field.name].replace("``", "`")
        if field.default is not dataclasses.MISSING and not dataclasses.is_dataclass(field.default):
            entry["default"] = coercion.to_plain(field.default)
        properties[field.name] = entry
    return {"type": "object", "properties": properties, "additionalProperties": False}


def of_type(hint: Any) -> dict[str, Any]:
    """Return the schema of a value, by its annotation."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return of_type(args[0]) | (limits(args[1]) if isinstance(args[1], Range) else {})
    if origin in (Union, types.UnionType):
        inner = of_type(next(arg for arg in args if arg is not type(None)))
        return {"anyOf": [inner, {"type": "null"}]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple:
        item = of_type(args[0])
        return {"anyOf": [{"type": "array", "items": item}, item]}  # a single item is a list of one
    if isinstance(origin, type) and issubclass(origin, Mapping):
        values = {} if args[1] is Any else {"additionalProperties": of_type(args[1])}
        return {"type": "object", **values}
    if dataclasses.is_dataclass(hint):
        return of_group(typing.cast(type, hint))
    return {"type": SCALARS[hint]}


def limits(interval: Range) -> dict[str, Any]:
    """Return the limits of a number."""
    low = {"exclusiveMinimum" if interval.open else "minimum": interval.low}
    return low if interval.high == math.inf else {**low, "maximum": interval.high}
