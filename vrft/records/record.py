"""One row of a data set: its values by the names that tasks use, each of the type asked for.

A mistake is one line that names the file and the row. Pictures that a row holds itself become files
of the cache, so that one row at a time is held in memory, however large the data set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.errors import UserError
from vrft.images import as_picture, open_image, picture_name
from vrft.records.data_folder import check_inside
from vrft.records.nested import (
    ABSENT,
    PYTHON_MESSAGES,
    flattened,
    holds_bytes,
    holds_null,
    listed,
    look_up,
    roles_of,
    shown,
    user_text,
    with_messages,
)
from vrft.records.picture_cache import cached_picture, png

LARGEST = 1e300
"""The largest number that is read: all within it are finite as floats."""

NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?")


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a data set, whose columns are asked for by the names that tasks use.

    Every reader takes several names of a column, as data sets differ; the first for which the row
    has a value counts. UserError where there is no value or it has another type.
    """

    values: Mapping[str, Any]
    where: str
    """File and row, for messages: rows count from 0, but lines of a .jsonl file from 1."""
    row: int
    """The number of the row, from 0 through all files of the split."""
    folders: tuple[Path, ...] = ()
    """The folders at which relative paths of pictures start; the first that has the file counts."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The task's name of a column -> the data's."""
    allowed: tuple[Path, ...] | None = None
    """The folders that its pictures may not leave; None where they may lie anywhere."""
    asked: set[str] | None = None
    """The names that the rows of a split have been asked for; None where nobody wants to know."""

    @property
    def id(self) -> str:
        """Return the row's own ``id`` or ``idx``, or else its number."""
        own = self.get("id", "idx")
        return str(self.row if own is None else own)

    def get(self, *names: str) -> Any:
        """Return the value as it stands; None where the row has none, or pandas' NaN."""
        for name in names:
            if self.asked is not None:
                self.asked.add(name)
            if name not in self.columns:
                # Most columns, at little cost: a hundred thousand rows are asked for ten each.
                value = self.values.get(name)
            else:
                value = look_up(self.values, self.columns[name])
                # A column that the user names must exist: another in its place would hide a typo.
                if value is ABSENT:
                    column = self.columns[name]
                    raise self.error(f"no column {column!r}, which data.columns.{name} names")
            if not is_null(value):
                return value
        return None

    def has(self, *names: str) -> bool:
        """Return whether the row has one of the columns, if only with no value in it."""
        columns = (self.columns.get(name, name) for name in names)
        return any(look_up(self.values, column) is not ABSENT for column in columns)

    def value(self, *names: str) -> Any:
        """Return the value as it stands; raise UserError where the row has none, or infinity."""
        value = self.get(*names)
        if value is None and self.has(*names):
            empty = [name for name in names if self.has(name)]
            given = look_up(self.values, self.columns.get(empty[0], empty[0]))
            raise self.error(
                f"{' or '.join(empty)} is empty ({'null' if given is None else 'NaN'}); fill it "
                "in, or remove the row"
            )
        if isinstance(value, float | Decimal) and not is_finite(value):
            raise self.error(f"{names[0]} is no finite number: {shown(value)}")
        if value is None:
            raise self.error(
                f"no {' or '.join(names)}; there is {', '.join(self.values) or 'nothing'} "
                f"(data.columns.{names[0]}=NAME says which column it is)"
            )
        return value

    def said(self, *names: str) -> Any:
        """Return the value as it stands, or the chat messages that it holds as JSON.

        Raises UserError as ``value``, and for messages in Python's writing, which is no JSON.
        """
        value = with_messages(self.value(*names))
        if isinstance(value, str) and PYTHON_MESSAGES.match(value):
            raise self.error(
                f"{names[0]} holds messages in Python's writing: {shown(value)}; write them in JSON"
            )
        return value

    def text(self, *names: str) -> str:
        """Return a text, stripped; a whole number and a user's only message have a text too.

        Raises UserError for a conversation of several turns, of which none may be left out.
        """
        value = self.said(*names)
        if isinstance(value, float | Decimal) and is_whole(value):
            value = int(value)  # pandas writes 3.0 where another row has no number
        if isinstance(value, int) and not isinstance(value, bool):  # True is an int in Python
            return str(value)
        roles = roles_of(value)
        if roles and roles != ["user"]:
            raise self.error(
                f"{names[0]} is a conversation ({', '.join(roles[:5])}), of which this task takes "
                "the user's only turn; --task vqa reads all turns"
            )
        text = value if isinstance(value, str) else user_text(value)
        if text is None:
            raise self.error(f"{names[0]} is no text: {shown(value)}")
        return text.strip()

    def texts(self, *names: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = listed(self.value(*names))
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(f"{names[0]} is no list of texts: {shown(value)}")
        return tuple(value)

    def number(self, *names: str) -> float:
        """Return a finite number, given as such or as a text."""
        value = self.value(*names)
        # The pattern is narrower than float(), which also reads "nan", "1_000" and Arabic digits.
        if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise self.error(f"{names[0]} is no number: {shown(value)}")
        if not is_finite(value):
            raise self.error(f"{names[0]} is no finite number: {shown(value)}")
        return float(value)

    def images(self, *names: str, required: bool = True) -> tuple[Path, ...]:
        """Return the files of the pictures, in order; at least one where they are ``required``.

        The value is a picture in any form that ``images.as_picture`` takes, or lists of these.
        Where no picture is required, [] or null says that there is none.
        """
        value = self.get(*names)
        if value is None and not required and self.has(*names):
            return ()
        # Without a value, self.value raises UserError that names the columns there are.
        given = self.value(*names) if value is None else value
        pictures = tuple(self.picture(item) for item in self.items(given, names[0]))
        if required and not pictures:
            raise self.error(f"{names[0]} holds no picture")
        return pictures

    def items(self, value: Any, name: str) -> list[Any]:
        """Return the items of nested lists, or of the text of one, in order; [] for None.

        Nulls beside items fill a list up. Raises UserError for a list of nothing but nulls, whose
        pictures may have got lost.
        """
        given = listed(value)
        items = flattened(given)
        if not items and isinstance(given, list | tuple) and holds_null(given):
            raise self.error(f"{name} holds null alone; write [] where there is no picture")
        return items

    def picture(self, value: Any) -> Path:
        """Return the file of one picture; one inside the data becomes a file of the cache."""
        try:
            source = as_picture(value)
            if isinstance(source, Image.Image):
                source = png(open_image(source))
        except UserError as error:
            raise self.error(str(error)) from error
        if isinstance(source, bytes):
            return cached_picture(source, self.where)
        candidates = [folder / source for folder in self.folders] or [source]
        for path in candidates:
            if os.path.isfile(path):  # unlike Path.is_file, also for a name that is too long
                if self.allowed is not None:
                    check_inside(path, self.allowed, self.where)
                return path
        name = picture_name(candidates[0])
        raise self.error(f"no picture {name}; correct the path or remove the row")

    def plain(self) -> dict[str, Any]:
        """Return the columns by the data's own names, without those that hold bytes of pictures."""
        if not any(map(holds_bytes, self.values.values())) and isinstance(self.values, dict):
            return self.values  # as it is: a million rows need not be held twice
        return {name: value for name, value in self.values.items() if not holds_bytes(value)}

    def for_rewards(self, answer: Any) -> dict[str, Any]:
        """Return the columns for reward functions: plain ones, and what TRL's functions rely on.

        That is ``answer``, the given value where the data have no column of that name, and the
        ``prompt`` that a setting names.
        """
        own = self.plain()
        added = {} if "answer" in own else {"answer": answer}
        if "prompt" in self.columns:
            added["prompt"] = look_up(self.values, self.columns["prompt"])
        return {**own, **added} if added else own

    def error(self, complaint: str) -> UserError:
        """Return a UserError about this row, to be raised."""
        return UserError(f"{self.where}: {complaint}")


def is_null(value: Any) -> bool:
    """Return whether a value stands for none: None, or the NaN of pandas' empty cells."""
    if isinstance(value, float):
        return value != value
    return value is None or (isinstance(value, Decimal) and value.is_nan())


def is_finite(value: int | float | Decimal) -> bool:
    """Return whether a number is finite as a float too, which 10**400 is not."""
    if isinstance(value, Decimal) and not value.is_finite():
        return False  # comparing a Decimal's NaN is an error
    return -LARGEST <= value <= LARGEST  # False for NaN


def is_whole(value: float | Decimal) -> bool:
    """Return whether a number is whole, such as 3.0, and finite."""
    return is_finite(value) and value == int(value)


def number_text(number: int | float | Decimal) -> str:
    """Return a finite number as people write it: 4.0 as 4, and 5e-05 as 0.00005."""
    if isinstance(number, int):
        return str(number)
    if number == int(number) and isinstance(number, float):
        return str(int(number))
    return format(Decimal(repr(number)) if isinstance(number, float) else number, "f")
