"""Values that hold others: lists in lists, columns in columns, chat messages, a cell's JSON.

Rows come from anyone's files and may be nested more deeply than functions can call each other:
nothing here calls itself.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother, SHORT.maxlong = 2, 60, 60, 60
"""Shows values in messages: repr() itself fails for lists that are 900 deep."""

PYTHON_MESSAGES = re.compile(r"^\s*+\[\s*+\{\s*+'(?:role|content|from|value)'\s*+:")
"""The beginning of chat messages in Python's writing, as pandas puts them into a cell of CSV."""

ABSENT = object()
"""Stands for the value of a column that a row does not have."""


def look_up(values: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column, or of what lies within one by names with dots; else ABSENT.

    A whole number in the name counts the items of a list, from 0: ``conversations.1.value``.
    """
    if column in values or "." not in column:
        return values.get(column, ABSENT)
    value: Any = values
    for name in column.split("."):
        if isinstance(value, Mapping):
            value = value.get(name, ABSENT)
        elif isinstance(value, list) and re.fullmatch("[0-9]{1,9}", name):
            value = value[int(name)] if int(name) < len(value) else ABSENT
        else:
            # What lies within nothing is nothing, but a text has nothing within.
            return None if value is None else ABSENT
    return value


def shown(value: Any) -> str:
    """Return a value in at most 60 characters, for a message."""
    return f"{SHORT.repr(value):.60}"


def roles_of(messages: Any) -> list[str]:
    """Return the roles of a list of chat messages; [] for any other value."""
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        return []
    return [str(message.get("role"))[:20] for message in messages if "role" in message]


def user_text(messages: Any) -> str | None:
    """Return what the user says in a list of chat messages, without pictures; None if nothing."""
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        return None
    contents = [message.get("content") for message in messages if message.get("role") == "user"]
    # A content is a text or a list of parts, {"type": "text", "text": ...} or {"type": "image"}.
    parts = [part for content in contents for part in flattened(content)]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    said = [text for text in texts if isinstance(text, str)]
    return "\n".join(said) if said else None


def listed(value: Any) -> Any:
    """Return the list or object that a text holds as JSON, as in a cell of CSV.

    Any other value is returned as it is.
    """
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def is_list_of_texts(value: Any) -> bool:
    """Return whether a text is a list of texts, in JSON or as Python writes it (['red'])."""
    text = value.strip() if isinstance(value, str) else ""
    return text.startswith(("['", '["', "('")) and text.endswith(("]", ")"))


def with_messages(value: Any) -> Any:
    """Return the list of chat messages that a text holds as JSON; any other value as it is."""
    messages = listed(value) if isinstance(value, str) else None
    if not isinstance(messages, list) or not messages:
        return value
    said = all(isinstance(item, dict) and ("role" in item or "from" in item) for item in messages)
    return messages if said else value


def flattened(value: Any) -> list[Any]:
    """Return the items of nested lists in order; any other value is one item, None is no item."""
    items, waiting = [], [value]
    while waiting:  # a loop, as lists may be nested more deeply than functions
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting.extend(reversed(item))
        elif item is not None:
            items.append(item)
    return items


def holds_null(value: Sequence[Any]) -> bool:
    """Return whether nested lists hold None."""
    waiting: list[Any] = list(value)
    while waiting:
        item = waiting.pop()
        if item is None:
            return True
        if isinstance(item, list | tuple):
            waiting.extend(item)
    return False


PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types of values that hold no others."""


def holds_bytes(value: Any) -> bool:
    """Tell whether a value is bytes or a picture, or a list or mapping with one inside."""
    if type(value) in PLAIN:
        return False
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, bytes | bytearray | Image.Image):
            return True
        if isinstance(item, Mapping | list | tuple):
            waiting += item.values() if isinstance(item, Mapping) else item
    return False
