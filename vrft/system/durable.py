"""Files that outlive a power cut: their bytes are on the disk before a name points at them.

A rename alone does not see to that: a file system may write the new name first and the bytes some
seconds later, and a machine that stops in between leaves an empty file under the right name.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Write a file that, whenever the machine stops, is the old one or the new one.

    ``errors`` says what becomes of half a surrogate pair, as in ``open``.
    """
    temporary = path.with_name(f".{path.name}")
    try:
        with temporary.open("w", encoding="utf-8", errors=errors, newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):  # a part of it would take what is left of a full disk
            temporary.unlink(missing_ok=True)
        raise
    replace(temporary, path)


def replace(temporary: Path, path: Path) -> None:
    """Give a file or folder, whose bytes are on the disk already, its final name for good."""
    os.replace(temporary, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the bytes of a file, or the names in a folder, are on the disk.

    Whoever has written them: the system syncs a file, not what one descriptor has written to it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(folder: Path) -> None:
    """Sync the names in a folder and in all folders below it, the innermost first."""
    for path, _, _ in os.walk(folder, topdown=False):
        sync(Path(path))
