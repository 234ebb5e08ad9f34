"""Tabular data: rows of parquet, JSON and JSONL files and of the hub's data sets, all read alike.

Every task reads rows such as this one, which people can write by hand, one a line of a .jsonl file:

    {"id": "a1", "images": ["pictures/a1.jpg"], "question": "How many?", "answer": 3}

Data sets that name their columns otherwise are read by giving the names:
``data.columns.images=img``. Rows of TRL work as they are (``prompt`` as text or messages,
``images``, ``solution``). Pictures inside the data are written once to the cache, so that one row
at a time is held in memory, however large the data set.
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

from vrft import paths
from vrft.errors import UserError
from vrft.images import UNREADABLE

# pyarrow and datasets are imported inside functions: they take seconds, and few commands need them.

KINDS = (".parquet", ".jsonl", ".json")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
LARGEST = 1e300
NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?")

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

    @property
    def id(self) -> str:
        """Return the row's own ``id`` or ``idx``, or else its number."""
        own = self.get("id", "idx")
        return str(self.row if own is None else own)

    def get(self, *names: str) -> Any:
        """Return the value as it stands; None where the row has none."""
        for name in names:
            column = self.columns.get(name, name)
            # A column that the user names must exist: falling back to another would hide a typo.
            if name in self.columns and column not in self.values:
                raise self.error(f"no column {column!r}, which data.columns.{name} names")
            if self.values.get(column) is not None:
                return self.values[column]
        return None

    def value(self, *names: str) -> Any:
        """Return the value as it stands; raise UserError where the row has none."""
        value = self.get(*names)
        if value is None:
            raise self.error(
                f"no {' or '.join(names)}; there is {', '.join(self.values) or 'nothing'} "
                f"(data.columns.{names[0]}=NAME says which column it is)"
            )
        return value

    def text(self, *names: str) -> str:
        """Return a text, stripped; a whole number and a user's chat messages have a text too."""
        value = self.value(*names)
        if isinstance(value, int) and not isinstance(value, bool):  # True is an int in Python
            return str(value)
        text = value if isinstance(value, str) else user_text(value)
        if text is None:
            raise self.error(f"{names[0]} is no text: {value!r:.60}")
        return text.strip()

    def texts(self, *names: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.value(*names)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(f"{names[0]} is no list of texts: {value!r:.60}")
        return tuple(value)

    def number(self, *names: str) -> float:
        """Return a finite number, given as such or as a text."""
        value = self.value(*names)
        # The pattern is narrower than float(), which also reads "nan", "1_000" and Arabic digits.
        if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"{names[0]} is no number: {value!r:.60}")
        if not abs(value) <= LARGEST:  # in this order NaN is refused as well
            raise self.error(f"{names[0]} is no finite number: {value!r:.60}")
        return float(value)

    def images(self, *names: str) -> tuple[Path, ...]:
        """Return the files of the pictures, at least one, in order.

        The value is a path, the bytes of a picture file, {"bytes", "path"}, or lists of these.
        """
        files = tuple(self.picture(value) for value in flattened(self.value(*names)))
        if not files:
            raise self.error(f"{names[0]} holds no picture")
        return files

    def picture(self, value: Any) -> Path:
        """Return the file of one picture; bytes become a file of the cache."""
        if isinstance(value, Mapping):  # the hub's form; its path is the uploader's, often gone
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return cached_picture(value, self.where)
        if not isinstance(value, str):
            raise self.error(f"a picture is a path or the bytes of a file, not {value!r:.60}")
        candidates = [folder / value for folder in self.folders] or [Path(value)]
        for path in candidates:
            if path.is_file():
                return path
        raise self.error(f"no picture {candidates[0]}; correct the path or remove the row")

    def plain(self) -> dict[str, Any]:
        """Return the columns by the data's own names, without those that hold bytes of pictures."""
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
) -> Iterator[Record]:
    """Yield the rows of a split, or the first ``limit`` of them, always in the same order.

    ``source`` is one file, which is read whatever the split; a folder with files that name the
    split (train.jsonl, data/train-00000-of-00002.parquet, train/rows.json, SAT_train.parquet); or
    a hub id, of which no more than ``limit`` rows are fetched. Raises UserError at once where there
    is no such data, and while the rows are read for data that is damaged.
    """
    # No generator function itself, so that missing data is an error before the first row is asked.
    root = Path(source).expanduser()
    if root.exists():
        files = split_files(root, split)
        rows: Iterator[Row] = (row for path in files for row in file_rows(path))
        folders: tuple[Path, ...] = (root,) if root.is_dir() else ()
    elif HUB_ID.fullmatch(str(source)) and root.suffix not in KINDS:  # "data/train.json" is a typo
        rows, folders = hub_rows(str(source), split, limit), ()
    else:
        raise UserError(f"no data at {root}; set task.data_dir to a file, a folder or a hub id")
    return (
        Record(values, where, number, (*own_folder, *folders), columns)
        for number, (values, where, own_folder) in enumerate(islice(rows, limit))
    )


Row = tuple[Mapping[str, Any], str, tuple[Path, ...]]
"""The values of a row, where they stand, and the folder of their file if there is one."""


def split_files(root: Path, split: str) -> list[Path]:
    """Return the files that hold a split, sorted by name; raise UserError if there is none.

    Where a split exists in two kinds, as some are published, the first of KINDS counts.
    """
    if root.is_file():
        return [root]
    name = glob.escape(split)
    for kind in KINDS:
        # In this order: "train.jsonl" is meant even if "train_small.jsonl" lies beside it.
        patterns = [f"{name}{kind}", f"{name}[-_]*{kind}", f"*[-_]{name}{kind}"]
        patterns += [f"data/{pattern}" for pattern in patterns] + [f"{name}/*{kind}"]
        for pattern in patterns:
            if files := sorted(root.glob(pattern)):
                return files
    raise UserError(
        f"{root}: no split {split!r}; expected {split}.parquet, {split}.jsonl, {split}.json, "
        f"{split}-*.parquet, or such files in data/ or {split}/"
    )


def file_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of one file; raise UserError if it is damaged or of another kind."""
    readers = {".parquet": parquet_rows, ".jsonl": jsonl_rows, ".json": json_rows}
    if path.suffix not in readers:
        raise UserError(f"{path}: unknown kind of file; give one of {', '.join(readers)}")
    for values, row in readers[path.suffix](path):
        where = f"{path}: {row}"
        if not isinstance(values, dict):
            raise UserError(f"{where}: expected an object with named values, got {values!r:.60}")
        yield values, where, (path.parent,)


def parquet_rows(path: Path) -> Iterator[tuple[Any, str]]:
    """Yield the rows of a parquet file with their numbers, 64 rows in memory at a time."""
    import pyarrow.parquet

    try:
        batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=64)
        rows = (row for batch in batches for row in batch.to_pylist())
        yield from ((row, f"row {number}") for number, row in enumerate(rows))
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise UserError(f"{path}: not readable parquet ({error}); fetch it again") from error


def jsonl_rows(path: Path) -> Iterator[tuple[Any, str]]:
    """Yield the values of a file with one JSON value a line; empty lines are skipped."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield loads(line, f"{path}: line {number}"), f"line {number}"


def json_rows(path: Path) -> Iterator[tuple[Any, str]]:
    """Yield the values of a JSON file that is one list."""
    values = read_json(path)
    if not isinstance(values, list):
        raise UserError(f"{path}: expected a list of rows, got {type(values).__name__}")
    yield from ((value, f"row {number}") for number, value in enumerate(values))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; raise UserError if it is damaged."""
    return loads(path.read_bytes(), str(path))


def loads(raw: bytes, where: str) -> Any:
    """Return the value of JSON in UTF-8 or, as in some records of ReasonSeg, in cp1252."""
    try:
        text = raw.decode("utf-8-sig")  # without the byte order mark that Windows writes
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # deep nesting exhausts the parser's stack
        raise UserError(f"{where}: not readable JSON ({error}); mend or remove it") from error


def hub_rows(name: str, split: str, limit: int | None) -> Iterator[Row]:
    """Yield the rows of a data set of the hub with pictures as bytes; streamed under a limit."""
    import datasets

    try:
        # Without a limit all files are fetched once, to be read from the hub's own cache later.
        fetched = datasets.load_dataset(name, split=split, streaming=limit is not None)
        stream = fetched if limit is not None else fetched.to_iterable_dataset()
        # decode(False): a damaged picture would end the iteration, and decoding all is slow.
        for row, values in enumerate(stream.decode(False)):
            yield values, f"{name} {split}: row {row}", ()
    except (OSError, ValueError, ImportError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())  # on one line
        raise UserError(
            f"{name}: no split {split!r} from the hub ({reason:.200}); give local files: set "
            f"task.data_dir to a folder with {split}.parquet, {split}.jsonl or {split}.json"
        ) from error


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


def flattened(value: Any) -> list[Any]:
    """Return the items of nested lists in order; any other value is one item, None is no item."""
    if isinstance(value, list):
        return [item for part in value for item in flattened(part)]
    return [] if value is None else [value]


def holds_bytes(value: Any) -> bool:
    """Tell whether a value is bytes, or a list or mapping with bytes somewhere inside."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(holds_bytes, value))
    return isinstance(value, bytes)


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
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            Image.open(io.BytesIO(content)).close()
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
