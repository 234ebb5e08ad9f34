"""The site as a folder that opens from disk and from any web server."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from vrft.errors import UserError
from vrft.progress import progress
from vrft.viewer import pictures
from vrft.viewer.site import APP, REFUSE, Site


def export(site: Site, folder: Path) -> Path:
    """Write the app, all documents and all pictures to a folder, and return its first page.

    Raises UserError for a folder that holds something else.
    """
    page = folder / "index.html"
    if folder.exists() and any(folder.iterdir()) and not (folder / "app.js").is_file():
        raise UserError(f"{folder}: holds other files; name an empty or a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    for file in APP.iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    documents = site.documents()
    for name in documents:
        target = folder / "data" / f"{name}.js"
        target.parent.mkdir(parents=True, exist_ok=True)
        text = site.document(name)
        if text.startswith(REFUSE):
            print(f"note: {name} is not in the page: it says why", file=sys.stderr)
        target.write_text(text, encoding="ascii")
    names = site.pictures()
    with progress(len(names), "pictures", stream=sys.stderr) as display:
        for name in names:
            target = folder / "pictures" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            pictures.write(site.picture(name), target)
            display.advance(1)
    return page
