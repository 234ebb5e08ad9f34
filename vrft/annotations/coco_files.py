"""The files of COCO's instances, told from rows, and the folders in which their pictures lie."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from vrft.records import files, texts

ROBOFLOW = "_annotations.coco.json"
"""The file that Roboflow puts among the pictures of a split."""

COCO_HEAD = re.compile(
    r'\s*+\{\s*+(?:"info"\s*+:\s*+\{|"licenses"|'
    r'"(?:images|annotations|categories)"\s*+:\s*+\[\s*+[{\]])'
)
"""The usual beginning of COCO's json. Rows may begin with such a column, but not with its form."""


def parts(root: Path) -> dict[str, Path]:
    """Return the files of instances in COCO's folder, by their splits; {} for another folder."""
    annotations = root / "annotations"
    listed = sorted(annotations.glob("instances_*.json")) or [
        path for path in sorted(annotations.glob("*.json")) if COCO_HEAD.match(head_of(path))
    ]
    roboflow = {path.parent.name: path for path in sorted(root.glob(f"*/{ROBOFLOW}"))}
    return {**{split_of(path): path for path in listed}, **roboflow}


def folder_of(root: Path) -> Path:
    """Return COCO's folder for that of its annotations, and any other path as it is."""
    given = os.path.isdir(root) and root.name.lower() == "annotations"
    return root.parent if given and any(root.glob("instances_*.json")) else root


def split_of(path: Path) -> str:
    """Return the split that a file of instances is named by."""
    return path.stem.removeprefix("instances_")


def picture_folders(root: Path, split: str) -> list[Path]:
    """Return the folders below COCO's in which the pictures of a split may lie, the usual first."""
    return [root / split, root / "images" / split, root / "images", root]


def has_rows(root: Path, split: str) -> bool:
    """Return whether a folder, or data/ in it, holds a file of rows that is named by a split."""
    if not os.path.isdir(root):  # unlike Path.is_dir, also for a name that is too long
        return False
    folders = (root, root / "data")
    name = glob.escape(split)
    paths = (
        path
        for folder in folders
        for kind in files.KINDS
        for pattern in (f"{name}{kind}", f"{name}[-_]*{kind}")
        for path in folder.glob(pattern)
    )
    return any(not (path.suffix == ".json" and COCO_HEAD.match(head_of(path))) for path in paths)


def head_of(path: Path, encoding: str = "") -> str:
    """Return the beginning of a file as text."""
    with path.open("rb") as file:
        return texts.head_text(file.read(256), encoding)


def is_instances(path: Path, encoding: str = "") -> bool:
    """Return whether a file holds one object with COCO's lists, whichever field comes first."""
    head = head_of(path, encoding)
    if path.suffix != ".json" or files.is_json_lines(path, encoding):
        return False
    if COCO_HEAD.match(head):
        return True
    # Such an object is no rows: only one that begins unusually is read twice.
    is_object = texts.first_character(path, encoding) == "{"
    tree = files.read_json(path, encoding) if is_object else None
    return isinstance(tree, dict) and {"images", "annotations"} <= tree.keys()
