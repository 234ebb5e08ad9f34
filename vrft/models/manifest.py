"""The manifest of a saved folder: the size and SHA-256 of each of its files.

``manifest.json`` is the last file that is written into a checkpoint, or into ``final``. A folder
whose files differ from it was cut off, edited or damaged since. Other files beside those that it
lists belong to the user, and are left alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vrft.errors import UserError
from vrft.system import durable

NAME = "manifest.json"

THREADS = 4
"""Files that are hashed at a time: one thread reads slower than a disk gives."""

BLOCK = 2**20
"""Bytes that are read at once."""


def write(folder: Path) -> None:
    """Sync all files of a folder, hash them as they are read back, and write its manifest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    with ThreadPoolExecutor(THREADS) as pool:
        states = list(pool.map(synced_state, paths))
    rows = {
        path.relative_to(folder).as_posix(): {"size": size, "sha256": digest}
        for path, (size, digest) in zip(paths, states, strict=True)
    }
    durable.write_text(folder / NAME, json.dumps({"files": rows}, indent=1) + "\n")
    durable.sync_folders(folder)


def synced_state(path: Path) -> tuple[int, str]:
    """Return the size and SHA-256 of a file once its bytes are on the disk."""
    durable.sync(path)
    return path.stat().st_size, sha256(path)


def is_in(folder: Path) -> bool:
    """Return whether a folder has a manifest; one that an earlier version has saved has none."""
    return (folder / NAME).is_file()


def damage(
    folder: Path, *, hashed: bool = True, listed: Callable[[str], bool] = lambda name: True
) -> str | None:
    """Return what is wrong with a folder by its manifest, None where nothing is or it has none.

    Sizes are compared first, and hashes where ``hashed``; ``listed`` says which names matter.
    """
    if not is_in(folder):
        return None
    try:
        files = json.loads((folder / NAME).read_text(encoding="utf-8"))["files"]
        rows = [(name, int(row["size"]), str(row["sha256"])) for name, row in files.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{NAME} is cut off or damaged"
    rows = [row for row in rows if listed(row[0])]
    for name, size, _ in rows:
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if (now := path.stat().st_size) != size:
            return f"{name} has {now:,} bytes and not {size:,}"
    if not hashed:
        return None
    with ThreadPoolExecutor(THREADS) as pool:
        digests = list(pool.map(lambda row: sha256(folder / row[0]), rows))
    for (name, _, expected), digest in zip(rows, digests, strict=True):
        if digest != expected:
            return f"{name} has other bytes than were saved"
    return None


def check_model(folder: Path, *, named_in: Path | None = None) -> None:
    """Raise UserError for a model's folder whose files are not those that were saved.

    The state of a training beside the model, which nobody loads with it, may be missing. The
    message begins with the file in which an adapter names the folder, if ``named_in`` is given.
    """
    reason = damage(folder, listed=lambda name: not name.startswith(("optimizer", "trainer_state",
                    "rollouts", "scheduler", "rng_state", "training_args")))  # fmt: skip
    if reason is not None:
        where = f"{named_in}: {folder}" if named_in else str(folder)
        raise UserError(
            f"{where}: {reason}; take another checkpoint, copy this one again, or delete "
            f"{folder / NAME} if you changed the file on purpose"
        )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file; it is read again only where it may have changed."""
    state = path.stat()
    return hash_of(path.absolute(), state.st_ino, state.st_size, state.st_ctime_ns)


@functools.lru_cache(maxsize=4096)
def hash_of(path: Path, inode: int, size: int, changed: int) -> str:
    """Return the SHA-256 of a file as it is while its inode, size and time of change hold."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
