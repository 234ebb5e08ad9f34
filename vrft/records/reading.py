"""Tabular data: rows of files and of the hub's data sets, all read alike.

Every task reads rows such as this one, which people can write by hand, one a line of a .jsonl file:

    {"id": "a1", "images": ["pictures/a1.jpg"], "question": "How many?", "answer": 3}

Data sets that name their columns otherwise are read by giving the names, with dots for what lies
within a column: ``data.columns.images=img data.columns.answer=reward_model.ground_truth``. Rows of
TRL work as they are (``prompt`` as text or one message, ``images``, ``solution``). Pictures inside
the data are written once to the cache, so that one row at a time is held in memory, however large
the data set.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import re
import reprlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from vrft import paths
from vrft.errors import UserError
from vrft.images import UNREADABLE, as_picture, open_image, picture_name, read_header
from vrft.progress import watched
from vrft.records import files, hub
from vrft.records.data_folder import check_inside, is_inside
from vrft.records.hub import Row

KINDS = files.KINDS
HUB_ID = re.compile(r"[\w-][\w.-]{0,99}/[\w-][\w.-]{0,99}")
LARGEST = 1e300
NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?")

SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother, SHORT.maxlong = 2, 60, 60, 60
"""Shows values in messages: repr() itself fails for lists that are 900 deep."""


AS_NAMED: Mapping[str, str] = MappingProxyType({})
"""The renaming of no column."""


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

    @property
    def id(self) -> str:
        """Return the row's own ``id`` or ``idx``, or else its number."""
        own = self.get("id", "idx")
        return str(self.row if own is None else own)

    def get(self, *names: str) -> Any:
        """Return the value as it stands; None where the row has none."""
        for name in names:
            if name not in self.columns:
                # Most columns, at little cost: a hundred thousand rows are asked for ten each.
                value = self.values.get(name)
            else:
                value = look_up(self.values, self.columns[name])
                # A column that the user names must exist: another in its place would hide a typo.
                if value is ABSENT:
                    column = self.columns[name]
                    raise self.error(f"no column {column!r}, which data.columns.{name} names")
            if value is not None:
                return value
        return None

    def has(self, *names: str) -> bool:
        """Return whether the row has one of the columns, if only with no value in it."""
        columns = (self.columns.get(name, name) for name in names)
        return any(look_up(self.values, column) is not ABSENT for column in columns)

    def value(self, *names: str) -> Any:
        """Return the value as it stands; raise UserError where the row has none, or NaN."""
        value = self.get(*names)
        if value is None and self.has(*names):
            raise self.error(
                f"{' or '.join(n for n in names if self.has(n))} is empty (null); fill it in, or "
                "remove the row"
            )
        if isinstance(value, float) and not is_finite(value):
            raise self.error(f"{names[0]} is no finite number: {shown(value)}")
        if value is None:
            raise self.error(
                f"no {' or '.join(names)}; there is {', '.join(self.values) or 'nothing'} "
                f"(data.columns.{names[0]}=NAME says which column it is)"
            )
        return value

    def text(self, *names: str) -> str:
        """Return a text, stripped; a whole number and a user's only message have a text too.

        Raises UserError for a conversation of several turns, of which none may be left out.
        """
        value = self.value(*names)
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

    def error(self, complaint: str) -> UserError:
        """Return a UserError about this row, to be raised."""
        return UserError(f"{self.where}: {complaint}")


def read(
    source: str | Path,
    split: str,
    *,
    columns: Mapping[str, str] = AS_NAMED,
    limit: int | None = None,
    encoding: str = "",
    config: str | None = None,
    allow_outside: bool = False,
) -> Iterator[Record]:
    """Yield the rows of a split, or the first ``limit`` of them, always in the same order.

    ``source`` is one file, which is read whatever the split; a folder with files that name the
    split (train.jsonl, data/train-00000-of-00002.parquet, train/rows.json, SAT_train.parquet), or
    one that ``save_to_disk`` wrote; or a hub id, of which no more than ``limit`` rows are fetched.
    ``encoding`` is that of texts without a byte order mark, UTF-8 unless given; ``config`` is one
    of the configurations that a data set of the hub, or the README of its folder, lists.
    Pictures lie in the folder ``source``, or in that of the file, unless ``allow_outside``. Raises
    UserError at once where there is no such data, and while the rows are read for data that is
    damaged.
    """
    # No generator function itself, so that missing data is an error before the first row is asked.
    try:
        root = Path(source).expanduser()
    except RuntimeError as error:  # "~name" of no user
        raise UserError(f"no data at {source!s:.200} ({error})") from error
    if os.path.exists(root):  # unlike Path.exists, also for a name that is too long
        folders: tuple[Path, ...] = (root,) if root.is_dir() else ()
        allowed = folders or (root.parent,)
        if hub.is_configured(root, config, encoding):
            rows: Iterator[Row] = hub.rows(str(root), split, limit, config)
            allowed += hub.caches()  # pictures in an archive are unpacked there
        else:
            parts = split_files(root, split)
            rows = (row for path in parts for row in file_rows(path, encoding))
    elif HUB_ID.fullmatch(str(source)) and root.suffix not in KINDS:  # "data/train.json" is a typo
        rows, folders = hub.rows(str(source), split, limit, config), ()
        allowed = hub.caches()
    else:
        raise UserError(
            f"no data at {root!s:.200}; set task.data_dir to a file, a folder or a hub id"
        )
    # Rows that a program gave in Python are no stranger's: they name any picture.
    anywhere = allow_outside or is_inside(root, (paths.rows(),))
    bounds = None if anywhere else allowed
    return (
        Record(values, where, number, (*own_folder, *folders), columns, bounds)
        for number, (values, where, own_folder) in enumerate(
            watched(islice(rows, limit), f"rows of {split!r}")
        )
    )


def split_files(root: Path, split: str) -> list[Path]:
    """Return the files that hold a split, sorted by name; raise UserError if there is none.

    Where a split exists in two kinds, as some are published, the first of KINDS counts.
    """
    if not root.is_dir():
        return [root]
    saved = files.saved_files(root, split)
    if saved is not None:
        return saved
    name = glob.escape(split)
    for kind in KINDS:
        # In this order: "train.jsonl" is meant even if "train_small.jsonl" lies beside it.
        patterns = [f"{name}{kind}", f"{name}[-_]*{kind}", f"*[-_]{name}{kind}"]
        patterns += [f"data/{pattern}" for pattern in patterns] + [f"{name}/*{kind}"]
        for pattern in patterns:
            if parts := sorted(root.glob(pattern)):
                return parts
    raise UserError(
        f"{root}: no split {split!r}; expected {split}.parquet, {split}.jsonl, {split}.json, "
        f"{split}.csv, {split}-*.parquet, such files in data/ or {split}/, or what save_to_disk "
        "writes"
    )


def file_rows(path: Path, encoding: str = "") -> Iterator[Row]:
    """Yield the rows of one file; raise UserError if it is damaged or of another kind."""
    folders = (path.parent,)  # one for all rows, as there may be millions
    for values, row in files.read(path, encoding):
        where = f"{path}: {row}"
        if not isinstance(values, dict):
            raise UserError(f"{where}: expected an object with named values, got {shown(values)}")
        # Every row of JSON has names of its own, which together are as large as the data.
        yield {sys.intern(name): value for name, value in values.items()}, where, folders


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


def is_finite(value: int | float | Decimal) -> bool:
    """Return whether a number is finite as a float too, which 10**400 is not."""
    if isinstance(value, Decimal) and not value.is_finite():
        return False  # comparing a Decimal's NaN is an error
    return -LARGEST <= value <= LARGEST  # False for NaN


def is_whole(value: float | Decimal) -> bool:
    """Return whether a number is whole, such as 3.0, and finite."""
    return is_finite(value) and value == int(value)


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
    """Return the list that a text holds as JSON, as in a cell of CSV; any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


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


def png(image: Image.Image) -> bytes:
    """Return the content of a PNG file of a picture."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def cached_picture(content: bytes, where: str) -> Path:
    """Return the file of the cache that holds a picture, named by its content and written once.

    Raises UserError for bytes that do not begin as a picture does, and for a cache that cannot be
    written.
    """
    cache = paths.cache()
    digest = hashlib.sha256(content).hexdigest()
    path = cache / "pictures" / digest[:2] / digest
    if path.is_file():
        return path
    try:
        # Only the header is read here; the size is checked when the picture is opened.
        read_header(io.BytesIO(content)).close()
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: a picture that cannot be read; remove the row") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        # Renaming is atomic: another process sees the complete file or none.
        os.replace(file.name, path)
    except OSError as error:
        raise UserError(
            f"{cache}: cannot keep pictures there ({error}); "
            "set VRFT_CACHE to a folder that can be written"
        ) from error
    return path
