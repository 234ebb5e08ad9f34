"""The fingerprint of an evaluation: hashes of all that its answers and scores come from.

Settings name data and tasks; the fingerprint tells whether they are still what they were. It covers
the samples (ids and questions; gold answers and subsets), the prompts, the pictures by their
content, and the source of the task.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from vrft import paths
from vrft.errors import PictureError
from vrft.images import content_hash
from vrft.task import Task
from vrft.types import Prompt, Sample

CHANGED = {
    "questions": "the ids or questions of the data have",
    "answers": "the gold answers or subsets of the data have",
    "prompts": "the prompts have",
    "pictures": "the pictures have",
    "code": "the code of the task has",
}
"""Part of the fingerprint -> the beginning of a sentence that says that it has changed."""

RECENT_NS = 2_000_000_000
"""The age in ns from which a file's time of change tells all later changes apart: clocks of file
systems are coarse, and a file may change twice within one of their ticks."""

SCALARS = frozenset((bool, int, float, str))
"""The types whose values are taken as they are."""

THREADS = 8
"""Files that are read and hashed at a time; both leave the interpreter's lock alone."""


def of_samples(samples: Sequence[Sample[Any]]) -> dict[str, str]:
    """Return the hashes of the samples alone: their questions, and their gold answers."""
    return {
        "questions": digest([[sample.id, sample.question] for sample in samples]),
        "answers": digest([[sample.subset, plain(sample.answer)] for sample in samples]),
    }


def of_evaluation(
    task: Task[Any], samples: Sequence[Sample[Any]], prompts: Mapping[str, Prompt]
) -> dict[str, str]:
    """Return the hashes of all parts; ``prompts`` are by sample id.

    Every picture is read, but not decoded. Raises PictureError for one that is not there.
    """
    asked = [prompts[sample.id] for sample in samples]
    names = [field.name for field in dataclasses.fields(Prompt) if field.name != "images"]
    texts = [[plain(getattr(prompt, name)) for name in names] for prompt in asked]
    return {
        **of_samples(samples),
        "prompts": digest(texts),
        "pictures": digest(picture_hashes([i for prompt in asked for i in prompt.images])),
        "code": code_hash(type(task)),
    }


def digest(tree: Any) -> str:
    """Return a hash of lists, texts and numbers, 16 hexadecimal digits."""
    text = json.dumps(tree, ensure_ascii=True)  # ASCII holds half surrogates too, as escapes
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """Return a value as lists, texts and numbers, which are the same in every process."""
    kind = type(value)
    if value is None or kind in SCALARS:
        return value
    if kind is list or kind is tuple:  # polygons hold most of all values: not a call for each
        return [item if type(item) in SCALARS else plain(item) for item in value]
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return [type(value).__name__, value.name]
    if hasattr(value, "tolist"):  # arrays and numbers of NumPy
        return plain(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value)]
        return [type(value).__name__, *(plain(getattr(value, name)) for name in fields)]
    if isinstance(value, Mapping):
        return sorted(([plain(key), plain(item)] for key, item in value.items()), key=json.dumps)
    if isinstance(value, set | frozenset):
        # The order of a set differs from process to process.
        return sorted(map(plain, value), key=json.dumps)
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    if hasattr(value, "__dict__") and not callable(value):
        return [type(value).__name__, plain(vars(value))]
    # Not repr(): that of many objects holds their address.
    return getattr(value, "__qualname__", type(value).__name__)


# --- the source of a task


def code_hash(cls: type) -> str:
    """Return a hash of the module that defines a task and of its imports from the same folder.

    "" for a task without a source, such as one typed into an interpreter.
    """
    module = sys.modules.get(cls.__module__)
    files = source_files(module, {}) if module else {}
    if files:
        return digest([[name, path.read_text(encoding="utf-8")] for name, path in files.items()])
    try:
        return digest(inspect.getsource(cls))  # a cell of a notebook has no file
    except (OSError, TypeError):
        return ""


def source_files(module: ModuleType, files: dict[str, Path]) -> dict[str, Path]:
    """Return name -> file of a module and of what it imports from its own folder, ``files`` added.

    These are its readers and helpers; the toolkit's own modules are covered by its version.
    """
    if not getattr(module, "__file__", None) or module.__name__ in files:
        return files
    path = Path(str(module.__file__))
    if path.suffix != ".py" or not path.is_file():
        return files
    files[module.__name__] = path
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
        other = sys.modules.get(name) if isinstance(name, str) else None
        if other is not None and Path(str(getattr(other, "__file__", ""))).parent == path.parent:
            source_files(other, files)
    return files


# --- pictures


def picture_hashes(pictures: Sequence[Any]) -> list[str]:
    """Return the content hash of every picture in order.

    Hashes of files are remembered in the cache folder, as long as neither size, time of change nor
    place on the disk differ. Raises PictureError for a file that is not there.
    """
    # By path: many questions may be about one picture.
    files = list({str(picture): picture for picture in pictures if isinstance(picture, Path)})
    file = paths.cache() / "picture-hashes" / f"{digest([os.path.abspath(f) for f in files])}.json"
    known = read_cache(file)
    with ThreadPoolExecutor(THREADS) as pool:
        rows = dict(pool.map(lambda name: (name, file_row(name, known.get(name))), files))
    if rows != known:
        write_cache(file, rows)
    return [
        rows[str(picture)][-1] if isinstance(picture, Path) else content_hash(picture).hex()
        for picture in pictures
    ]


def file_row(name: str, known: list[Any] | None) -> list[Any]:
    """Return the identity of a picture's file, then its content hash, read only if needed.

    ``known`` is an earlier row of the file. A file that changed a moment ago has no identity.
    """
    path = Path(name)
    if not path.is_file():  # a pipe would be waited for
        raise PictureError(f"{path}: no such picture")
    stat = path.stat()
    # The time of the last change of contents or name (ctime), unlike that of the last writing
    # (mtime), cannot be set by a program that copies or unpacks files.
    settled = os.name == "posix" and time.time_ns() - stat.st_ctime_ns > RECENT_NS
    identity = [stat.st_size, stat.st_ctime_ns, stat.st_ino] if settled else [0, 0, 0]
    if settled and isinstance(known, list) and known[:-1] == identity:
        return known
    return [*identity, content_hash(path).hex()]


def read_cache(file: Path) -> dict[str, list[Any]]:
    """Return the rows of a cache file by the picture's path; none where it cannot be read."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return rows if isinstance(rows, dict) else {}


def write_cache(file: Path, rows: Mapping[str, Sequence[Any]]) -> None:
    """Write the rows of a cache file; without a cache folder every picture is read each time."""
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(rows), encoding="utf-8")
        partial.replace(file)  # another process sees the old rows or the new ones
    except OSError:
        return
