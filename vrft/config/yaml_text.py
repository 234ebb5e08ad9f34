"""YAML text as plain values, in time and memory that no text can exceed.

Settings of a run, a benchmark and the command line are all read here. A few lines of YAML can mean
more values than any memory holds, as an alias stands for all that its anchor names, so that the
values are counted before the first of them is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vrft.errors import UserError

LARGEST = 2**18
"""Characters of settings, read in a second; the longest published ones have some thousands."""

DEEPEST = 50
"""Levels of nesting; Python's own limit is reached at several hundred."""

MOST_VALUES = 100_000
"""Keys and values of a text, with those that its aliases stand for."""


INT, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"


class NotYaml(UserError):
    """A text that is no YAML, as against one that is more than is read."""


class Loader(yaml.SafeLoader):
    """A loader of plain values whose numbers are those of YAML 1.2.

    YAML 1.1 reads 010 as 8 and 1:30 as 90. Here the first is the text "010", which a setting that
    is a number takes for 10, and the second is a text.
    """


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (INT, FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    INT, re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"), list("-+0123456789")
)
Loader.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def read(path: Path) -> Any:
    """Return the value of a YAML file; raise UserError, in one line, for one that is not readable.

    That is a file that is no YAML, larger or deeper than any settings are, or that gives a key
    twice, of which YAML itself would drop the first.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise too_long(str(path))
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable YAML ({error})") from error
    return parse(text, str(path))


def parse(text: str, where: str) -> Any:
    """Return the value of a YAML text; raise UserError, as ``read`` does, that begins ``where``."""
    if len(text) > LARGEST:
        raise too_long(where)
    try:
        check(text, where)
        return yaml.load(text, Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        # An error of YAML's is several lines with a drawing; ours is one.
        raise NotYaml(f"{where}: not readable YAML ({' '.join(str(error).split())})") from error
    except (ValueError, LookupError, AttributeError) as error:
        # What PyYAML lets through where a value has the form of a date or number, or a tag's, and
        # is none: 2024-13-45, !!int "", !!bool maybe.
        says_why = isinstance(error, ValueError)
        reason = " ".join(str(error).split()) if says_why else "a value that does not fit its !!tag"
        raise UserError(f"{where}: not readable YAML ({reason}); put the value in quotes"
                        ) from error  # fmt: skip


def parse_typed(text: str, where: str) -> Any:
    """Return the value that a command line gives: a text as it is typed, any other by ``parse``.

    Without quotes YAML would cut a text off at " #", make spaces of its line breaks, and refuse
    what begins with a brace or a sign of its own. A quote that is not closed is refused.
    """
    typed = text.strip()
    if not typed:
        return None
    if typed[0] in "'\"|>":  # a text in a form of YAML's
        return parse(text, where)
    try:
        value = parse(text, where)
    except NotYaml:
        return typed
    nothing = value is None and typed.lower() not in ("null", "~")  # a comment alone
    return typed if isinstance(value, str) or nothing else value


def too_long(where: str) -> UserError:
    """Return the error of a text longer than any settings."""
    return UserError(f"{where}: more than {LARGEST:,} bytes, which are no settings; "
                     "give the YAML file of the run or benchmark")  # fmt: skip


@dataclass(slots=True)
class Collection:
    """A mapping or list of YAML whose end is not read yet."""

    anchor: str | None
    is_mapping: bool
    values: int = 1
    """Itself, and all that has been read inside it."""
    children: int = 0
    keys: set[str] = field(default_factory=set)


def check(text: str, where: str) -> None:
    """Raise UserError for a text that means too much, has a key twice, or holds itself.

    The text is read as a stream of events, in which an alias is not resolved and nesting costs no
    recursion. Raises yaml.YAMLError for what is no YAML.
    """
    sizes: dict[str, int] = {}  # of every anchor whose value is complete
    open_: list[Collection] = [Collection(None, is_mapping=False)]
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        mark = event.start_mark
        line = where if mark is None else f"{where}: line {mark.line + 1}"
        anchor = getattr(event, "anchor", None)
        match event:
            case yaml.AliasEvent():
                if any(collection.anchor == anchor for collection in open_):
                    raise UserError(f"{line}: *{anchor} stands inside the value that it names; "
                                    "write the value out")  # fmt: skip
                size = sizes.get(anchor or "", 1)  # without its anchor: refused when it is loaded
            case yaml.ScalarEvent():
                check_key(open_[-1], event.value, line)
                size = 1
            case yaml.CollectionStartEvent():
                if len(open_) > DEEPEST:
                    raise UserError(f"{line}: more than {DEEPEST} levels of nesting; settings are "
                                    "given as key.path=value, two or three deep")  # fmt: skip
                open_.append(Collection(anchor, isinstance(event, yaml.MappingStartEvent)))
                continue
            case yaml.CollectionEndEvent():
                collection = open_.pop()
                anchor, size = collection.anchor, collection.values
            case _:
                continue
        if anchor is not None and not isinstance(event, yaml.AliasEvent):
            sizes[anchor] = size
        open_[-1].values += size
        open_[-1].children += 1
        if open_[-1].values > MOST_VALUES:
            raise UserError(f"{line}: more than {MOST_VALUES:,} values, with those that aliases "
                            "(*name) stand for; write out the few that are meant")  # fmt: skip


def check_key(collection: Collection, text: str, line: str) -> None:
    """Raise UserError where the next value of a mapping is a key that it has already."""
    if not collection.is_mapping or collection.children % 2:
        return
    if text in collection.keys:
        raise UserError(f"{line}: {text!r:.60} is given twice; remove one of the two")
    collection.keys.add(text)
