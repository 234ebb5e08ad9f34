"""Tabular data: rows of parquet, json and jsonl files and of the hub's data sets, all read alike.

Every task reads rows such as this one, which people can write by hand, one a line of a .jsonl file:

    {"id": "a1", "images": ["pictures/a1.jpg"], "question": "How many?", "answer": 3}

Data sets that name their columns otherwise are read by giving the names:
``data.columns.images=img``. Rows of TRL work as they are (``prompt`` as text or messages,
``images``, ``solution``). Pictures inside the data are written once to the cache, so that however
large the data is, only one row of it is held in memory.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from vrft.errors import UserError
from vrft.images import UNREADABLE

KINDS = (".parquet", ".jsonl", ".json")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
LARGEST = 1e300
NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?")

AS_NAMED: Mapping[str, str] = MappingProxyType({})
"""No column has another name than the task gives it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row; its columns are asked for by the names that tasks use.

    ``where`` names file and row in messages: rows are counted from 0, and lines of a .jsonl file
    from 1, as editors do. ``row`` counts from 0 through all files of the split. Of several names
    the first that the row has a value for counts; UserError where there is none or it is of
    another type.
    """

    values: Mapping[str, Any]
    where: str
    row: int
    folders: tuple[Path, ...] = ()
    """Where relative paths of pictures start; the first folder that has the file counts."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The task's name of a column -> the data's."""

    @property
    def id(self) -> str:
        """The row's own ``id`` or ``idx``, or else its number."""
        found = self.get("id", "idx")
        return str(self.row if found is None else found)

    def get(self, *names: str) -> Any:
        """The value as it stands; None where the row has none."""
        for name in names:
            column = self.columns.get(name, name)
            if name in self.columns and column not in self.values:
                raise self.error(f"no column {column!r}, which data.columns.{name} names")
            if self.values.get(column) is not None:
                return self.values[column]
        return None

    def value(self, *names: str) -> Any:
        """The value as it stands."""
        found = self.get(*names)
        if found is None:
            raise self.error(
                f"no {' or '.join(names)}; there is {', '.join(self.values) or 'nothing'} "
                f"(data.columns.{names[0]}=NAME says which column it is)"
            )
        return found

    def text(self, *names: str) -> str:
        """A text, stripped; a whole number as text; of messages what the user says."""
        found = self.value(*names)
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found)
        text = found if isinstance(found, str) else user_text(found)
        if text is None:
            raise self.error(f"{names[0]} is no text: {found!r:.60}")
        return text.strip()

    def texts(self, *names: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self.value(*names)
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.error(f"{names[0]} is no list of texts: {found!r:.60}")
        return tuple(found)

    def number(self, *names: str) -> float:
        """A finite number, or a text that is one."""
        found = self.value(*names)
        if isinstance(found, str) and NUMBER.fullmatch(found.strip()):
            found = float(found)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise self.error(f"{names[0]} is no number: {found!r:.60}")
        if not abs(found) <= LARGEST:  # nor NaN
            raise self.error(f"{names[0]} is no finite number: {found!r:.60}")
        return float(found)

    def images(self, *names: str) -> tuple[Path, ...]:
        """The files of at least one picture, in order.

        The value is a path, the bytes of a picture file, {"bytes", "path"}, or lists of these.
        """
        found = tuple(self.picture(value) for value in flat(self.value(*names)))
        if not found:
            raise self.error(f"{names[0]} holds no picture")
        return found

    def picture(self, value: Any) -> Path:
        """The file of one picture; bytes become a file of the cache."""
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return cached(value, self.where)
        if not isinstance(value, str):
            raise self.error(f"a picture is a path or the bytes of a file, not {value!r:.60}")
        paths = [folder / value for folder in self.folders] or [Path(value)]
        for path in paths:
            if path.is_file():
                return path
        raise self.error(f"no picture {paths[0]}; correct the path or remove the row")

    def error(self, complaint: str) -> UserError:
        """A mistake in this row."""
        return UserError(f"{self.where}: {complaint}")


def read(
    source: str | Path,
    split: str,
    *,
    columns: Mapping[str, str] = AS_NAMED,
    limit: int | None = None,
) -> Iterator[Record]:
    """The rows of a split, or the first ``limit`` of them, always in the same order.

    ``source`` is one file, which is read whatever the split; a folder with files that name the
    split (train.jsonl, data/train-00000-of-00002.parquet, train/rows.json, SAT_train.parquet); or
    a hub id. With a ``limit`` only so much is fetched from the hub. UserError for no such data,
    or, as the rows are read, for data that cannot be.
    """
    root = Path(source).expanduser()
    if root.exists():
        files = split_files(root, split)
        rows: Iterator[Row] = (row for path in files for row in file_rows(path))
        folders: tuple[Path, ...] = (root,) if root.is_dir() else ()
    elif HUB_ID.fullmatch(str(source)) and root.suffix not in KINDS:
        rows, folders = hub_rows(str(source), split, limit), ()
    else:
        raise UserError(f"no data at {root}; set task.data_dir to a file, a folder or a hub id")
    return (
        Record(checked(values, where), where, row, (*found, *folders), columns)
        for row, (values, where, found) in enumerate(islice(rows, limit))
    )


Row = tuple[Any, str, tuple[Path, ...]]
"""Values, where they stand, and the folder of the file if there is one."""


def split_files(root: Path, split: str) -> list[Path]:
    """The files that hold a split, sorted by name; UserError if there is none.

    Where a split is there in two kinds, as some are published, the first of KINDS counts.
    """
    if root.is_file():
        return [root]
    name = glob.escape(split)
    for kind in KINDS:
        patterns = [f"{name}{kind}", f"{name}[-_]*{kind}", f"*[-_]{name}{kind}"]
        patterns += [f"data/{pattern}" for pattern in patterns] + [f"{name}/*{kind}"]
        for pattern in patterns:
            if found := sorted(root.glob(pattern)):
                return found
    raise UserError(
        f"{root}: no split {split!r}; expected {split}.parquet, {split}.jsonl, {split}.json, "
        f"{split}-*.parquet, or such files in data/ or {split}/"
    )


def file_rows(path: Path) -> Iterator[Row]:
    """The rows of one file; UserError if it is damaged or of another kind."""
    readers = {".parquet": parquet_rows, ".jsonl": line_rows, ".json": json_rows}
    if path.suffix not in readers:
        raise UserError(f"{path}: unknown kind of file; give one of {', '.join(readers)}")
    for values, where in readers[path.suffix](path):
        yield values, f"{path}: {where}", (path.parent,)


def parquet_rows(path: Path) -> Iterator[tuple[Any, str]]:
    import pyarrow.parquet

    try:
        batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=64)
        values = (row for batch in batches for row in batch.to_pylist())
        yield from ((row, f"row {number}") for number, row in enumerate(values))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable parquet ({error}); fetch it again") from error


def line_rows(path: Path) -> Iterator[tuple[Any, str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield loads(line, f"{path}: line {number}"), f"line {number}"


def json_rows(path: Path) -> Iterator[tuple[Any, str]]:
    rows = read_json(path)
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected a list of rows, got {type(rows).__name__}")
    yield from ((row, f"row {number}") for number, row in enumerate(rows))


def read_json(path: Path) -> Any:
    """The content of a JSON file; UserError if it is none."""
    return loads(path.read_bytes(), str(path))


def loads(raw: bytes, where: str) -> Any:
    """JSON in UTF-8 or, as some published files are, in cp1252."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not readable JSON ({error}); mend or remove it") from error


def hub_rows(name: str, split: str, limit: int | None) -> Iterator[Row]:
    """The rows of a data set of the hub, pictures as bytes; streamed where there is a limit."""
    import datasets

    try:
        found = datasets.load_dataset(name, split=split, streaming=limit is not None)
        stream = found if limit is not None else found.to_iterable_dataset()
        for row, values in enumerate(stream.decode(False)):
            yield values, f"{name} {split}: row {row}", ()
    except (OSError, ValueError, ImportError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{name}: no split {split!r} from the hub ({reason:.200}); give local files: set "
            f"task.data_dir to a folder with {split}.parquet, {split}.jsonl or {split}.json"
        ) from error


def checked(values: Any, where: str) -> Mapping[str, Any]:
    """The values of a row; UserError if it is not a row."""
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected an object with named values, got {values!r:.60}")
    return values


def user_text(messages: Any) -> str | None:
    """What the user says in a list of chat messages, pictures left out; None if it is none."""
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        return None
    spoken = [message.get("content") for message in messages if message.get("role") == "user"]
    parts = [part for content in spoken for part in flat(content)]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    said = [text for text in texts if isinstance(text, str)]
    return "\n".join(said) if said else None


def flat(value: Any) -> list[Any]:
    """The items of nested lists in order; any other value is one item, None is none."""
    if isinstance(value, list):
        return [item for part in value for item in flat(part)]
    return [] if value is None else [value]


def cached(content: bytes, where: str) -> Path:
    """The file of the cache that holds a picture, named by its content and written once.

    The cache is $VRFT_CACHE, else ~/.cache/vrft. UserError for bytes that are no picture, and for
    a cache that cannot be written.
    """
    cache = Path(os.environ.get("VRFT_CACHE") or Path.home() / ".cache" / "vrft")
    digest = hashlib.sha256(content).hexdigest()
    path = cache / "pictures" / digest[:2] / digest
    if path.is_file():
        return path
    check_picture(content, where)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)  # whole or not at all, whoever else is writing it
    except OSError as error:
        raise UserError(
            f"{cache}: cannot keep pictures there ({error}); "
            "set VRFT_CACHE to a folder that can be written"
        ) from error
    return path


def check_picture(content: bytes, where: str) -> None:
    """UserError unless the bytes start as a picture does."""
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            Image.open(io.BytesIO(content)).close()
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: a picture that cannot be read; remove the row") from error
