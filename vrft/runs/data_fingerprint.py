"""The fingerprint of a run's training data, by which a resumed run knows that they are the same.

``fingerprint.json`` in the run's folder has a line for each sample in order: its id, a hash of its
question and gold answer, and its pictures. Files are hashed where all of them are small together;
otherwise their sizes and times of change stand for them, as reading them all could take hours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile

from vrft.errors import UserError
from vrft.evaluation.fingerprint import digest, plain
from vrft.images import as_picture, content_hash
from vrft.system import durable
from vrft.types import Sample

NAME = "fingerprint.json"

HASHED_BYTES = 2**28
"""The size of all pictures' files together up to which they are hashed: a second or so."""

THREADS = 8
"""Files that are asked for or hashed at a time: on a network's disk each answer takes a while."""

FILES = 32
"""Files that a thread is given at a time."""

SHOWN = 3
"""Ids that a message names of those that differ."""


@dataclass(frozen=True)
class DataChanges:
    """The differences between the data of a run and today's, and those that cannot be told."""

    differences: tuple[str, ...] = ()
    note: str = ""


def write(run: Path, samples: Sequence[Sample[Any]], prompts: int) -> None:
    """Write the fingerprint of the samples, and how many prompts a step of the run has."""
    body = ",\n".join(map(json.dumps, rows_of(samples)))
    durable.write_text(run / NAME, f'{{"prompts_per_step": {prompts}, "samples": [\n{body}\n]}}\n')


def rows_of(samples: Sequence[Sample[Any]], *, times: bool = True) -> list[list[Any]]:
    """Return a row for each sample: its id, a hash of its text, and what stands for each picture.

    A file is [size, time of change, hash]; without the hash where all are large together, and
    without ``times`` for a comparison with the files of another machine.
    """
    pictures = [list(map(identity, sample.images)) for sample in samples]
    files = list(dict.fromkeys(p for row in pictures for p in row if isinstance(p, Path)))
    states = dict(zip(files, in_threads(file_state, files), strict=True))
    hashes: dict[Path, str] = {}
    if sum(size for size, _ in states.values()) <= HASHED_BYTES:
        hashes = dict(zip(files, in_threads(file_hash, files), strict=True))

    def shown(picture: Path | str) -> Any:
        if not isinstance(picture, Path):
            return picture
        size, changed = states[picture]
        return [size, *([changed] if times else []), *([hashes[picture]] if hashes else [])]

    return [
        [sample.id, text_hash(sample), *map(shown, row)]
        for sample, row in zip(samples, pictures, strict=True)
    ]


def read(run: Path) -> dict[str, Any] | None:
    """Read the fingerprint of a run, None of a run without one; UserError if it is no such file."""
    path = run / NAME
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        # A tree of other types must fail here, where the file can be named.
        rows = {str(row[0]): [str(row[1]), *row[2:]] for row in tree["samples"]}
        return {"prompts_per_step": int(tree["prompts_per_step"]), "samples": rows}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{path}: not the fingerprint of a run's data ({error}); delete it to go on without "
            "comparing the data"
        ) from error


def prompts_per_step(run: Path) -> int | None:
    """Return how many prompts a step of a run has on all devices; None where it is not written."""
    tree = read(run)
    return None if tree is None else int(tree["prompts_per_step"])


def compare(run: Path, samples: Sequence[Sample[Any]]) -> DataChanges:
    """Compare samples with those that a run began with."""
    tree = read(run)
    if tree is None:
        return DataChanges(note=f"{run} has no {NAME}; its data are not compared")
    before: dict[str, list[Any]] = tree["samples"]
    now = {sample.id: sample for sample in samples}
    common = [id for id in before if id in now]
    same, doubtful = picture_changes([(id, now[id], before[id][1:]) for id in common])
    texts = {id: text_hash(now[id]) for id in common}
    said = in_words(
        list(before),
        list(now),
        [id for id in common if texts[id] != before[id][0]],
        [id for id in common if id not in same],
    )
    note = ""
    if doubtful:
        note = (
            f"the pictures of {len(doubtful)} samples ({named(doubtful)}) have been written anew "
            "since the run began, with the same sizes; they are taken for the same"
        )
    return DataChanges(tuple(said), note)


def differences(before: Sequence[Sequence[Any]], now: Sequence[Sequence[Any]]) -> list[str]:
    """Return in words how the rows of two lists of samples differ, both made by ``rows_of``."""
    old, new = ({row[0]: row[1:] for row in rows} for rows in (before, now))
    common = [id for id in old if id in new]
    return in_words(
        list(old),
        list(new),
        [id for id in common if old[id][0] != new[id][0]],
        [id for id in common if old[id][1:] != new[id][1:]],
    )


def in_words(
    before: Sequence[str], now: Sequence[str], texts: Sequence[str], pictures: Sequence[str]
) -> list[str]:
    """Return in words how samples differ, by their ids in order and those that have changed."""
    old, new = set(before), set(now)
    kinds = {
        "removed": [id for id in before if id not in new],
        "added": [id for id in now if id not in old],
        "with another question or answer": texts,
        "with other pictures": pictures,
    }
    said = [f"{len(ids)} {kind}: {named(ids)}" for kind, ids in kinds.items() if ids]
    if [id for id in before if id in new] != [id for id in now if id in old]:
        said.append("in another order")
    return said


def named(ids: Sequence[str]) -> str:
    """Return the first ids, and how many more there are."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(map(repr, ids[:SHOWN])) + more


def text_hash(sample: Sample[Any]) -> str:
    """Return a hash of a sample's question and gold answer."""
    return digest([sample.question, plain(sample.answer)])


# --- pictures


def picture_changes(
    rows: Sequence[tuple[str, Sample[Any], list[Any]]],
) -> tuple[set[str], list[str]]:
    """Return the ids whose pictures may be the same, and those of which only the sizes tell so.

    ``rows`` are (id, sample, its pictures in the fingerprint).
    """
    identities = {id: list(map(identity, sample.images)) for id, sample, _ in rows}
    files = list(
        dict.fromkeys(p for row in identities.values() for p in row if isinstance(p, Path))
    )
    states = dict(zip(files, in_threads(file_state, files), strict=True))
    same, doubtful = set(), []
    for id, _, before in rows:
        verdicts = [
            same_file(old, states[new], new) if isinstance(new, Path) else old == new
            for old, new in zip(before, identities[id], strict=False)
        ]
        if len(before) == len(identities[id]) and False not in verdicts:
            same.add(id)
            doubtful += [id] if None in verdicts else []
    return same, doubtful


def same_file(old: Any, state: list[int], path: Path) -> bool | None:
    """Return whether a file is that of the fingerprint; None where only its size tells so."""
    if not isinstance(old, list) or old[:1] != state[:1]:
        return False
    if old[:2] == state:
        return True
    return old[2] == file_hash(path) if len(old) > 2 else None


def identity(picture: Any) -> Path | str:
    """Return the file of a picture, or a hash of one that is in memory."""
    try:
        source = as_picture(picture)
    except UserError:
        return "no picture"  # it is refused, or skipped, where its prompt is encoded
    if isinstance(source, ImageFile.ImageFile):
        # Opened, but decoded when its pixels are asked for: all at once they would fill the memory.
        file = Path(str(source.filename or ""))
        return file if file.is_file() else f"{source.format} {source.mode} {source.size}"
    if isinstance(source, Image.Image):
        pixels = f"{source.mode}{source.size}".encode() + source.tobytes()
        return hashlib.sha256(pixels).hexdigest()[:16]
    return source if isinstance(source, Path) else hashlib.sha256(source).hexdigest()[:16]


def file_state(path: Path) -> list[int]:
    """Return a file's size in bytes and time of change in ns; -1 for a file that is not there."""
    try:
        state = path.stat()
    except (OSError, ValueError):  # ValueError: a name with a null character
        return [-1, -1]
    return [state.st_size, state.st_mtime_ns]


def file_hash(path: Path) -> str:
    """Return a hash of a file's content; "" for a file that is not there."""
    try:
        return content_hash(path).hex()[:16] if path.is_file() else ""
    except (OSError, UserError):
        return ""


def in_threads(function: Callable[[Path], Any], files: Sequence[Path]) -> list[Any]:
    """Return a function's values of files in order."""
    # Several a task, as handing over a task takes longer than asking for a file nearby.
    parts = [files[first : first + FILES] for first in range(0, len(files), FILES)]
    with ThreadPoolExecutor(THREADS) as pool:
        done = pool.map(lambda part: list(map(function, part)), parts)
        return [value for values in done for value in values]
