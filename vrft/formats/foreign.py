"""Data in another format: ``vrft data convert``.

Each format has a writer, which makes the file, or the folder, in which its rows are published. It
refuses a row that the format cannot hold, and what no other format has a place for is named.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.annotations import labelled
from vrft.annotations.frames import PIXELS, Frame, Shape
from vrft.boxes import Box
from vrft.errors import UserError
from vrft.formats import foreign_rows
from vrft.formats.foreign_rows import Written
from vrft.formats.recognition import FormatName, Reading
from vrft.images import read_header
from vrft.records.data_folder import is_inside
from vrft.records.picture_files import SUFFIXES, is_picture_file
from vrft.system import disk_errors


def convert(reading: Reading, frame: Frame, name: FormatName, out: Path) -> int:
    """Write rows in another format to a file, or to a folder where it is one; return their number.

    ``frame`` says how the boxes of the rows are written. Raises UserError for a file that is there
    already or of another kind, and for a row that the format cannot hold.
    """
    if out.exists():
        raise UserError(f"{out} exists already; give another --out")
    boxes = name in labelled.TITLES or (reading.geometric and bool(reading.rows))
    rows = [foreign_rows.prepared(row, frame, boxes) for row in reading.rows]
    writer, suffix = WRITERS[name]
    if out.suffix != suffix:
        expected = f"a file {out.stem}{suffix}" if suffix else "a folder, without a suffix"
        raise UserError(f"{out}: {name} is {expected}")
    partial = out.with_name(f".{out.name}")  # beside it, as pictures are named from there
    try:
        with disk_errors.explained(out, then="and convert again"):
            out.parent.mkdir(parents=True, exist_ok=True)
            remove(partial)
            writer(rows, partial)
            os.replace(partial, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error})") from error
    finally:
        remove(partial)
    return len(rows)


def remove(path: Path) -> None:
    """Delete what is left of a file or folder that was not written to its end."""
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def names_outside(reading: Reading, name: FormatName, out: Path) -> bool:
    """Return whether a written file names pictures outside its folder.

    ``data.allow_outside`` must let it do so where it is read.
    """
    if name in HOLDING:
        return False
    files = (file for row in reading.rows for file in row.files())
    return not all(is_inside(file, (out.parent,)) for file in files)


def write_jsonl(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write a row a line."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    write_text(out, "".join(lines))


def write_text(out: Path, text: str) -> None:
    """Write JSON to a file; half a surrogate pair, as ids may have, as the escape that it was."""
    out.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_parquet(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write rows to a parquet file, with null where a row lacks a column of another.

    Raises UserError for half a surrogate pair, which a column of texts cannot hold.
    """
    import pyarrow
    import pyarrow.parquet

    # from_pylist takes the columns from the first row alone.
    names = dict.fromkeys(name for row in rows for name in row)
    filled = [{name: row.get(name) for name in names} for row in rows]
    try:
        table = pyarrow.Table.from_pylist(filled)
    except UnicodeEncodeError as error:
        raise UserError(
            f"{error.object!r:.60} has half a character, which parquet cannot hold; correct the "
            "row, or choose a format of JSON"
        ) from error
    pyarrow.parquet.write_table(table, out)


def write_coco(rows: Sequence[Written], out: Path) -> None:
    """Write COCO's json: the question is the category of the boxes."""
    numbers: dict[Path, int] = {}
    categories: dict[str, int] = {}
    images: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    frame = Frame("pixels", "xywh")
    for written in rows:
        row, (file,) = written.plain("coco").row, written.files
        if file not in numbers:
            numbers[file] = len(numbers) + 1
            name, (width, height) = foreign_rows.paths(written, out)[0], written.size
            images.append(
                {"id": numbers[file], "file_name": name, "width": width, "height": height}
            )
        category = categories.setdefault(row.question, len(categories) + 1)
        for shape in written.shapes:
            if not isinstance(shape, Box):
                raise row.record.error("coco has boxes alone; the answer is a point")
            box = frame.numbers(shape, written.size)
            entry = {"id": len(entries) + 1, "image_id": numbers[file], "category_id": category}
            entries.append(entry | {"bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    named = [{"id": number, "name": name} for name, number in categories.items()]
    tree = {"images": images, "annotations": entries, "categories": named}
    write_text(out, json.dumps(tree, ensure_ascii=False))


def write_labels(rows: Sequence[Written], out: Path, instruct: bool) -> None:
    """Write a folder of pictures with labelme's json beside each, or with ReasonSeg's.

    For labelme the question is the label of the shapes; ReasonSeg has one question a picture here,
    and one box.
    """
    by_file: dict[Path, list[Written]] = {}
    for written in rows:
        (file,) = written.plain("labelme").files
        by_file.setdefault(file, []).append(written)
        if instruct and len(by_file[file]) + len(written.shapes) > 2:
            raise written.row.record.error("reasonseg has one question and one box a picture")
    out.mkdir()
    for number, (file, entries) in enumerate(by_file.items()):
        picture = f"{number:06d}{suffix_of(file)}"
        shapes = [
            shape_entry("target" if instruct else written.row.question, shape, written.size)
            for written in entries
            for shape in written.shapes
        ]
        asked = {"text": [entries[0].row.question], "is_sentence": False} if instruct else {}
        width, height = entries[0].size
        tree = asked | {"shapes": shapes, "imagePath": picture, "imageData": None}
        tree |= {"imageHeight": height, "imageWidth": width}
        (out / picture).write_bytes(file.read_bytes())
        write_text((out / picture).with_suffix(".json"), json.dumps(tree, ensure_ascii=False))


def shape_entry(label: str, shape: Shape, size: tuple[int, int]) -> dict[str, Any]:
    """Return a box or point as a shape of labelme."""
    numbers = PIXELS.numbers(shape, size)
    points = [numbers[:2], numbers[2:]] if len(numbers) == 4 else [numbers]
    kind = "rectangle" if len(numbers) == 4 else "point"
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


def suffix_of(file: Path) -> str:
    """Return the suffix of a picture's kind, which files of the cache do not have."""
    if is_picture_file(file):
        return file.suffix
    with read_header(file) as image:
        # MPO is a phone's JPEG with a second picture behind the first.
        kind = "JPEG" if image.format == "MPO" else image.format
    kinds = Image.registered_extensions()
    return next(suffix for suffix in SUFFIXES if kinds.get(suffix) == kind)


Writer = Callable[[Sequence[Written], Path], None]


def lines(row: Callable[[Written, Path], dict[str, Any]]) -> tuple[Writer, str]:
    """Return the writer of a format of which each row is a line of JSON."""
    return lambda rows, out: write_jsonl([row(written, out) for written in rows], out), ".jsonl"


def columns(row: Callable[[Written, Path], dict[str, Any]]) -> tuple[Writer, str]:
    """Return the writer of a format whose rows are kept in parquet."""
    return lambda rows, out: write_parquet([row(written, out) for written in rows], out), ".parquet"


WRITERS: Mapping[FormatName, tuple[Writer, str]] = {
    "canonical": lines(foreign_rows.canonical),
    "trl": lines(foreign_rows.trl),
    "llava": lines(lambda written, out: foreign_rows.conversation(written, out, "llava")),
    "vlm-r1": lines(lambda written, out: foreign_rows.conversation(written, out, "vlm-r1")),
    "sharegpt": lines(lambda written, out: foreign_rows.conversation(written, out, "sharegpt")),
    "swift": lines(foreign_rows.swift),
    "openai": lines(foreign_rows.openai),
    "verl": columns(foreign_rows.verl),
    "easyr1": columns(foreign_rows.easyr1),
    "r1v": lines(foreign_rows.r1v),
    "coco": (write_coco, ".json"),
    "labelme": (lambda rows, out: write_labels(rows, out, instruct=False), ""),
    "reasonseg": (lambda rows, out: write_labels(rows, out, instruct=True), ""),
}
"""Format -> its writer, and the suffix of its file, "" for a folder."""

HOLDING: frozenset[FormatName] = frozenset({"openai", "verl", "easyr1", "labelme", "reasonseg"})
"""Formats that hold pictures themselves, or have them in their own folder; others name files."""
