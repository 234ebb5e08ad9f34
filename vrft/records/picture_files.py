"""Files of pictures in a folder, told by the endings of their names in small or capital letters."""

from __future__ import annotations

import os
from pathlib import Path

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2"),
    *(".qoi", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jpe", ".jfif", ".apng", ".dib"),
    *(".avifs", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
)
"""The endings of the formats that are opened, in lower case: one list for all kinds of data.

Of pictures that differ in it alone the first counts: a mask in .png may lie beside a .jpg.
"""


def is_picture_file(path: Path) -> bool:
    """Return whether a file is a picture by the ending of its name."""
    return path.suffix.lower() in SUFFIXES


def pictures_by_stem(folder: Path) -> dict[str, Path]:
    """Return the pictures of a folder by their names without ending; none for no folder.

    Hidden files are left alone: macOS leaves a file "._a.jpg" beside a.jpg on other disks, which
    is no picture.
    """
    pictures = [path for path in visible_files(folder) if is_picture_file(path)]
    # In this order, the last of one name counts.
    pictures.sort(key=lambda path: -SUFFIXES.index(path.suffix.lower()))
    return {path.stem: path for path in pictures}


def json_files(folder: Path) -> list[Path]:
    """Return the json files of a folder, sorted and without hidden ones; none for no folder."""
    return [path for path in visible_files(folder) if path.suffix.lower() == ".json"]


def visible_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are not hidden, sorted; none for no folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_file()]
    return [folder / name for name in sorted(names)]
