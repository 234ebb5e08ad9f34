"""Execute notebooks from start to end in new folders, and keep their outputs.

    python notebooks/execute.py                  all of them
    python notebooks/execute.py own_data         one

The outputs are written into the notebooks, beside a digest of the cells that they were made by:
tests/test_notebook.py refuses outputs of other cells. Run it after a change of a notebook.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def digest(book: Any) -> str:
    """Return a hash of the sources of all cells of code."""
    sources = [cell.source for cell in book.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def execute(path: Path, folder: Path, timeout: int = 600) -> Any:
    """Execute a notebook whose files are written into a folder, and return it with its outputs.

    Raises nbclient's CellExecutionError for a cell that fails.
    """
    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        book, timeout=timeout, kernel_name="python3", resources=resources, coalesce_streams=True
    )
    # tqdm would like widgets, which no output here needs.
    client.execute(env=os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found"})
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # the times of its start and end
        for output in cell.get("outputs", []):
            without_places(output, folder)
    book.metadata["vrft"] = {"executed": digest(book)}
    return book


def without_places(output: Any, folder: Path) -> None:
    """Write the paths of an output as those below the checkout or the notebook's own folder."""
    for place in (folder, FOLDER.parent):
        if "text" in output:
            output.text = output.text.replace(f"{place.resolve()}/", "")
        for kind, text in output.get("data", {}).items():
            if isinstance(text, str):
                output.data[kind] = text.replace(f"{place.resolve()}/", "")


def main(names: list[str]) -> None:
    """Execute the notebooks of these names, or all of them, and write their outputs."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            book = execute(path, Path(folder))
        nbformat.write(book, path)  # type: ignore[no-untyped-call]
        print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main(sys.argv[1:])
