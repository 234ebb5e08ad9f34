"""Rows in memory as data that a command can name: files of the cache, with files for pictures."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vrft import paths
from vrft.errors import UserError

SMALLEST = 28
"""Sides from which an array in any column is taken for a picture: a model sees no smaller one."""

Rows = Iterable[Mapping[str, Any]]

Data = str | os.PathLike[str] | Rows | Mapping[str, Rows]
"""A path or hub id; or rows, as a list or a ``datasets.Dataset``, or these by split."""


def data_source(data: Data, columns: Mapping[str, str]) -> str:
    """Return data as a command line names them: a path or a hub id.

    Rows in memory become a file of the cache, named by its content, so that a run that was trained
    on them can be resumed and its model evaluated; splits become a folder. ``columns`` are the
    setting ``task.columns``. Raises UserError that names the row that is not understood.
    """
    if isinstance(data, str | os.PathLike):
        return os.fspath(data)
    named = ("images", "image", columns.get("images"), columns.get("image"))
    pictures = {name for name in named if name is not None}
    if not isinstance(data, Mapping):
        lines = "".join(json_lines(data, "row", pictures))
        if not lines:
            raise UserError("data: no rows; give at least one")
        return str(stored(lines))
    check_splits(data)
    texts = {
        f"{split}.jsonl": "".join(json_lines(rows, f"{split}, row", pictures))
        for split, rows in data.items()
    }
    return str(stored(texts))


def check_splits(data: Mapping[str, Any]) -> None:
    """Raise UserError for a mapping that is a row or columns, and not rows by split."""
    from vrft.rewards.values import described

    for split, rows in data.items():
        first: Any = next(iter(rows), {}) if isinstance(rows, list | tuple) else {}
        single = isinstance(rows, str | bytes) or not isinstance(rows, Iterable)
        if single or not isinstance(first, Mapping) or not re.fullmatch(r"\w[\w.-]*", str(split)):
            raise UserError(
                f"data: a mapping holds rows by split, but {split!r} is {described(rows)}; write "
                "[row] for a single row, datasets.Dataset.from_dict(columns) for columns"
            )


def json_lines(rows: Any, where: str, pictures: Collection[str]) -> Iterator[str]:
    """Yield rows as lines of JSON, with paths of files for the pictures in them.

    ``pictures`` are the columns in which texts are paths of pictures; in those of the same names
    with other numbers, as image_2 beside image_1, they may be. Raises UserError that names row and
    column for anything but mappings of values that JSON can hold.
    """
    from vrft.formats.row_pictures import is_numbered, is_picture
    from vrft.records import Record, class_names
    from vrft.rewards.values import described, to_json

    stems = {name.rstrip("0123456789").rstrip("_") for name in pictures}
    classes: Mapping[str, Any] = {}
    if hasattr(rows, "with_format") and hasattr(rows, "features"):  # of the package datasets
        rows = unformatted(rows)
        classes = class_names.with_classes(rows.features.to_dict() if rows.features else {})
    if hasattr(rows, "iterrows") and hasattr(rows, "to_dict"):  # of pandas
        # A gap is null, as in the files that pandas writes.
        rows = rows.astype(object).where(rows.notna(), None).to_dict("records")
    if not isinstance(rows, Iterable):
        raise UserError(f"data: expected a path, a hub id or rows, got {described(rows)}")
    for number, row in enumerate(rows):
        place = f"{where} {number}"
        if not isinstance(row, Mapping):
            raise UserError(f"{place}: expected an object with named values, got {described(row)}")
        record = Record({}, place, number)
        plain = {}
        for name, value in class_names.name_classes(row, classes).items():
            numbered = any(is_numbered(name, stem) for stem in stems) and (
                is_picture(value) or getattr(value, "ndim", 0) > 1
            )
            try:
                plain[name] = to_json(with_files(value, name in pictures or numbered, record))
            except TypeError as error:
                raise UserError(
                    f"{place}: {name} holds {error}, which JSON cannot hold; write it as a text, "
                    "or leave the column out"
                ) from None
        yield json.dumps(plain) + "\n"


def unformatted(dataset: Any) -> Any:
    """Return the rows of a ``datasets`` dataset with plain values, in the columns that it shows.

    Raises UserError for a transform, which may be another at each look: rows are read once.
    """
    if hasattr(dataset, "select"):  # not streamed
        form = dataset.format
        if form["type"] == "custom":
            raise UserError(
                "data: a dataset's transform would be left out, as rows are read once; apply it by "
                "dataset.map, or take it off by dataset.with_format(None)"
            )
        dataset = dataset.with_format(None)
        if not form["output_all_columns"]:
            dataset = dataset.select_columns(form["columns"])
        dataset = dataset.to_iterable_dataset()
    # Not decoded: pictures stay the files that they were. A stream that was mapped tells no types,
    # and its rows hold decoded pictures.
    dataset = dataset.with_format(None)
    return dataset.decode(False) if dataset.features else dataset


def with_files(value: Any, picture: bool, record: Any) -> Any:
    """Return a value of a row with absolute paths for the pictures in it.

    ``picture`` says that texts in it are pictures too; those in parts of messages always are.
    Raises UserError for a picture that is not there.
    """
    from PIL import Image

    from vrft.records import listed

    if getattr(getattr(value, "dtype", None), "kind", "") == "O":  # a list, as pandas reads it
        value = value.tolist()
    value = pixels(value)
    value = listed(value) if picture else value
    if isinstance(value, list | tuple):
        return [with_files(item, picture, record) for item in value]
    if isinstance(value, Mapping) and not picture:
        # {"type": "image", "image": ...} or {"type": "image_url", "image_url": {"url": ...}}
        part = value.get("type") in ("image", "image_url")
        inside = ("image", "path", "url", "image_url") if part else ()
        return {key: with_files(item, key in inside, record) for key, item in value.items()}
    binary = isinstance(value, bytes | bytearray | memoryview | Image.Image | os.PathLike)
    if value is None or not (picture or binary or is_pixels(value)):
        return value
    return os.path.abspath(record.picture(value))


def pixels(value: Any) -> Any:
    """Return the pixels of a picture in lists, as ``datasets`` keeps an array, as an array of them.

    It is of uint8 where all are whole numbers of a byte. Any other value is returned as it is.
    """
    numbers: Any = value
    sizes: list[int] = []
    while isinstance(numbers, list) and numbers and len(sizes) < 4:
        sizes.append(len(numbers))
        numbers = numbers[0]
    if not is_size(sizes) or isinstance(numbers, bool) or not isinstance(numbers, int | float):
        return value
    import numpy as np

    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return value
    whole = array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255
    return array.astype(np.uint8) if whole else array


def is_pixels(value: Any) -> bool:
    """Return whether a value is an array with the pixels of a picture, right for one or not."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return kind in ("i", "u", "f") and is_size(getattr(value, "shape", ()))


def is_size(sizes: Sequence[int]) -> bool:
    """Return whether an array of these sizes may be a picture, its channels last or first."""
    if len(sizes) != 3:
        return False
    last, first = (sizes[2], *sizes[:2]), (sizes[0], *sizes[1:])
    return any(n in (1, 3, 4) and min(sides) >= SMALLEST for n, *sides in (last, first))


def stored(content: str | Mapping[str, str]) -> Path:
    """Return the .jsonl file of the cache with a content, or the folder of contents by file name.

    The name is made of the content. Raises UserError where the cache cannot be written.
    """
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    place = paths.rows()
    texts = {f"{digest}.jsonl": content} if isinstance(content, str) else content
    folder = place if isinstance(content, str) else place / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            # Under its own name only when complete: several processes may write the same rows.
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, delete=False) as f:
                f.write(text)
            os.replace(f.name, folder / name)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); set VRFT_CACHE to another folder"
        ) from error
    return folder / f"{digest}.jsonl" if isinstance(content, str) else folder
