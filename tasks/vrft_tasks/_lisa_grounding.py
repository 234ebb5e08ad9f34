"""ReasonSeg's records and Visual-RFT's conversations: how the grounding task reads both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from vrft.boxes import THOUSANDTHS, Box, in_fractions, is_bounded
from vrft.errors import UserError
from vrft.images import StoredSize, image_size, stored_size
from vrft.masks import Polygon, Region, bounding_box, outline
from vrft.records import check_inside, read_json, read_western_json
from vrft.records.picture_files import json_files, pictures_by_stem
from vrft.types import Sample

ROUNDING = 1.0
"""Pixels by which a point may leave its picture for no reason but rounding."""


@dataclass(frozen=True, slots=True)
class Target:
    """The object or region that an instruction means."""

    box: Box
    """The box around all shapes of the target."""
    first: Box
    """The box of the record's first shape, whatever its label: all that published scores know.

    The same as ``box`` where the first shape spans no area.
    """
    label: str = ""
    """The object's name, where the data has one."""
    region: Region | None = None
    """The shapes themselves, which conversations do not tell."""


def splits(root: Path) -> dict[str, Path]:
    """Return the splits below ``data_dir``: folders of records, and files of conversations."""
    if root.is_file():
        return {"train": root}
    folders = {path.name: path for path in root.iterdir() if path.is_dir() and json_files(path)}
    # A folder comes before a file of the same name: the union keeps the right side.
    return {path.stem: path for path in json_files(root)} | folders


def read_reasonseg(
    folder: Path,
    every_instruction: bool,
    encoding: str = "",
    allowed: tuple[Path, ...] | None = None,
) -> list[Sample[Target]]:
    """Read a folder of ReasonSeg: a sample per instruction, or for the first of each picture.

    Pictures may not leave the folders ``allowed``; None: they may lie anywhere.
    """
    samples = []
    pictures = pictures_by_stem(folder)
    for path in json_files(folder):
        record = read_western_json(path, encoding)
        if not isinstance(record, dict):
            raise UserError(f"{path}: expected an object with `text` and `shapes`")
        if {"images", "annotations"} <= record.keys():
            raise UserError(f"{path}: COCO's json, which the tasks grounding and detection read")
        text = record.get("text")
        texts = [text] if isinstance(text, str) else text
        if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
            raise UserError(f"{path}: `text` must hold at least one instruction")
        image = pictures.get(path.stem, path.with_suffix(".jpg"))  # as published
        if allowed is not None:
            check_inside(image, allowed, str(path))
        target = _read_target(record, path, stored_size(image))
        # Labelme may put the file of the picture into its record, as text.
        kept = {name: value for name, value in record.items() if name != "imageData"}
        # As `grounding` gives boxes of shapes: corners in fractions of the upright picture.
        columns = {"answer": list(astuple(target.box)), **kept}
        for number, instruction in enumerate(texts if every_instruction else texts[:1]):
            name = f"{path.stem}#{number}" if every_instruction else path.stem
            subset = str(record.get("kind", ""))
            samples.append(Sample(name, instruction, target, (image,), subset, columns))
    return samples


def _read_target(record: Mapping[str, Any], path: Path, stored: StoredSize) -> Target:
    """Read the target of a record whose picture has that size in its file."""
    shapes = record.get("shapes")
    if not isinstance(shapes, list) or not shapes:
        raise UserError(f"{path}: `shapes` must hold at least one shape")
    polygons = [_read_points(shape, f"{path}: shape {i}") for i, shape in enumerate(shapes)]
    if in_fractions([n for polygon in polygons for point in polygon for n in point]):
        raise UserError(
            f"{path}: all points lie in 0..1, and ReasonSeg writes pixels; multiply them by the "
            "width and height of the picture"
        )
    if _in_stored_frame(record, polygons, path, stored):
        polygons = [[stored.turn(x, y) for x, y in polygon] for polygon in polygons]
    width, height = stored.upright
    wanted, ignored = [], []
    for number, (shape, polygon) in enumerate(zip(shapes, polygons, strict=True)):
        label = str(shape.get("label", "")).lower()
        # As published, any label that contains "ignore" counts so; a flag marks nothing at all.
        if "ignore" in label:
            ignored.append(_outline(shape, polygon, f"{path}: shape {number}"))
        elif label != "flag":
            wanted.append(_outline(shape, polygon, f"{path}: shape {number}"))
    if not wanted:
        raise UserError(f"{path}: no shape is a target; label one `target` or remove the file")
    box = bounding_box(wanted, width, height)
    if box is None:
        raise UserError(f"{path}: the targets span no area inside the picture; correct them")
    # As published, the first shape is its bare points, whatever the type of shape.
    first = bounding_box(polygons[:1], width, height)
    region = Region(tuple(wanted), tuple(ignored), polygons[0])
    return Target(box, first or box, str(record.get("label", "")), region)


def _in_stored_frame(
    record: Mapping[str, Any], polygons: Sequence[Polygon], path: Path, stored: StoredSize
) -> bool:
    """Return whether points are in pixels of the picture as stored, before EXIF turns it upright.

    The size that labelme writes tells. Raises UserError for one of another picture, and for points
    without such a size that lie outside the upright picture and inside the stored one.
    """
    as_stored, upright = (stored.width, stored.height), stored.upright
    told = (record.get("imageWidth"), record.get("imageHeight"))
    if None not in told:
        if told not in (as_stored, upright):
            raise UserError(
                f"{path}: imageWidth and imageHeight are {told[0]}x{told[1]}, the picture is "
                f"{upright[0]}x{upright[1]}; annotate this picture"
            )
        return told != upright
    right = max(x for polygon in polygons for x, _ in polygon)
    bottom = max(y for polygon in polygons for _, y in polygon)
    leaves = right > upright[0] + ROUNDING or bottom > upright[1] + ROUNDING
    if as_stored != upright and leaves and right <= as_stored[0] and bottom <= as_stored[1]:
        raise UserError(
            f"{path}: points beyond the picture of {upright[0]}x{upright[1]}, which EXIF turns "
            f"upright; write imageWidth {as_stored[0]} and imageHeight {as_stored[1]} if they are "
            "meant before turning"
        )
    return False


def _outline(shape: Mapping[str, Any], points: Polygon, where: str) -> Polygon:
    """Return the polygon of a shape; a shape of ReasonSeg has no type and is one."""
    kind = shape.get("shape_type")
    if kind is None:
        return points
    try:
        return outline(str(kind), points)
    except ValueError as error:
        raise UserError(f"{where}: {error}; draw a polygon, rectangle or circle") from error


def _read_points(shape: Any, where: str) -> Polygon:
    """Read the points of a shape, in pixels."""
    pairs = shape.get("points") if isinstance(shape, dict) else None
    if not isinstance(pairs, list) or not pairs:
        raise UserError(f"{where} has no points; correct or remove it")
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(is_bounded, pair))):
            raise UserError(f"{where} has a point that is no [x, y]: {pair!r:.60}")
    return [(float(x), float(y)) for x, y in pairs]


def read_conversations(
    path: Path, encoding: str = "", allowed: tuple[Path, ...] | None = None
) -> list[Sample[Target]]:
    """Read a file of Visual-RFT's conversations; paths of pictures start at its folder.

    Pictures may not leave the folders ``allowed``; None: they may lie anywhere.
    """
    rows = read_json(path, encoding)
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected a list of conversations")
    return [_read_conversation(record, path, row, allowed) for row, record in enumerate(rows)]


def _read_conversation(
    record: Any, path: Path, row: int, allowed: tuple[Path, ...] | None
) -> Sample[Target]:
    """Read one conversation: a picture and an instruction, answered by a box in thousandths."""
    try:
        # Unpacking raises ValueError unless there are two turns.
        asked, answered = (str(turn["value"]) for turn in record["conversations"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: row {row}: expected `conversations` of two turns") from error
    image, closed, request = asked.partition("<img>")[2].partition("</img>")
    box = Box.parse(answered, THOUSANDTHS)
    if not closed or box is None:
        raise UserError(f"{path}: row {row}: expected <img>path</img>, answered by one box")
    source = path.parent / image
    if allowed is not None:
        check_inside(source, allowed, f"{path}: row {row}")
    image_size(source)  # raises UserError for a picture that is missing or damaged
    # The published prompt ends in "... the instruction: the umbrella".
    question = request.partition("the instruction:")[2].strip() or request.strip()
    target = Target(box, box)
    columns = {"answer": answered, **record}
    return Sample(str(record.get("id", row)), question, target, (source,), columns=columns)
