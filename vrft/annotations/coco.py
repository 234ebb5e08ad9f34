"""COCO's JSON of instances: the boxes and crowds of every picture, by category."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vrft.annotations.coco_files import folder_of, parts, picture_folders, split_of
from vrft.annotations.frames import ROUNDED, turned_box
from vrft.boxes import Box, in_fractions, is_bounded
from vrft.errors import UserError
from vrft.images import StoredSize, stored_size
from vrft.records import files, texts
from vrft.records.data_folder import check_inside as check_in_folder

LOOKED_IN = 20
"""Pictures of a file of which one tells in which of the usual folders they lie."""

CUT = 0.01
"""The share of a side by which a box may leave its picture, as in published sets, and is cut."""

ENOUGH = 1000
"""Boxes that tell fractions from pixels."""

ByCategory = Mapping[str, tuple[Box, ...]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's file with the boxes of its objects and of its crowds, by category.

    A crowd is one box around many objects, which COCO does not mark one by one.
    """

    id: str
    file: Path
    boxes: ByCategory
    """In fractions of the picture in the frame of the annotations, which ``upright`` checks."""
    crowds: ByCategory
    size: tuple[float, float] = (0, 0)
    """Width and height that the annotations give; zeros for unknown."""
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The picture's entry in the file, with all its fields."""
    allowed: tuple[Path, ...] | None = field(default=None, repr=False, compare=False)
    """The folders that the file may not leave; None where it may lie anywhere."""
    places: tuple[Path, ...] = field(default=(), repr=False, compare=False)
    """The folders in which pictures of the file have been looked for, in vain."""
    phrases: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    """The parts of its caption that its boxes stand for, as ``tokens_positive`` counts them."""

    @property
    def caption(self) -> str:
        """Return the expression that the entry has in place of categories, "" for none."""
        caption = self.entry.get("caption")
        return caption.strip() if isinstance(caption, str) else ""

    def source(self) -> Path:
        """Return the file; raise UserError if it is not there, or outside its data's folder."""
        # Looked for only when it is asked for: train2017 has 118,287 pictures, and few are needed.
        if not os.path.isfile(self.file):
            others = f", or into {', '.join(map(str, self.places[1:]))}" if self.places[1:] else ""
            raise UserError(
                f"no picture {self.file!s:.200}; unpack COCO's pictures there{others:.400}"
            )
        if self.allowed is not None:
            check_in_folder(self.file, self.allowed, f"image {self.id:.60}")
        return self.file

    def upright(self) -> Picture:
        """Return the picture with boxes in the frame in which it is shown, by the file's head.

        Annotations of the picture as stored are turned with it, as its EXIF orientation says.
        Raises UserError for a picture that is not there or of another size than was annotated.
        """
        stored = stored_size(self.source())
        if self.size in ((0, 0), stored.upright):
            return self
        if self.size != (stored.width, stored.height):
            width, height = stored.upright
            raise UserError(
                f"{self.file}: a picture of {width}x{height}, but annotated as "
                f"{self.size[0]}x{self.size[1]}; correct its width and height, and its boxes"
            )
        boxes, crowds = (all_turned(boxes, stored) for boxes in (self.boxes, self.crowds))
        return replace(self, boxes=boxes, crowds=crowds, size=stored.upright)


@dataclass(frozen=True, slots=True)
class Instances:
    """The names of the categories and the pictures, both in the order of the file."""

    categories: tuple[str, ...]
    pictures: tuple[Picture, ...]

    def captioned(self, root: Path) -> bool:
        """Return whether pictures have captions, as in the referring expressions of MDETR.

        Their category, such as "person", is then no question. Raises UserError, which names
        ``root``, for boxes without a caption beside others, of several phrases or categories.
        """
        marked = next((p for p in self.pictures if p.caption or p.phrases), None)
        if marked is None:
            return False
        for picture in self.pictures:
            where, names = f"{root}: image {picture.id:.60}", {*picture.boxes, *picture.crowds}
            if names and not picture.caption:
                raise UserError(
                    f"{where}: boxes without `caption`, while image {marked.id:.60} has it or "
                    "`tokens_positive`; write one for each image"
                )
            if len(picture.phrases) > 1:
                raise UserError(
                    f"{where}: boxes of {len(picture.phrases)} phrases of its caption "
                    "(tokens_positive); write an entry of `images` for each phrase"
                )
            if len(names) > 1 and not picture.phrases:
                raise UserError(
                    f"{where}: boxes of {len(names)} categories, and a caption; remove `caption` "
                    "to have the categories asked"
                )
        return True


def all_turned(by_category: ByCategory, stored: StoredSize) -> ByCategory:
    """Return boxes of a picture as stored, in fractions, as boxes of the upright picture."""
    return {
        name: tuple(turned_box(box, stored) for box in boxes) for name, boxes in by_category.items()
    }


def find(
    root: Path, split: str, encoding: str = "", allow_outside: bool = False
) -> Instances | None:
    """Read the instances of a split; None where ``root`` holds data of another kind.

    ``root`` is COCO's folder, or annotations/ in it, with annotations/instances_<split>.json or
    annotations/<split>.json and the pictures in <split>/, images/ or images/<split>/, or with both
    in <split>/, as Roboflow exports them; or one such file, with the pictures beside it or where
    they lie for a folder. A picture that lies elsewhere is refused when it is asked for, unless
    ``allow_outside``. Raises UserError for an unknown split and for a file that cannot be read.
    """
    if os.path.isfile(root):
        # COCO's file is an object, a file of rows a list of objects or one a line.
        is_object = root.suffix == ".json" and texts.first_character(root, encoding) == "{"
        if not is_object or files.is_json_lines(root, encoding):
            return None
        beside = [root.parent, *picture_folders(root.parent.parent, split_of(root))]
        # Above a folder of another name anything may lie: a row must not choose from all of it.
        if not root.parent.name.lower().startswith("annotation"):
            beside.remove(root.parent.parent)
        return read(root, beside, encoding, None if allow_outside else tuple(beside))
    root = folder_of(root)
    named = parts(root)
    if not named:
        return None
    if split not in named:
        raise UserError(f"no split {split!r} in {root}; there is {', '.join(named)}")
    folders = picture_folders(root, split)
    return read(named[split], folders, encoding, None if allow_outside else (root,))


def read(
    path: Path,
    folders: Sequence[Path],
    encoding: str = "",
    allowed: tuple[Path, ...] | None = None,
) -> Instances:
    """Read the instances of a file, which names pictures from one of ``folders`` on.

    It is the first that holds any of the file's first pictures. They may not leave the folders
    ``allowed``; None: they may lie anywhere.
    Boxes that rounding has put over the edge are cut to their picture, and boxes without area are
    left out. Raises UserError that names the entry which cannot be read or leaves its picture, and
    for boxes in fractions.
    """
    tree = files.read_json(path, encoding)
    if isinstance(tree, dict) and not {"images", "annotations"} <= tree.keys():
        raise UserError(
            f"{path}: expected COCO's instances or a list of rows, got {files.described(tree)}"
        )
    names = {c["id"]: str(c["name"]) for c in entries(tree, "categories", ("id", "name"), path)}
    images = entries(tree, "images", ("id", "file_name", "width", "height"), path)
    sizes = {image["id"]: (image["width"], image["height"]) for image in images}
    boxes: dict[tuple[Any, bool], dict[str, tuple[Box, ...]]] = {}  # (picture, crowd) -> boxes
    phrases: dict[Any, set[str]] = {}
    needed = ("image_id", "category_id", "bbox")
    annotations = entries(tree, "annotations", needed, path)
    for row, entry in enumerate(annotations):
        image, category = entry["image_id"], entry["category_id"]
        if image not in sizes or category not in names:
            raise UserError(f"{path}: annotations[{row}]: unknown image_id or category_id")
        box = read_box(entry["bbox"], sizes[image], f"{path}: annotations[{row}]")
        if box is not None:
            by_name = boxes.setdefault((image, bool(entry.get("iscrowd"))), {})
            by_name[names[category]] = (*by_name.get(names[category], ()), box)
        if entry.get("tokens_positive"):
            phrases.setdefault(image, set()).add(str(entry["tokens_positive"]))
    # A box in the first pixel is rare, and of a file in pixels never all are there.
    if in_fractions([n for entry in annotations[:ENOUGH] for n in entry["bbox"]]):
        raise UserError(
            f"{path}: every bbox lies in 0..1, and COCO writes pixels; multiply x and width by the "
            "picture's width, y and height by its height"
        )
    names_of = [str(image["file_name"]) for image in images[:LOOKED_IN]]
    holding = (at for at in folders if any(os.path.isfile(at / name) for name in names_of))
    folder = next(holding, None)
    places = tuple(folders) if folder is None else ()
    folder = folder or folders[0]
    pictures = [
        Picture(
            str(image["id"]),
            folder / str(image["file_name"]),
            boxes.get((image["id"], False), {}),
            boxes.get((image["id"], True), {}),
            sizes[image["id"]],
            image,
            allowed,
            places,
            frozenset(phrases.get(image["id"], ())),
        )
        for image in images
    ]
    return Instances(tuple(names.values()), tuple(pictures))


def read_box(bbox: Any, size: tuple[Any, Any], where: str) -> Box | None:
    """Read a box from [x, y, width, height] in pixels of a picture of ``size`` (width, height).

    None for a box without area; UserError for anything but numbers, and for a box that leaves the
    picture by more than half a pixel and the share ``CUT`` of the side.
    """
    match [bbox, size]:
        case [[x, y, width, height], (across, down)] if all(
            map(is_bounded, (x, y, width, height, across, down))
        ):
            # A picture without size in the file must not make it divide by zero.
            across, down = max(across, 1), max(down, 1)
            if width > 0 and height > 0:
                check_inside((x, y, x + width, y + height), bbox, (across, down), where)
            return Box.of_pixels(x, y, x + width, y + height, across, down)
    raise UserError(f"{where}: bbox is [x, y, width, height] in pixels, not {bbox!r:.60}")


def check_inside(
    corners: tuple[float, ...], bbox: Sequence[float], size: tuple[float, float], where: str
) -> None:
    """Raise UserError, with the likely mistake, for corners that leave a picture of ``size``."""
    sides = (*size, *size)
    outside = max(max(-n, n - side) / side for n, side in zip(corners, sides, strict=True))
    pixels = max(max(-n, n - side) for n, side in zip(corners, sides, strict=True))
    if pixels <= ROUNDED or outside <= CUT:
        return
    x, y, right, bottom = bbox
    fits = x < right <= size[0] and y < bottom <= size[1] and min(x, y) >= 0
    remedy = f"[{x:g}, {y:g}, {right - x:g}, {bottom - y:g}]" if fits else "one inside it"
    told = " (these may be the corners x1, y1, x2, y2)" if fits else ""
    raise UserError(
        f"{where}: bbox {list(bbox)!r:.80} ends {pixels:g} pixels outside its picture of "
        f"{size[0]:g}x{size[1]:g}; COCO writes x, y, width, height{told}: write {remedy}"
    )


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
