"""Labelled pictures: how few-shot classification finds them, draws shots, and compares names.

The comparison at the end of the file is the published one.
"""

from __future__ import annotations

import functools
import random
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vrft import answers, launched, paths, records
from vrft.classes import ClassList
from vrft.errors import UserError
from vrft.records import Record
from vrft.records.picture_files import is_picture_file
from vrft.types import Sample

TEXTS = {
    *(".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".log"),
}
"""The endings of notes and annotations beside the pictures of a class: not read, but counted."""

LEFT_BEHIND = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"}
"""What systems leave in folders, in lower case, besides names that begin with a dot."""


@dataclass(frozen=True, slots=True)
class Label:
    """A true class: its name, its spelling in the data, and the list of all classes."""

    name: str
    written: str
    # The list is shared by all samples; without it a sample can be printed.
    classes: ClassList = field(repr=False)


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture with the label that the data gives it."""

    id: str
    images: tuple[Path, ...]
    label: str
    where: str
    """The file, or the file and row, for messages."""
    question: str = ""
    """The row's own question; "" for none."""
    columns: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The row's columns; of a folder's picture its ``label``, as ``datasets`` calls it."""


@dataclass(frozen=True, slots=True)
class LabelledData:
    """The pictures of a split, with the labels of all splits."""

    pictures: Sequence[LabelledPicture]
    labels: Sequence[str]
    undivided: bool = False
    """Whether the data has no splits, so that these are the pictures of all of them."""


def find(
    source: str,
    split: str,
    columns: Mapping[str, str],
    encoding: str = "",
    config: str | None = None,
    allow_outside: bool = False,
) -> LabelledData:
    """Return the pictures of a split: in folders of classes, or else in rows.

    Tried in this order: <split>/<class>/*.jpg, <class>/*.jpg, and the rows of ``source``. With a
    ``config``, which rows alone can have, they are read at once. Raises UserError for a picture
    outside ``source``, unless ``allow_outside``, and for what is no picture in a folder of a class.
    """
    root = paths.expanded(source)
    if config is not None:
        return _read_rows(source, split, columns, encoding, config, allow_outside)
    allowed = None if allow_outside else (root,)
    if _class_folders(root / split):
        _check_no_columns(root, columns)
        # Labels of all splits: a class without test pictures is a possible wrong answer all the
        # same.
        labels = [folder.name for part in _entries(root) for folder in _class_folders(part)]
        return LabelledData(_read_folders(root / split, root, allowed), labels)
    # Beside files of rows, folders are only the places of their pictures.
    has_rows = root.is_dir() and any(path.suffix in records.KINDS for path in root.iterdir())
    if not has_rows and (folders := _class_folders(root)):
        _check_no_columns(root, columns)
        labels = [folder.name for folder in folders]
        pictures = _read_folders(root, root, allowed)
        return LabelledData(pictures, labels, undivided=True)
    return _read_rows(source, split, columns, encoding, config, allow_outside)


def _check_no_columns(root: Path, columns: Mapping[str, str]) -> None:
    """Raise UserError for columns that are named of folders of classes."""
    for name in columns:
        raise UserError(f"{root}: folders of classes have no columns to name; remove "
                        f"data.columns.{name}")  # fmt: skip


def _read_rows(
    source: str,
    split: str,
    columns: Mapping[str, str],
    encoding: str,
    config: str | None,
    allow_outside: bool,
) -> LabelledData:
    """Return the pictures of the rows of a split, and the labels that stand in them."""
    read = records.read(
        source,
        split,
        columns=columns,
        encoding=encoding,
        config=config,
        allow_outside=allow_outside,
    )
    rows = records.read_each(read, _read_row)
    return LabelledData(rows, [picture.label for picture in rows])


def _read_row(record: Record) -> LabelledPicture:
    """Read one row: a picture, its label, and its own question if it has one."""
    written = record.text("label", "answer", "solution")
    # Only `question`: the published `problem` and TRL's `prompt` bring a format of their own.
    question = record.get("question")
    label = answers.last_answer(written) or written
    return LabelledPicture(
        record.id,
        record.images("image", "images"),
        label,
        record.where,
        question if isinstance(question, str) else "",
        record.for_rewards(label),
    )


def _read_folders(
    parent: Path, root: Path, allowed: tuple[Path, ...] | None
) -> list[LabelledPicture]:
    """Return the pictures of all classes; their ids are their paths below the root of the data.

    Raises UserError for a picture beside the folders of classes in ``parent``, for what
    ``_read_class`` refuses, and for a picture that leaves the folders ``allowed``, as a link can,
    unless it is None.
    """
    files: list[tuple[Path, Path]] = []
    texts = 0
    for path in _entries(parent):
        if path.is_dir():
            pictures, beside = _read_class(path)
            files += [(path, picture) for picture in pictures]
            texts += beside
        elif is_picture_file(path):
            raise UserError(f"{path}: a picture of no class; move it into the folder of its class")
    if texts and launched.speaks():
        _say_once(f"note: {texts} files of text beside the pictures of {parent} are not read")
    for _, path in files if allowed is not None else ():
        records.check_inside(path, allowed or (), str(path))
    return [
        LabelledPicture(
            path.relative_to(root).as_posix(),
            (path,),
            folder.name,
            str(path),
            columns={"label": folder.name, "answer": folder.name},
        )
        for folder, path in files
    ]


@functools.cache
def _say_once(note: str) -> None:
    """Print a note on standard error, the first time that it is to be said."""
    print(note, file=sys.stderr)


def _read_class(folder: Path) -> tuple[list[Path], int]:
    """Return the pictures in the folder of a class, sorted, and the number of texts beside them.

    Raises UserError for anything else there, and for a folder without a picture: a class, or a part
    of one, would be missing.
    """
    pictures, texts = [], 0
    for path in _entries(folder):
        if is_picture_file(path):
            pictures.append(path)
        elif path.is_dir():
            raise UserError(f"{path}: a folder within that of a class; move its pictures up")
        elif path.suffix.lower() in TEXTS:
            texts += 1
        else:
            raise UserError(
                f"{path}: no picture of a known ending, in the folder of a class; save it as .png, "
                "or move it away"
            )
    if not pictures:
        raise UserError(f"{folder}: no picture of this class; move the folder away, or fill it")
    return pictures, texts


def _class_folders(folder: Path) -> list[Path]:
    """Return the folders inside a folder that hold pictures, one per class, sorted by name."""
    if not folder.is_dir():
        return []
    return [path for path in _entries(folder) if path.is_dir() and _has_pictures(path)]


def _has_pictures(folder: Path) -> bool:
    """Return whether a folder holds a picture, by the ending of its name."""
    return any(is_picture_file(path) for path in _entries(folder))


def _entries(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted, without what systems leave behind.

    macOS leaves a file "._0.png" beside 0.png on other disks, which is no picture.
    """
    entries = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in entries if path.name.lower() not in LEFT_BEHIND)


def draw_shots(samples: Sequence[Sample[Label]], shots: int, seed: int) -> list[Sample[Label]]:
    """Return ``shots`` samples of each class, or all for 0, drawn by the seed, in their order."""
    if not shots:
        return list(samples)
    ids_of: defaultdict[str, list[str]] = defaultdict(list)
    for sample in samples:
        ids_of[sample.answer.name].append(sample.id)
    # One generator per class: a class more in the data leaves the shots of the others alone.
    drawn = {
        key
        for name, ids in ids_of.items()
        for key in random.Random(f"{seed}/{name}").sample(ids, min(shots, len(ids)))
    }
    return [sample for sample in samples if sample.id in drawn]


def one_line_answer(text: str) -> str | None:
    """Return the first answer block that begins and ends in one line, the published reading."""
    # The published pattern's `.` does not match a line break.
    for line in text.split("\n"):
        answer, closed, _ = line.partition("<answer>")[2].partition("</answer>")
        if closed:
            return answer
    return None


def is_part(answer: str, label: str) -> bool:
    """Return whether one of two texts is a part of the other, once both are squeezed."""
    a, b = squeezed(answer), squeezed(label)
    return a in b or b in a


def squeezed(text: str) -> str:
    """Return the text in lower case without spaces and underscores, as the published rule does."""
    return text.replace(" ", "").replace("_", "").lower()
