"""COCO's JSON of instances: the boxes and crowds of every picture, by category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrft import records
from vrft.boxes import Box
from vrft.errors import UserError

LARGEST = 1e6
"""A bound on coordinates in pixels, far beyond any picture; it also refuses NaN and infinity."""

ByCategory = Mapping[str, tuple[Box, ...]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's file with the boxes of its objects and of its crowds, by category.

    A crowd is one box around many objects, which COCO does not mark one by one.
    """

    id: str
    file: Path
    boxes: ByCategory
    crowds: ByCategory

    def source(self) -> Path:
        """Return the file; raise UserError if it is not there."""
        # Looked for only when it is asked for: train2017 has 118,287 pictures, and few are needed.
        if not self.file.is_file():
            raise UserError(f"no picture {self.file}; unpack COCO's pictures there")
        return self.file


@dataclass(frozen=True, slots=True)
class Instances:
    """The names of the categories and the pictures, both in the order of the file."""

    categories: tuple[str, ...]
    pictures: tuple[Picture, ...]


def find(root: Path, split: str) -> Instances | None:
    """Read the instances of a split; None where ``root`` holds data of another kind.

    ``root`` is COCO's folder, with annotations/instances_<split>.json and the pictures in
    <split>/, or one such file, with the pictures beside it. Raises UserError for an unknown split
    and for a file that cannot be read.
    """
    if root.is_file():
        # COCO's file is an object, a file of rows a list. The first bytes tell, where the file may
        # have gigabytes.
        with root.open("rb") as file:
            is_object = root.suffix == ".json" and file.read(64).lstrip().startswith(b"{")
        return read(root, root.parent) if is_object else None
    files = sorted((root / "annotations").glob("instances_*.json"))
    if not files:
        return None
    path = root / "annotations" / f"instances_{split}.json"
    if path not in files:
        known = ", ".join(path.stem.removeprefix("instances_") for path in files)
        raise UserError(f"no split {split!r} in {root}; there is {known}")
    return read(path, root / split)


def read(path: Path, folder: Path) -> Instances:
    """Read the instances of a file whose pictures lie in ``folder``.

    Boxes are cut to their picture, and boxes without area inside it are left out. Raises UserError
    that names the entry which cannot be read.
    """
    tree = records.read_json(path)
    names = {c["id"]: str(c["name"]) for c in entries(tree, "categories", ("id", "name"), path)}
    images = entries(tree, "images", ("id", "file_name", "width", "height"), path)
    sizes = {image["id"]: (image["width"], image["height"]) for image in images}
    boxes: dict[tuple[Any, bool], dict[str, tuple[Box, ...]]] = {}  # (picture, crowd) -> boxes
    needed = ("image_id", "category_id", "bbox")
    for row, entry in enumerate(entries(tree, "annotations", needed, path)):
        image, category = entry["image_id"], entry["category_id"]
        if image not in sizes or category not in names:
            raise UserError(f"{path}: annotations[{row}]: unknown image_id or category_id")
        box = read_box(entry["bbox"], sizes[image], f"{path}: annotations[{row}]")
        if box is not None:
            by_name = boxes.setdefault((image, bool(entry.get("iscrowd"))), {})
            by_name[names[category]] = (*by_name.get(names[category], ()), box)
    pictures = [
        Picture(
            str(image["id"]),
            folder / str(image["file_name"]),
            boxes.get((image["id"], False), {}),
            boxes.get((image["id"], True), {}),
        )
        for image in images
    ]
    return Instances(tuple(names.values()), tuple(pictures))


def read_box(bbox: Any, size: tuple[Any, Any], where: str) -> Box | None:
    """Read a box from [x, y, width, height] in pixels of a picture of ``size`` (width, height).

    None for a box without area inside the picture; UserError for anything but numbers.
    """
    match [bbox, size]:
        case [[x, y, width, height], (across, down)] if all(
            isinstance(n, int | float) and abs(n) <= LARGEST
            for n in (x, y, width, height, across, down)
        ):
            # A picture without size in the file must not make it divide by zero.
            return Box.of_pixels(x, y, x + width, y + height, max(across, 1), max(down, 1))
    raise UserError(f"{where}: bbox is [x, y, width, height] in pixels, not {bbox!r:.60}")


def entries(tree: Any, name: str, needed: Sequence[str], path: Path) -> list[Mapping[str, Any]]:
    """Return one of the lists of the file, each entry an object with the fields ``needed``.

    Raises UserError for a list or a field that is not there, and for an id that cannot be a key.
    """
    listed = tree.get(name) if isinstance(tree, dict) else None
    if not isinstance(listed, list):
        raise UserError(f"{path}: no list `{name}`; expected COCO's instances or a list of rows")
    for row, entry in enumerate(listed):
        if not isinstance(entry, dict) or not set(needed) <= entry.keys():
            raise UserError(f"{path}: {name}[{row}]: expected {', '.join(needed)}")
        # Ids become keys of dictionaries, which a list or an object cannot be.
        if not all(isinstance(entry[key], int | str) for key in needed if key.endswith("id")):
            raise UserError(f"{path}: {name}[{row}]: an id is a number or a name")
    return listed
