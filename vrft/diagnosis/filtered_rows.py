"""Rows of a run's data that remain by their difficulty, written to a new file of rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from vrft import paths, records
from vrft.annotations import labelled
from vrft.diagnosis import difficulty
from vrft.diagnosis.difficulty import Bounds
from vrft.errors import UserError
from vrft.records import Record
from vrft.records.picture_files import SUFFIXES
from vrft.task import Task

IN_TEXT = "<img>"
"""The mark of a picture's path within a text, which is left as it is."""


def write(task: Task[Any], split: str, run: Path, bounds: Bounds, out: Path) -> str:
    """Write the rows of a split that remain to ``out``, and return how many and why not the others.

    ``task`` is the run's, which reads rows. Rows keep their columns and get their id as one; paths
    of pictures become relative to the new file. Raises UserError for a task that reads no rows, for
    data that are not the run's, and for a file that is there already.
    """
    if not hasattr(task, "columns"):
        raise no_rows(run)
    if out.suffix != ".jsonl":
        raise UserError(f"{out}: give a file OUT.jsonl")
    if out.exists():
        raise UserError(f"{out} exists already; give another file")
    ids = ids_of(task, split, run)
    kept, reasons = difficulty.left_out(ids, difficulty.read(run / difficulty.FILE), bounds)
    remaining = frozenset(kept)
    temporary = out.with_name(f".{out.name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Half a surrogate pair, which UTF-8 cannot hold, is an escape of JSON, as it was given.
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            for place, record in enumerate(rows(task, split)):
                if place in remaining:
                    file.write(text_of(record, ids[place], out) + "\n")
        os.replace(temporary, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"{out}: {len(kept)} of {len(ids)} rows; left out: {counts or 'none'}"


def no_rows(run: Path) -> UserError:
    """Return the error of a run whose data are no rows that could be written again."""
    return UserError(
        f"the task of {run} reads no rows but annotations or a folder of its own form; go on with "
        "the run and algorithm.min_pass_rate or algorithm.max_pass_rate, which let such prompts "
        "rest, or delete the files of those with a low or high pass rate in "
        f"{run / difficulty.FILE}"
    )


def ids_of(task: Task[Any], split: str, run: Path) -> list[str]:
    """Return the id of each row of a split, as the task gives it to the row's sample.

    Raises UserError for data that the task can read and that are no rows.
    """
    samples = task.samples(split)  # first: it says what is wrong with data that no one can read
    try:
        own = [record.id for record in rows(task, split)]
    except UserError as error:
        raise no_rows(run) from error
    as_many = len(samples) == len(own)
    # Rows may lie beside a folder "annotations": a task that reads those has other samples.
    if (hasattr(task, "data_format") or not as_many) and is_annotated(task, split):
        raise no_rows(run)
    # A task that draws among its rows leaves them the ids that they have.
    return [sample.id for sample in samples] if as_many else own


def is_annotated(task: Any, split: str) -> bool:
    """Return whether a task's data are COCO's json, or json beside pictures."""
    name, root = getattr(task, "data_format", None), paths.expanded(source_of(task))
    if name is not None or not os.path.exists(root):  # of the hub there are rows alone
        return name in labelled.TITLES
    return labelled.kind_of(root, split, getattr(task, "encoding", "")) is not None


def rows(task: Any, split: str) -> Iterator[Record]:
    """Return the rows of a split, read by the settings of a task."""
    return records.read(
        source_of(task),
        split,
        columns=task.columns,
        limit=getattr(task, "rows", None),
        encoding=getattr(task, "encoding", ""),
        config=getattr(task, "config", None),
        allow_outside=getattr(task, "allow_outside", False),
    )


def source_of(task: Any) -> str:
    """Return where a task reads its rows: its ``source``, or else the setting ``data_dir``."""
    return getattr(task, "source", None) or str(task.data_dir)


def text_of(record: Record, id: str, out: Path) -> str:
    """Return a row as a line of JSON; UserError for a value that it cannot hold.

    ``id`` is that of its sample, where the row has no column of that name.
    """
    values = {name: moved(record, value, out) for name, value in record.values.items()}
    try:
        # A row without an id of its own has its number, which is another one in the new file.
        return json.dumps({"id": id, **values}, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise record.error(f"a value that JSON cannot hold ({error})") from error


def moved(record: Record, value: Any, out: Path) -> Any:
    """Return a value of a row with paths of pictures as seen from ``out``.

    Pictures inside the data become files of the cache. Raises UserError for paths within a text,
    where ``out`` lies in another folder than the data.
    """
    if isinstance(value, bytes | bytearray | Image.Image) or (
        isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes)
    ):
        return os.path.relpath(record.picture(value), out.parent)
    if isinstance(value, Mapping):
        return {name: moved(record, item, out) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [moved(record, item, out) for item in value]
    if not isinstance(value, str) or not record.folders:
        return value
    if IN_TEXT in value and not os.path.samefile(out.parent, record.folders[0]):
        raise record.error(
            f"paths of pictures stand within a text; write the new file into {record.folders[0]}"
        )
    # A text is taken for the path of a picture by its ending, if the file is there.
    if value.lower().endswith(SUFFIXES) and any(
        os.path.isfile(folder / value) for folder in record.folders
    ):
        return os.path.relpath(record.picture(value), out.parent)
    return value
