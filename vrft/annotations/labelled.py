"""Labelled pictures: COCO's json, and folders of labelme's and ReasonSeg's json.

Such data are no rows: a question is made of each category, label or instruction of a picture, and
its answer are the shapes of that name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Literal

from vrft.annotations import coco, coco_files
from vrft.annotations.frames import Shape
from vrft.annotations.label_shapes import shapes_by_label
from vrft.boxes import Box
from vrft.errors import UserError
from vrft.images import stored_size
from vrft.progress import with_progress
from vrft.records.data_folder import check_inside
from vrft.records.files import read_western_json
from vrft.records.picture_files import json_files, pictures_by_stem

Kind = Literal["coco", "labelme", "reasonseg"]

TITLES: Mapping[str, str] = {
    "coco": "COCO's json, a question for each category of a picture",
    "labelme": "labelme's json, a question for each label of a picture",
    "reasonseg": "ReasonSeg's json, a question for each instruction",
}

CARRIED: Mapping[str, frozenset[str]] = {
    "coco": frozenset({"category", "caption", "file_name", "id", "width", "height"}),
    "labelme": frozenset({"label", "shapes", "imagePath", "imageWidth", "imageHeight"}),
    "reasonseg": frozenset({"text", "shapes", "imagePath", "imageWidth", "imageHeight"}),
}
"""The fields of each kind whose content is in a ``Labelled`` besides its ``columns``."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question about one picture, answered by boxes or by points in fractions of it.

    Without shapes it is no question: an entry of a picture that shows nothing.
    """

    id: str
    question: str
    shapes: tuple[Shape, ...]
    picture: Path
    where: str
    """The file and the entry, for messages."""
    columns: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The fields of the picture's entry in COCO's json, with its ``category``, or of the picture's
    own json, without the picture in it, and with the ``label`` of labelme."""

    def numbers(self) -> list[list[float]]:
        """Return the shapes as lists of numbers, in fractions of the picture."""
        return [list(astuple(shape)) for shape in self.shapes]


def kind_of(root: Path, split: str, encoding: str = "") -> Kind | None:
    """Return which kind of annotations a file or folder holds; None for data of another kind.

    Rows of the split come before annotations that lie in a folder beside them.
    """
    if root.is_file():
        return "coco" if coco_files.is_instances(root, encoding) else None
    instances = coco_files.parts(coco_files.folder_of(root))
    if roboflow(root, split) or (instances and not coco_files.has_rows(root, split)):
        return "coco"
    files, pictures = _label_files(root, split)
    # Rows may lie in such files too: only an object with shapes is an annotation.
    first = next((file for file in files if file.stem in pictures), None)
    tree = read_western_json(first, encoding) if first else None
    if not _has_shapes(tree):
        return None
    return "reasonseg" if _instructs(tree) else "labelme"


def read(
    root: Path, split: str, kind: str, encoding: str = "", allow_outside: bool = False
) -> list[Labelled]:
    """Read the annotations of a split; raise UserError that names file and entry of a fault.

    A picture on which nothing is marked has one entry, without shapes.
    Faults are also shapes without a picture beside them, instructions in some files and not in
    others, and a picture outside the folder of the data, unless ``allow_outside``.
    """
    if kind == "coco":
        return list(_coco(root, split, encoding, allow_outside))
    files, pictures = _label_files(root, split)
    if not pictures:
        raise UserError(f"{root}: no json beside pictures, in it or in {split}/")
    allowed = None if allow_outside else (root,)
    entries: list[Labelled] = []
    first: tuple[Path, bool] | None = None
    for path in with_progress(files, f"annotations of {split!r}"):
        tree, picture = read_western_json(path, encoding), pictures.get(path.stem)
        if picture is None:
            if _has_shapes(tree):
                raise UserError(f"{path}: no picture {path.stem}.jpg, or of another known ending, "
                                "beside it; put it there, or remove the file")  # fmt: skip
            continue  # of another program's notes on the set
        first = first or (path, _instructs(tree))
        if _instructs(tree) != first[1]:
            raise UserError(
                f"{path}: {'no ' if first[1] else ''}`text`, unlike {first[0].name}; keep "
                "ReasonSeg's json, with instructions, and labelme's in two folders"
            )
        entries += _labelled(tree, path, picture, kind, allowed)
    return entries


def _has_shapes(tree: Any) -> bool:
    """Return whether the content of a json file is the annotation of one picture."""
    return isinstance(tree, dict) and "shapes" in tree


def _instructs(tree: Any) -> bool:
    """Return whether an annotation has instructions; the empty text of some tools is none."""
    return isinstance(tree, dict) and tree.get("text") not in (None, "")


def roboflow(root: Path, split: str) -> Path | None:
    """Return COCO's json that lies among the pictures of a split, as Roboflow exports it."""
    files = [folder / coco_files.ROBOFLOW for folder in (root / split, root)]
    return next((file for file in files if file.is_file()), None)


def _coco(root: Path, split: str, encoding: str, allow_outside: bool) -> Iterator[Labelled]:
    """Yield a question for each category that a picture of COCO's json shows, or its caption."""
    inside = None if root.is_file() else roboflow(root, split)
    if inside:
        allowed = None if allow_outside else (root,)
        instances: coco.Instances | None = coco.read(inside, [inside.parent], encoding, allowed)
    else:
        instances = coco.find(root, split, encoding, allow_outside)
    if instances is None:
        raise UserError(
            f"{root}: no COCO json; give its file, or the folder above annotations/ with "
            "instances_<split>.json"
        )
    captioned = instances.captioned(root)
    for annotated in with_progress(instances.pictures, f"pictures of {split!r}"):
        if captioned:
            yield from _captioned(annotated, f"{root}: image {annotated.id}")
            continue
        picture = annotated.upright() if annotated.boxes else annotated
        if not picture.boxes:
            yield _blank(picture.id, picture.file, f"{root}: image {picture.id}")
        for name, boxes in picture.boxes.items():
            where = f"{root}: image {picture.id}"
            columns = {"category": name, **picture.entry}
            yield Labelled(f"{picture.id}#{name}", name, boxes, picture.file, where, columns)


def _captioned(annotated: coco.Picture, where: str) -> Iterator[Labelled]:
    """Yield the question of a picture with a caption, which all of its boxes answer together."""
    if not annotated.boxes and not annotated.crowds:
        yield _blank(annotated.id, annotated.file, where)
        return
    picture = annotated.upright()
    # One box around many objects answers a caption as any other does.
    groups = (*picture.boxes.values(), *picture.crowds.values())
    boxes = tuple(itertools.chain.from_iterable(groups))
    yield Labelled(picture.id, picture.caption, boxes, picture.file, where, picture.entry)


def _blank(name: str, picture: Path, where: str) -> Labelled:
    """Return the entry of a picture on which nothing is marked."""
    return Labelled(name, "", (), picture, where)


def title(kind: str, columns: Mapping[str, Any]) -> str:
    """Return in words how annotations are read, by the ``columns`` of their first question."""
    if kind == "coco" and "category" not in columns:
        return "COCO's json with captions, a question for each caption"
    return TITLES[kind]


def _label_files(root: Path, split: str) -> tuple[list[Path], dict[str, Path]]:
    """Return the json files of the split's folder, or of root, and the pictures there by stem.

    It is the first of both in which one lies beside the other; both are empty where none is.
    """
    for folder in (root / split, root):
        files, pictures = json_files(folder), pictures_by_stem(folder)
        if any(file.stem in pictures for file in files):
            return files, pictures
    return [], {}


def _labelled(
    tree: Any, path: Path, picture: Path, kind: str, allowed: tuple[Path, ...] | None
) -> Iterator[Labelled]:
    """Yield the questions of one picture: its labels, or ReasonSeg's instructions.

    The picture may not leave the folders ``allowed``; None: it may lie anywhere.
    """
    shapes = tree.get("shapes") if isinstance(tree, dict) else None
    if kind == "labelme" and shapes == []:
        yield _blank(path.stem, picture, str(path))
        return
    if not isinstance(shapes, list) or not shapes:
        raise UserError(f"{path}: expected `shapes` with at least one shape, beside its picture")
    columns = {name: value for name, value in tree.items() if name != "imageData"}
    if allowed is not None:
        check_inside(picture, allowed, str(path))
    by_label = shapes_by_label(shapes, path, stored_size(picture), tree)
    if kind == "labelme":
        for label, placed in by_label.items():
            if len(set(map(type, placed))) > 1:
                raise UserError(f"{path}: {label!r} has points and areas; give them two labels")
            yield Labelled(
                f"{path.stem}#{label}",
                label,
                tuple(placed),
                picture,
                str(path),
                {"label": label, **columns},
            )
        return
    targets = [s for label, placed in by_label.items() if is_target(label) for s in placed]
    boxes = [shape for shape in targets if isinstance(shape, Box)]
    text = tree.get("text")
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise UserError(f"{path}: `text` must hold at least one instruction")
    if not boxes or len(boxes) < len(targets):
        raise UserError(f"{path}: no shape with an area is a target; label one `target`")
    box = Box(
        min(b.x1 for b in boxes), min(b.y1 for b in boxes),
        max(b.x2 for b in boxes), max(b.y2 for b in boxes),
    )  # fmt: skip
    for number, text in enumerate(texts):
        name, asked = f"{path.stem}#{number}", text.strip()
        yield Labelled(name, asked, (box,), picture, str(path), columns)


def is_target(label: str) -> bool:
    """Return whether a label of ReasonSeg marks a target: any but "flag" and "ignore"."""
    return "ignore" not in label.lower() and label.lower() != "flag"
