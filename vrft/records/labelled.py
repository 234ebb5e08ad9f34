"""Labelled pictures: COCO's json, and folders of labelme's and ReasonSeg's json.

Such data are no rows: a question is made of each category, label or instruction of a picture, and
its answer are the shapes of that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Literal

from vrft.boxes import Box
from vrft.errors import UserError
from vrft.images import StoredSize, stored_size
from vrft.progress import watched
from vrft.records import coco
from vrft.records.data_folder import check_inside
from vrft.records.files import is_json_lines, read_western_json
from vrft.records.frames import PIXELS, Numbers, Shape
from vrft.records.texts import head_text

Turn = Callable[[float, float], tuple[float, float]]
"""Takes a point from the frame of its annotation into the upright picture, both in pixels."""

Kind = Literal["coco", "labelme", "reasonseg"]

TITLES: Mapping[str, str] = {
    "coco": "COCO's json, a question for each category of a picture",
    "labelme": "labelme's json, a question for each label of a picture",
    "reasonseg": "ReasonSeg's json, a question for each instruction",
}

CARRIED: Mapping[str, frozenset[str]] = {
    "coco": frozenset({"category", "file_name", "id", "width", "height"}),
    "labelme": frozenset({"label", "shapes", "imagePath", "imageWidth", "imageHeight"}),
    "reasonseg": frozenset({"text", "shapes", "imagePath", "imageWidth", "imageHeight"}),
}
"""The fields of each kind whose content is in a ``Labelled`` besides its ``columns``."""

COCO_HEAD = re.compile(
    r'\s*+\{\s*+(?:"info"\s*+:\s*+\{|"licenses"|'
    r'"(?:images|annotations|categories)"\s*+:\s*+\[\s*+[{\]])'
)
"""The beginning of COCO's json. Rows may begin with such a column, but not with its form."""
ROBOFLOW = "_annotations.coco.json"
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question about one picture, answered by boxes or by points in fractions of it."""

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
    """Return which kind of annotations a file or folder holds; None for data of another kind."""
    if root.is_file():
        with root.open("rb") as file:
            head = file.read(256)
        is_coco = root.suffix == ".json" and COCO_HEAD.match(head_text(head, encoding))
        return "coco" if is_coco and not is_json_lines(root, encoding) else None
    if (root / "annotations").is_dir() or _roboflow(root, split):
        return "coco"
    files = _label_files(root, split)
    # Rows may lie in such files too: only an object with shapes is an annotation.
    tree = read_western_json(files[0], encoding) if files else None
    if not isinstance(tree, dict) or "shapes" not in tree:
        return None
    return "reasonseg" if "text" in tree else "labelme"


def read(
    root: Path, split: str, kind: str, encoding: str = "", allow_outside: bool = False
) -> list[Labelled]:
    """Read the annotations of a split; raise UserError that names file and entry of a fault.

    A picture outside the folder of the data is one, unless ``allow_outside``.
    """
    if kind == "coco":
        return list(_coco(root, split, encoding, allow_outside))
    files = _label_files(root, split)
    if not files:
        raise UserError(f"{root}: no json beside pictures, in it or in {split}/")
    shown = watched(files, f"annotations of {split!r}")
    allowed = None if allow_outside else (root,)
    return [entry for path in shown for entry in _labelled(path, kind, encoding, allowed)]


def _roboflow(root: Path, split: str) -> Path | None:
    """Return COCO's json that lies among the pictures of a split, as Roboflow exports it."""
    files = [folder / ROBOFLOW for folder in (root / split, root)]
    return next((file for file in files if file.is_file()), None)


def _coco(root: Path, split: str, encoding: str, allow_outside: bool) -> Iterator[Labelled]:
    """Yield a question for each category that a picture of COCO's json shows."""
    inside = None if root.is_file() else _roboflow(root, split)
    if inside:
        allowed = None if allow_outside else (root,)
        instances: coco.Instances | None = coco.read(inside, inside.parent, encoding, allowed)
    else:
        instances = coco.find(root, split, encoding, allow_outside)
    if instances is None:
        raise UserError(f"{root}: no COCO json; give its file, or the folder above annotations/")
    for annotated in watched(instances.pictures, f"pictures of {split!r}"):
        picture = annotated.upright() if annotated.boxes else annotated
        for name, boxes in picture.boxes.items():
            where = f"{root}: image {picture.id}"
            columns = {"category": name, **picture.entry}
            yield Labelled(f"{picture.id}#{name}", name, boxes, picture.file, where, columns)


def _label_files(root: Path, split: str) -> list[Path]:
    """Return the json files that lie beside a picture each, in the split's folder or in root."""
    for folder in (root / split, root):
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        if beside := [file for file in files if _picture_beside(file)]:
            return beside
    return []


def _picture_beside(path: Path) -> Path | None:
    """Return the picture of the same name as a json file; None without one."""
    pictures = (path.with_suffix(suffix) for suffix in PICTURES)
    return next((picture for picture in pictures if picture.is_file()), None)


def _labelled(
    path: Path, kind: str, encoding: str, allowed: tuple[Path, ...] | None
) -> Iterator[Labelled]:
    """Yield the questions of one picture: its labels, or ReasonSeg's instructions.

    The picture may not leave the folders ``allowed``; None: it may lie anywhere.
    """
    tree = read_western_json(path, encoding)
    picture = _picture_beside(path)
    shapes = tree.get("shapes") if isinstance(tree, dict) else None
    if picture is None or not isinstance(shapes, list) or not shapes:
        raise UserError(f"{path}: expected `shapes` with at least one shape, beside its picture")
    columns = {name: value for name, value in tree.items() if name != "imageData"}
    if allowed is not None:
        check_inside(picture, allowed, str(path))
    stored = stored_size(picture)
    size, turn = stored.upright, _turn(tree, stored, path)
    by_label: dict[str, list[Shape]] = {}
    for number, shape in enumerate(shapes):
        where = f"{path}: shape {number}"
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise UserError(f"{where}: expected an object with label and points")
        by_label.setdefault(shape["label"], []).extend(read_shape(shape, size, where, turn))
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
    texts = [tree["text"]] if isinstance(tree["text"], str) else tree["text"]
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


def _turn(tree: Mapping[str, Any], stored: StoredSize, path: Path) -> Turn:
    """Return how points of a file are turned into the upright picture, by the size it tells.

    labelme shows a picture upright, and other tools as it is stored, which its EXIF orientation
    turns: points of the second are turned with it. Raises UserError for a size that is neither.
    """
    told = (tree.get("imageWidth"), tree.get("imageHeight"))
    if None in told or told == stored.upright:
        return _as_they_are
    if told == (stored.width, stored.height):
        return stored.turn
    width, height = stored.upright
    raise UserError(
        f"{path}: imageWidth and imageHeight are {told[0]}x{told[1]}, but the picture, turned "
        f"upright, is {width}x{height}; annotate the upright picture"
    )


def _as_they_are(x: float, y: float) -> tuple[float, float]:
    """Return a point of the upright picture, which nothing turns."""
    return x, y


def read_shape(
    shape: Mapping[str, Any], size: tuple[int, int], where: str, turn: Turn = _as_they_are
) -> list[Shape]:
    """Return the box of a shape of labelme, or its points; UserError for another type of shape.

    ``turn`` takes a point of the file, in pixels, into the upright picture of ``size``.

    A circle is given by its centre and a point on its rim; of any other area the box spans all
    points. Shapes of ReasonSeg have no type and are polygons.
    """
    points = shape.get("points")
    kind = shape.get("shape_type") or "polygon"
    listed = points if isinstance(points, list) else []
    pairs = [turn(*_pair(point, where)) for point in listed]
    match kind:
        case "point" | "points" if pairs:
            return [_placed(pair, size, where) for pair in pairs]
        case "circle" if len(pairs) == 2:
            (x, y), (rim_x, rim_y) = pairs
            radius = ((x - rim_x) ** 2 + (y - rim_y) ** 2) ** 0.5
            pairs = [(x - radius, y - radius), (x + radius, y + radius)]
        case "rectangle" | "polygon" | "linestrip" | "line" | "mask" if len(pairs) >= 2:
            pass
        case _:
            raise UserError(
                f"{where}: a {kind!r} of {len(pairs)} points; expected a rectangle, polygon, "
                "circle, line, linestrip, mask, point or points"
            )
    (left, top), (right, bottom) = (
        map(min, zip(*pairs, strict=True)),
        map(max, zip(*pairs, strict=True)),
    )
    width, height = size
    box = Box.of_pixels(left, top, right, bottom, width, height)
    if box is None:
        raise UserError(f"{where}: the {kind} spans no area inside the picture; correct it")
    return [box]


def _placed(pair: Numbers, size: tuple[int, int], where: str) -> Shape:
    """Return the point of a pair in pixels; raise UserError for one outside the picture."""
    try:
        return PIXELS.shape(pair, size)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _pair(point: Any, where: str) -> tuple[float, float]:
    """Return a point of a shape in pixels; raise UserError for anything but two numbers."""
    match point:
        case [int() | float() as x, int() | float() as y] if abs(x) < 1e6 and abs(y) < 1e6:
            return float(x), float(y)
    raise UserError(f"{where} has a point that is no [x, y]: {point!r:.60}")
