"""Tabular data: rows of files and of the hub's data sets, all read alike.

Every task reads rows such as this one, which people can write by hand, one a line of a .jsonl file:

    {"id": "a1", "images": ["pictures/a1.jpg"], "question": "How many?", "answer": 3}

Data sets that name their columns otherwise are read by giving the names, with dots for what lies
within a column: ``data.columns.images=img data.columns.answer=reward_model.ground_truth``. Rows of
TRL work as they are (``prompt`` as text or one message, ``images``, ``solution``). One row at a
time is held in memory, however large the data set.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from vrft import paths
from vrft.errors import UserError
from vrft.progress import with_progress
from vrft.records import files, hub
from vrft.records.data_folder import is_inside
from vrft.records.hub import Row
from vrft.records.nested import shown
from vrft.records.record import Record, is_null, is_whole

T = TypeVar("T")

KINDS = files.KINDS
HUB_ID = re.compile(r"[\w-][\w.-]{0,99}/[\w-][\w.-]{0,99}")

PART = re.compile(r"(.*-)([0-9]{5})-of-([0-9]{5})(?:-[0-9a-f]{8,64})?(\.\w+)")
"""The name of a numbered part of a split, as the hub's are: train-00000-of-00004.parquet.

Older ones have a hash behind: train-00000-of-00004-725687bf7a18d64b.parquet.
"""

MOST_NAMES = 8
"""Names of files that a message lists."""

SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What a column ``split`` calls a split -> its name; any other value is a name of its own."""

AS_NAMED: Mapping[str, str] = MappingProxyType({})
"""The renaming of no column."""


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
    damaged, or of several splits in one.
    """
    # No generator function itself, so that missing data is an error before the first row is asked.
    if not str(source):  # as a path it would be the current folder
        raise UserError("no data: set task.data_dir to a file, a folder or a hub id")
    root = paths.expanded(source)
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
    asked: set[str] | None = set() if columns else None
    return of_one_split(
        Record(values, where, number, (*own_folder, *folders), columns, bounds, asked)
        for number, (values, where, own_folder) in enumerate(
            with_progress(islice(rows, limit), f"rows of {split!r}")
        )
    )


def of_one_split(records: Iterable[Record]) -> Iterator[Record]:
    """Yield records; raise UserError for one whose column ``split`` names another than before.

    Such a file, read for every split, would train on the rows that it is tested by. Rows without a
    value there are of any split.
    """
    known, first = None, None
    for record in records:
        value = record.values.get("split")
        if (named := split_name(value)) is not None:
            if known is None:
                known, first = named, value
            if named != known:
                raise record.error(
                    f"its split is {shown(value)}, and that of rows before it {shown(first)}; "
                    "write a file for each, or remove the column"
                )
        yield record


def split_name(value: Any) -> str | None:
    """Return the name of a split by the value of a column, a text or a number; None for none."""
    if is_null(value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float | Decimal) and is_whole(value):
        value = int(value)  # pandas writes 1.0 where another row has no number
    said = value.strip().lower() if isinstance(value, str) else shown(value)
    return SPLITS.get(said, said)


def read_each(records: Iterable[Record], read_row: Callable[[Record], T]) -> list[T]:
    """Return what ``read_row`` makes of each row of a split.

    Raises UserError for a column that a setting names, and that no row has been asked for.
    """
    made: list[T] = []
    last: Record | None = None
    for last in records:
        made.append(read_row(last))
    if last is not None:
        check_columns(last.columns, last.asked)
    return made


def check_columns(columns: Mapping[str, str], asked: set[str] | None) -> None:
    """Raise UserError for a column that a setting names, and that is not among those ``asked``."""
    for name, column in columns.items():
        if asked is not None and name not in asked:
            # A close one alone: the name may be right, and another column have come before it.
            near = difflib.get_close_matches(name, sorted(asked), n=1, cutoff=0.75)
            meant = (
                f"; did you mean {near[0]!r}?" if near else f", but for {', '.join(sorted(asked))}"
            )
            raise UserError(
                f"data.columns.{name}={column}: these rows are not asked for {name!r}{meant} "
                "(rewards get columns by the data's names)"
            )


def split_files(root: Path, split: str) -> list[Path]:
    """Return the files that hold a split, sorted by name; raise UserError if there is none.

    The name that is most like the split's counts, and of one that exists in two kinds, as some are
    published, the first of KINDS.
    """
    if not root.is_dir():
        return [root]
    saved = files.saved_files(root, split)
    if saved is not None:
        return saved
    name = glob.escape(split)
    # In this order: "train.jsonl" is meant even if "train_small.parquet" lies beside it.
    patterns = [name, f"{name}[-_]*", f"*[-_]{name}"]
    patterns += [f"data/{pattern}" for pattern in patterns] + [f"{name}/*"]
    for pattern in patterns:
        for kind in KINDS:
            if parts := sorted(root.glob(pattern + kind)):
                check_parts(parts)
                return parts
    inside = [path.relative_to(root).as_posix() for path in sorted(root.glob("data/*"))]
    names = [name for name in sorted(os.listdir(root)) if name != "data" or not inside]
    there = ", ".join([*inside, *names][:MOST_NAMES])
    raise UserError(
        f"{root}: no split {split!r}; expected {split}.parquet, {split}.jsonl, {split}.json, "
        f"{split}.csv, {split}-*.parquet, such files in data/ or {split}/, or what save_to_disk "
        f"writes; there is {there or 'nothing':.200}"
    )


def check_parts(files: Sequence[Path]) -> None:
    """Raise UserError where a split lacks one of its numbered parts, or has one twice.

    An interrupted download leaves some, which would pass for all of the split; one into the folder
    of an older one leaves the rows of both.
    """
    folder, groups = files[0].parent, dict[tuple[str, str], dict[str, str]]()
    totals: dict[tuple[str, str], tuple[str, str]] = {}
    for part in filter(None, (PART.fullmatch(path.name) for path in files)):
        head, number, total, ending = part.groups()
        parts = groups.setdefault((head, ending), {})
        given, name = totals.setdefault((head, ending), (total, part[0]))
        twice = name if given != total else parts.get(number)
        if twice is not None:
            raise UserError(
                f"{folder}: {twice} and {part[0]} are parts of two versions of the split; remove "
                "the files of the older one"
            )
        parts[number] = part[0]
    for (head, ending), parts in groups.items():
        total, name = totals[head, ending]
        numbers = (f"{number:05}" for number in range(int(total)))
        missing = next((number for number in numbers if number not in parts), None)
        if missing is not None:
            raise UserError(
                f"{folder}: {head}{missing}-of-{total}{ending} is missing, while {name} is there; "
                f"fetch all {int(total)} parts of the split"
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
