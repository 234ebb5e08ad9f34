"""The splits that lie beside the one that is checked, with which it is compared for leaks."""

from __future__ import annotations

import re
from pathlib import Path

from vrft.records.reading import KINDS

NAMES = ("validation", "valid", "val", "dev", "test")
"""The names of splits that are looked for."""


def beside(data_dir: object, split: str) -> list[str]:
    """Return the names among NAMES of splits other than ``split`` in a folder of data.

    A split is a folder of its name, or a file such as test.jsonl or test-00000-of-00001.parquet, as
    it is read. [] where the data are no folder.
    """
    root = Path(str(data_dir)).expanduser()
    if data_dir is None or not root.is_dir():
        return []
    places = [root, *([root / "data"] if (root / "data").is_dir() else [])]
    there = [
        entry.name
        for place in places
        for entry in place.iterdir()
        if entry.is_dir() or entry.name.endswith(tuple(KINDS))
    ]
    names = {name: re.compile(rf"(.*[-_])?{name}([-_.].*)?") for name in NAMES if name != split}
    return [name for name, form in names.items() if any(map(form.fullmatch, there))]
