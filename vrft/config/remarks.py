"""The descriptions of settings: the texts below the fields of a dataclass in its source."""

from __future__ import annotations

import ast
import inspect
import textwrap


def remarks(cls: type) -> dict[str, str]:
    """Return field -> the text below it, or the comments above it, in one line.

    A field with neither is left out. Those of the dataclasses that it builds on come first.
    """
    texts: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if "__dataclass_fields__" in vars(each):
            texts |= own_remarks(each)
    return texts


def own_remarks(cls: type) -> dict[str, str]:
    """Return the remarks on the fields in a dataclass's own source."""
    source = textwrap.dedent(inspect.getsource(cls))
    lines = source.splitlines()
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    behind = [*definition.body[1:], None]
    for statement, below in zip(definition.body, behind, strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            text = str(below.value.value)
        else:
            text = comments_above(lines, statement.lineno - 1)
        if text:
            texts[statement.target.id] = " ".join(text.split())
    return texts


def comments_above(lines: list[str], place: int) -> str:
    """Return the comment lines directly above a line, without their signs."""
    above: list[str] = []
    while place > 0 and lines[place - 1].strip().startswith("#"):
        place -= 1
        above.insert(0, lines[place].strip().removeprefix("#").strip())
    return " ".join(above)
