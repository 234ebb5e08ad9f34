"""Rows of files: parquet, JSON lines, JSON, CSV and Arrow.

What a file holds decides how it is read, where its name is wrong: JSON lines in a .json file, and
a list in a .jsonl file.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vrft.errors import UserError
from vrft.records import arrow
from vrft.records.texts import (
    LONGEST_LINE,
    check_file,
    decode,
    encoding_of,
    first_character,
    head_text,
    is_western,
    read_lines,
    read_text,
)

COLUMNS = frozenset({"question", "problem", "prompt", "messages", "conversations", "answer"})
"""Names of columns; an object with one of them holds no rows by their ids."""

KINDS = (".parquet", ".jsonl", ".json", ".csv", ".arrow")
OTHERS = {
    ".gz": "unpack it",
    ".zip": "unpack it",
    ".zst": "unpack it",
    ".tsv": "save it as .csv with commas",
    ".xlsx": "save it as .csv in UTF-8",
    ".ndjson": "it holds JSON lines: rename it to .jsonl",
    ".jsonlines": "it holds JSON lines: rename it to .jsonl",
    ".pkl": "it may run code when it is read; save it as .parquet",
    ".pickle": "it may run code when it is read; save it as .parquet",
}
"""Endings of files that are not read -> what to do with them."""

FIRST_LINE = 2**20
"""Bytes that are read to tell JSON lines from an object."""

Numbered = Iterator[tuple[Any, str]]
"""The values of rows, each with its place in the file, such as "row 3"."""


def read(path: Path, encoding: str = "") -> Numbered:
    """Yield the rows of one file; raise UserError if it is damaged or of another kind.

    ``encoding`` is that of texts without a byte order mark; "" for UTF-8.
    """
    readers = {".jsonl": read_json_lines, ".json": read_json_rows, ".csv": read_csv}
    if path.suffix not in KINDS:
        ending = path.suffix.lower()
        rename = f"rename it to {ending}, in small letters"
        remedy = rename if ending in KINDS else OTHERS.get(ending, "save it as one of these")
        raise UserError(f"{path}: unknown kind of file; give one of {', '.join(KINDS)}: {remedy}")
    check_file(path)
    if path.suffix in readers:
        yield from readers[path.suffix](path, encoding)
    else:
        yield from arrow.read_rows(path)


# --- JSON


def read_json(path: Path, encoding: str = "") -> Any:
    """Return the content of a JSON file; raise UserError if it is damaged."""
    return loads(read_text(path, encoding), str(path))


def read_western_json(path: Path, encoding: str = "") -> Any:
    """Return the content of a JSON file, also in a Western code page where that leaves no doubt.

    Some of ReasonSeg's published records are in cp1252.
    """
    check_file(path)
    raw = path.read_bytes()
    if not encoding and is_western(raw):
        encoding = "cp1252"
    return loads(decode(raw, str(path), encoding_of(raw[:4], encoding)), str(path))


def loads(text: str, where: str) -> Any:
    """Return the value of JSON text; raise UserError that names its place if it is damaged.

    An object that gives a key twice is damaged: JSON's readers would drop the first value.
    """
    try:
        return json.loads(text, object_pairs_hook=with_single_keys)
    except (ValueError, RecursionError) as error:  # deep nesting exhausts the parser's stack
        raise UserError(f"{where}: not readable JSON ({error}); mend or remove it") from error
    except MemoryError as error:
        raise UserError(f"{where}: too large for the memory; write a row a line, .jsonl") from error


def with_single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of some keys and values; raise ValueError for a key that comes twice."""
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.60} is given twice")
    return values


def read_json_lines(path: Path, encoding: str = "") -> Numbered:
    """Yield the values of a file with one JSON value a line; empty lines are skipped."""
    if path.suffix == ".jsonl" and first_character(path, encoding) == "[":
        yield from read_json_rows(path, encoding)
        return
    for number, line in read_lines(path, encoding):
        if line.strip():
            yield loads(line, f"{path}: line {number}"), f"line {number}"


def is_json_lines(path: Path, encoding: str = "") -> bool:
    """Return whether a file begins with a line that is a JSON object, with more lines behind it."""
    with path.open("rb") as file:
        # COCO's json of a gigabyte may be a single line, which is not read for this.
        head = file.read(FIRST_LINE)
    line, _, more = head_text(head, encoding).partition("\n")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and bool(more)


def read_json_rows(path: Path, encoding: str = "") -> Numbered:
    """Yield the rows of a JSON file: a list of them, an object with each by its id, or one a line.

    Raises UserError for any other value, and for a row whose own id is not that by which it stands.
    """
    if path.suffix == ".json" and is_json_lines(path, encoding):
        yield from read_json_lines(path, encoding)
        return
    values = read_json(path, encoding)
    if is_by_id(values):
        for name, row in values.items():
            own = row.get("id", name)
            if str(own) != name:
                raise UserError(
                    f"{path}: row {name!r:.60} has the id {own!r:.60}; write the rows as a list"
                )
            yield {"id": name, **row}, f"row {name!r:.60}"
        return
    if not isinstance(values, list):
        raise UserError(f"{path}: expected a list of rows, got {described(values)}")
    yield from ((value, f"row {number}") for number, value in enumerate(values))


def is_by_id(value: Any) -> bool:
    """Return whether an object holds rows by their ids, as GQA and ScienceQA publish theirs.

    Columns by the numbers of rows, as pandas writes them, look alike but for their names.
    """
    if not isinstance(value, dict) or not value or not COLUMNS.isdisjoint(value):
        return False
    rows = [row for row in value.values() if isinstance(row, dict) and row]
    return len(rows) == len(value) and not any(all(map(str.isdecimal, row)) for row in rows)


def described(value: Any) -> str:
    """Return in words what a JSON value is that is no list of rows, and what to do with it."""
    if not isinstance(value, dict):
        return type(value).__name__
    if {"images", "annotations"} <= value.keys():
        return "COCO's json of instances, which the tasks grounding and detection read"
    if "shapes" in value:
        return "labelme's json of one picture; give the folder to grounding or lisa_grounding"
    if len(value) > 1 and all(isinstance(column, dict) for column in value.values()):
        return (
            "dict of columns; write a list of rows, or a row a line, as pandas does by "
            "to_json(orient='records', lines=True)"
        )
    lists = {key: column for key, column in value.items() if isinstance(column, list) and column}
    rows = [key for key, column in lists.items() if isinstance(column[0], dict)]
    if len(rows) == 1:
        return f"dict; its `{rows[0]}` may be the rows: write that list alone"
    if len(lists) == len(value) > 1:
        return "dict of columns; write a list of rows, or a row a line as .jsonl"
    return "dict; one row alone is written as [{...}]"


# --- CSV


def read_csv(path: Path, encoding: str = "") -> Numbered:
    """Yield the rows of a CSV file with commas, all values as texts; None for an empty one."""
    csv.field_size_limit(LONGEST_LINE)
    # The mark that spreadsheets write is part of the encoding's name, so not of the first line.
    texts = (line for _, line in read_lines(path, encoding))
    first = next(texts, "")
    check_separator(first, path)
    told = first.strip() == "sep=,"  # a line for Excel, and none of the table
    # A space before a quotation mark would make it a part of the value.
    lines = texts if told else itertools.chain([first], texts)
    rows = csv.reader(lines, strict=True, skipinitialspace=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        check_header(header, path)
        for row in rows:
            where = f"line {rows.line_num + told}"
            if row and len(row) != len(header):
                raise UserError(
                    f"{path}: {where}: {len(row)} values for {len(header)} columns; put values "
                    "with commas in quotes"
                )
            if row:
                yield {k: v or None for k, v in zip(header, row, strict=True)}, where
    except csv.Error as error:
        alone = "a carriage return alone ends its lines; save it with line feeds"
        reason = alone if "new-line character" in str(error) else error
        where = f"line {rows.line_num + told}"
        raise UserError(f"{path}: {where}: not readable CSV ({reason})") from error


def check_header(header: Sequence[str], path: Path) -> None:
    """Raise UserError unless the first line of a CSV file names columns, each differently."""
    twice = [name for name in header if header.count(name) > 1]
    if not any(header) or twice:
        raise UserError(f"{path}: line 1: expected names of columns, each once, got {header!r:.80}")


def check_separator(first: str, path: Path) -> None:
    """Raise UserError where a CSV file's first line sets columns apart by something else."""
    named = first.strip("\r\n").removeprefix("sep=") if first.startswith("sep=") else ""
    outside = "".join(first.split('"')[::2])  # of quotation marks
    for separator in (";", "\t", "|"):
        if named == separator or (separator in outside and "," not in outside):
            raise UserError(f"{path}: columns set apart by {separator!r}; save it with commas")


# --- folders of save_to_disk


def saved_files(root: Path, split: str) -> list[Path] | None:
    """Return the Arrow files of a split that ``save_to_disk`` wrote; None for other folders.

    A folder of one data set without splits is read whatever the split.
    """
    if os.path.isfile(root / "dataset_dict.json"):
        splits = read_json(root / "dataset_dict.json").get("splits", [])
        if split not in splits:
            raise UserError(f"{root}: no split {split!r}; there is {', '.join(map(str, splits))}")
        root = root / split
    folders = [folder for folder in (root / split, root) if os.path.isfile(folder / "state.json")]
    if not folders:
        return None
    state = read_json(folders[0] / "state.json")
    entries = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(entries, list) or state.get("_indices_data_files"):
        raise UserError(f"{folders[0]}: a form of save_to_disk that is not read; save it again")
    # The name alone: a path in the state could lead anywhere.
    return [folders[0] / Path(str(entry.get("filename"))).name for entry in entries]
