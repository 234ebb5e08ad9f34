"""The settings of a task, which are the fields of its class: listed, checked and completed.

The task's module is imported for it, unlike for the list of tasks.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from vrft import columns
from vrft.cli.data import spelt
from vrft.config import coercion
from vrft.config.remarks import remarks
from vrft.task import Task

OPEN: Mapping[Any, str] = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}
"""The type of a value that is not one of a few -> a word for it."""

WORDS = frozenset({*OPEN.values(), "LIST", "MAPPING", "VALUE"})
"""The words that stand for values, and are none."""

LONGEST = 60
"""Characters of a default that are shown; the JSON has all of it."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting of a task: its field, the values that it may have, its default, its remark."""

    field: str
    values: tuple[str, ...]
    """Those of a setting that has few, or a word in capitals for what they are."""
    required: bool
    default: Any
    remark: str

    @property
    def path(self) -> str:
        """Return the setting as it is given, such as "data.boxes" or "task.kind"."""
        return spelt(self.field)

    def to_json(self) -> dict[str, Any]:
        """Return the setting as an object; without ``default`` where it is required."""
        tree = {"name": self.path, "values": list(self.values), "required": self.required}
        return tree | ({} if self.required else {"default": self.default}) | {"text": self.remark}

    @property
    def default_text(self) -> str:
        """Return the default in a few words, as it is written in a setting."""
        if self.required:
            return "required"
        if self.default in ("", [], {}):
            return "empty"
        text = self.default if isinstance(self.default, str) else json.dumps(self.default)
        text = " ".join(text.split())
        if len(text) <= LONGEST:
            return text
        return f"{text[: LONGEST - 3].rpartition(' ')[0]} ..."


def settings_of(task: type[Task[Any]]) -> list[Setting]:
    """Return the settings of a task, in the order of its class."""
    hints = typing.get_type_hints(task, include_extras=True)
    texts = remarks(task)
    settings = []
    for field in dataclasses.fields(task):  # type: ignore[arg-type]
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        required = default is dataclasses.MISSING
        about_data = getattr(task, "data", "") if field.name == "data_dir" else ""
        remark = texts.get(field.name, "").replace("``", "`") or about_data
        values = tuple(words(hints[field.name]))
        plain = None if required else coercion.to_plain(default)
        settings.append(Setting(field.name, values, required, plain, remark))
    return settings


def words(hint: Any) -> list[str]:
    """Return the values that an annotation allows, such as "chat" or "null", or a word for them."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return words(args[0])
    if origin in (Union, types.UnionType):
        inner = [word for arg in args if arg is not type(None) for word in words(arg)]
        return [*dict.fromkeys(inner), *(["null"] if type(None) in args else [])]
    if origin is Literal:
        return [str(value) for value in args]
    if hint is bool:
        return ["true", "false"]
    if origin in (tuple, list):
        return ["LIST"]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return ["MAPPING"]
    return [OPEN.get(hint, "VALUE")]


def page(name: str, task: type[Task[Any]]) -> str:
    """Return what a task is, and a paragraph for each of its settings, as wide as the terminal."""
    width = columns.terminal_width()
    text = inspect.cleandoc(task.__doc__ or "").replace("``", "`")
    # Of a class without a docstring, `dataclass` makes its signature one.
    about = "" if text.startswith(f"{task.__name__}(") else text.replace("\n\n", "\0")
    paragraphs = [" ".join(part.split()) for part in about.split("\0")]
    lines = [columns.wrapped(f"{name}: {paragraphs[0]}", width)]
    lines += [columns.wrapped(part, width) for part in paragraphs[1:]]
    lines.append("")
    for each in settings_of(task):
        default = each.default_text if each.required else f"default {each.default_text}"
        head = f"{each.path}: {' | '.join(each.values)}; {default}"
        lines += [columns.wrapped(head, width, 8), columns.wrapped(f"    {each.remark}", width)]
    return "\n".join(lines)
