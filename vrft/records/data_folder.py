"""The folder of data, which no picture that the data name may leave, by a link neither.

Data come from strangers, and a picture may come to stand on a page or be sent to an endpoint: a row
must not choose it from all of this disk, unless ``data.allow_outside`` lets it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

from vrft.errors import UserError
from vrft.images import picture_name

SNAPSHOTS = f"{os.sep}snapshots{os.sep}"
"""The part of a path in the hub's cache before which a repository's folder ends."""


def check_inside(path: Path, folders: Sequence[Path], where: str) -> None:
    """Raise UserError for a picture that lies in none of the folders of the data.

    ``where`` is the file and row that name the picture.
    """
    if not is_inside(path, folders):
        name = picture_name(Path(os.path.normpath(path)))
        shown = f" {picture_name(folders[0])}" if folders else ""
        raise UserError(
            f"{where}: the picture {name} lies outside the data's folder{shown}; "
            "data.allow_outside=true lets rows name any picture"
        )


def is_inside(path: Path, folders: Sequence[Path]) -> bool:
    """Return whether a file lies in one of some folders, once every link and ``..`` is followed.

    The folders may be links themselves. A snapshot in the hub's cache consists of links into the
    folder ``blobs`` of its repository, which belongs to it.
    """
    real = real_path(str(path))
    # With a separator behind: /data2 does not lie in /data.
    return any(
        real.startswith(os.path.join(allowed, ""))
        for folder in folders
        for allowed in real_folders(os.path.abspath(folder))
    )


def real_path(path: str) -> str:
    """Return a path without links and ``..``."""
    folder, name = os.path.split(path)
    # Resolving each of a million pictures in the same few folders would take a minute.
    if name in ("", ".", "..") or os.path.islink(path):
        return os.path.realpath(path)
    return os.path.join(real_folders(os.path.abspath(folder))[0], name)


@functools.lru_cache(maxsize=4096)
def real_folders(folder: str) -> tuple[str, ...]:
    """Return a folder without links, and the blobs that the hub's cache keeps for a snapshot.

    ``folder`` is absolute: what a relative one means changes with the working directory.
    """
    real = os.path.realpath(folder)
    repository, snapshot, _ = os.path.join(real, "").partition(SNAPSHOTS)
    blobs = os.path.join(repository, "blobs")
    return (real, blobs) if snapshot and os.path.isdir(blobs) else (real,)
