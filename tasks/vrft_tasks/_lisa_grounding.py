"""ReasonSeg's records and Visual-RFT's conversations: how the grounding task reads both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrft.boxes import THOUSANDTHS, Box
from vrft.errors import UserError
from vrft.images import image_size
from vrft.masks import Polygon, Region, bounding_box
from vrft.records import read_json
from vrft.types import Sample


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
    folders = {path.parent.name: path.parent for path in root.glob("*/*.json")}
    # A folder comes before a file of the same name: the union keeps the right side.
    return {path.stem: path for path in root.glob("*.json")} | folders


def read_reasonseg(folder: Path, every_instruction: bool) -> list[Sample[Target]]:
    """Read a folder of ReasonSeg: a sample per instruction, or for the first of each picture."""
    samples = []
    for path in sorted(folder.glob("*.json")):
        record = read_json(path)
        if not isinstance(record, dict):
            raise UserError(f"{path}: expected an object with `text` and `shapes`")
        text = record.get("text")
        texts = [text] if isinstance(text, str) else text
        if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
            raise UserError(f"{path}: `text` must hold at least one instruction")
        image = path.with_suffix(".jpg")
        target = _read_target(record, path, *image_size(image))
        for number, instruction in enumerate(texts if every_instruction else texts[:1]):
            name = f"{path.stem}#{number}" if every_instruction else path.stem
            subset = str(record.get("kind", ""))
            samples.append(Sample(name, instruction, target, (image,), subset))
    return samples


def _read_target(record: Mapping[str, Any], path: Path, width: int, height: int) -> Target:
    """Read the target of a record whose picture has that size in pixels."""
    shapes = record.get("shapes")
    if not isinstance(shapes, list) or not shapes:
        raise UserError(f"{path}: `shapes` must hold at least one shape")
    polygons = [_read_points(shape, f"{path}: shape {i}") for i, shape in enumerate(shapes)]
    wanted, ignored = [], []
    for shape, polygon in zip(shapes, polygons, strict=True):
        label = str(shape.get("label", "")).lower()
        # As published, any label that contains "ignore" counts so; a flag marks nothing at all.
        if "ignore" in label:
            ignored.append(polygon)
        elif label != "flag":
            wanted.append(polygon)
    if not wanted:
        raise UserError(f"{path}: no shape is a target; label one `target` or remove the file")
    box = bounding_box(wanted, width, height)
    if box is None:
        raise UserError(f"{path}: the targets span no area inside the picture; correct them")
    first = bounding_box(polygons[:1], width, height)
    region = Region(tuple(wanted), tuple(ignored), polygons[0])
    return Target(box, first or box, str(record.get("label", "")), region)


def _read_points(shape: Any, where: str) -> Polygon:
    """Read the corner points of a shape, in pixels."""
    pairs = shape.get("points") if isinstance(shape, dict) else None
    if not isinstance(pairs, list) or not pairs:
        raise UserError(f"{where} has no points; correct or remove it")
    for pair in pairs:
        # Python's json reads NaN and Infinity, which would make a box of nowhere.
        numbers = pair if isinstance(pair, list) and len(pair) == 2 else [None]
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            raise UserError(f"{where} has a point that is no [x, y]: {pair!r}")
    return [(float(x), float(y)) for x, y in pairs]


def read_conversations(path: Path) -> list[Sample[Target]]:
    """Read a file of Visual-RFT's conversations; paths of pictures start at its folder."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected a list of conversations")
    return [_read_conversation(record, path, row) for row, record in enumerate(rows)]


def _read_conversation(record: Any, path: Path, row: int) -> Sample[Target]:
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
    image_size(source)  # raises UserError for a picture that is missing or damaged
    # The published prompt ends in "... the instruction: the umbrella".
    question = request.partition("the instruction:")[2].strip() or request.strip()
    return Sample(str(record.get("id", row)), question, Target(box, box), (source,))
