"""The site as a folder that opens from disk and from any web server."""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from vrft.errors import UserError
from vrft.progress import progress
from vrft.system import disk_errors
from vrft.viewer import pictures
from vrft.viewer.site import APP, CATALOGUE, PICTURES, RECEIVE, REFUSE, THUMBNAILS, Site

AGAIN = "and write the page again"
"""What to do after a disk that was full."""

DATA = "data"
"""The folder of the documents in an export."""

MOST_THUMBNAILS = 2000
"""Pictures of an export that have thumbnails, made in some seconds; of others a list in sight shows
the pictures themselves."""


def export(site: Site, folder: Path) -> Path:
    """Write the app, all documents and all pictures to a folder, and return its first page.

    An earlier export is replaced. Raises UserError for a file, for a folder that holds something
    else, and for one that cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = not any(folder.iterdir())
        others = not fresh and not is_export(folder)
    except FileExistsError as error:
        raise UserError(f"{folder}: is a file; name an empty or a new folder") from error
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error
    if others:
        raise UserError(f"{folder}: holds other files; name an empty or a new folder")
    # A folder that was empty is to be one again: without its catalogue it is no export's.
    with disk_errors.explained(folder, discard=folder if fresh else None, then=AGAIN):
        write(site, folder)
    return folder / "index.html"


def write(site: Site, folder: Path) -> None:
    """Write the app, all documents and all pictures to a folder."""
    # The catalogue is the first of all files: by it an export that was interrupted is known again.
    for name in site.documents():
        target = folder / DATA / f"{name}.js"
        target.parent.mkdir(parents=True, exist_ok=True)
        text = site.document(name)
        if text.startswith(REFUSE):
            print(f"note: {name} is not in the page: it says why", file=sys.stderr)
        target.write_text(text, encoding="ascii")
    for file in APP.iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    write_pictures(site, folder)


def is_export(folder: Path) -> bool:
    """Return whether a folder holds an export; an ``app.js`` may be of any page of the web."""
    catalogue = folder / DATA / f"{CATALOGUE}.js"
    start = f'{RECEIVE}("{CATALOGUE}",'.encode("ascii")
    return catalogue.is_file() and catalogue.read_bytes().startswith(start)


def write_pictures(site: Site, folder: Path) -> None:
    """Write each picture, once for all views that show the same file, and thumbnails of the first.

    There are MOST_THUMBNAILS at most.
    """
    names = site.pictures()
    first: dict[str, str] = {}  # the end of a name -> the name under which it is written
    for name in names:
        end = name.rpartition("/")[2]
        first.setdefault(name if end.startswith(pictures.MEMORY) else end, name)
        for kind in (PICTURES, THUMBNAILS):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)

    small = set(islice(first.values(), MOST_THUMBNAILS))

    def write_both(name: str) -> None:
        source = site.picture(name)
        pictures.write(source, folder / PICTURES / name)
        if name in small:
            pictures.write_thumbnail(source, folder / THUMBNAILS / f"{name}.jpg")

    with (
        progress(len(first), "pictures", stream=sys.stderr) as display,
        ThreadPoolExecutor(os.cpu_count()) as pool,  # Pillow decodes without Python's lock
    ):
        for _ in pool.map(write_both, first.values()):
            display.advance(1)
    for name in names:
        written = first.get(name.rpartition("/")[2], name)
        if written != name:
            link(folder / PICTURES / written, folder / PICTURES / name)
            if written in small:
                link(folder / THUMBNAILS / f"{written}.jpg", folder / THUMBNAILS / f"{name}.jpg")


def link(source: Path, target: Path) -> None:
    """Let a file bear a second name; where the file system has no such links, copy it."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
