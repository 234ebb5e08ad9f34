"""Rows written in other formats: ``vrft data convert``.

A writer makes of each row what the format knows, and refuses a row that has more: nothing is left
out. Boxes are written in the unit that is the format's custom. Pictures stand as paths relative to
the written file, and inside parquet as bytes.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.boxes import Box
from vrft.errors import UserError
from vrft.images import image_size, read_header
from vrft.records import frames, labelled
from vrft.records.data_folder import is_inside
from vrft.records.formats import FORMATS, FormatName, Reading
from vrft.records.frames import PIXELS, Frame, Shape
from vrft.records.nested import shown
from vrft.records.rows import PLACE, Row

PARQUET: tuple[FormatName, ...] = ("easyr1", "verl")
"""The formats of which the published data are parquet files."""


@dataclass(frozen=True, slots=True)
class Written:
    """A row on its way into another format: its pictures as files, its boxes as fractions."""

    row: Row
    files: tuple[Path, ...]
    shapes: tuple[Shape, ...]
    """The boxes or points of the answer; () for any other answer."""
    size: tuple[int, int]
    """The size of the picture that the boxes are in, (0, 0) without boxes."""

    def answer(self, frame: Frame) -> Any:
        """Return the answer, with boxes as lists of numbers in a frame; one box is one list."""
        listed = [frame.numbers(shape, self.size) for shape in self.shapes]
        if not listed:
            return self.row.answer
        return listed[0] if len(listed) == 1 else listed

    def text(self, frame: Frame) -> str:
        """Return the answer as a text, boxes and numbers in JSON."""
        answer = self.answer(frame)
        if isinstance(answer, bool):
            return "yes" if answer else "no"
        return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)

    def plain(self, name: str) -> Written:
        """Return the row itself; raise UserError where it has turns or a system text."""
        if self.row.turns or self.row.system is not None:
            raise self.row.record.error(f"{name} has no place for turns and system texts")
        return self


def convert(reading: Reading, frame: Frame, name: FormatName, out: Path) -> int:
    """Write rows in another format to a file, or to a folder where it is one; return their number.

    ``frame`` says how the boxes of the rows are written. Raises UserError for a file that is there
    already or of another kind, and for a row that the format cannot hold.
    """
    if out.exists():
        raise UserError(f"{out} exists already; give another --out")
    boxes = name in labelled.TITLES or (reading.geometric and bool(reading.rows))
    rows = [prepared(row, frame, boxes) for row in reading.rows]
    writer, suffix = WRITERS[name]
    if out.suffix != suffix:
        expected = f"a file {out.stem}{suffix}" if suffix else "a folder, without a suffix"
        raise UserError(f"{out}: {name} is {expected}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writer(rows, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error
    return len(rows)


def names_outside(reading: Reading, name: FormatName, out: Path) -> bool:
    """Return whether a written file names pictures outside its folder, as its first row tells.

    ``data.allow_outside`` must let it do so where it is read.
    """
    if name in HOLDING or not reading.rows:
        return False
    return not all(is_inside(file, (out.parent,)) for file in reading.rows[0].files())


def prepared(row: Row, frame: Frame, boxes: bool) -> Written:
    """Return a row with its files, and its boxes as fractions where answers are ``boxes``."""
    files = row.files()
    numbers = frames.written(row.answer) if boxes else None
    if not boxes:
        return Written(row, files, (), (0, 0))
    if numbers is None or len(files) != 1:
        raise row.record.error(f"expected boxes in one picture; the answer is {shown(row.answer)}")
    size = image_size(files[0])
    placed = frame if row.unit is None else Frame(row.unit)
    try:
        return Written(row, files, tuple(placed.shape(n, size) for n in numbers), size)
    except ValueError as error:
        raise row.record.error(str(error)) from None


def paths(written: Written, out: Path) -> list[str]:
    """Return the paths of a row's pictures relative to the folder of the written file."""
    folder = out.parent.resolve()
    return [Path(os.path.relpath(file.resolve(), folder)).as_posix() for file in written.files]


def extras(row: Row) -> dict[str, Any]:
    """Return the columns that every format of rows takes besides its own."""
    options = {"options": list(row.options)} if row.options else {}
    return {"id": row.id} | options | ({"subset": row.subset} if row.subset else {})


def messages(row: Row, speaker: str = "role", text: str = "content") -> list[dict[str, Any]]:
    """Return system text, turns and question as messages; ``speaker`` and ``text`` are their keys.

    With "from" and "value" the roles are those of ShareGPT, human and gpt.
    """
    turns = [("user" if t.role == "user" else "assistant", t.text) for t in row.turns]
    every = [*turns, ("user", row.question)]
    if row.system is not None:
        every.insert(0, ("system", row.system))
    names = {"user": "human", "assistant": "gpt"} if speaker == "from" else {}
    return [{speaker: names.get(role, role), text: said} for role, said in every]


def canonical(written: Written, out: Path) -> dict[str, Any]:
    """Return a row of questions and answers."""
    row = written.row
    turns = {"turns": [{"role": t.role, "content": t.text} for t in row.turns]} if row.turns else {}
    system = {} if row.system is None else {"system": row.system}
    asked = {"images": paths(written, out), "question": row.question}
    return extras(row) | asked | system | turns | {"answer": written.answer(PIXELS)}


def trl(written: Written, out: Path) -> dict[str, Any]:
    """Return a row of TRL, whose prompt is a list of messages."""
    row = written.row
    columns = {"prompt": messages(row), "images": paths(written, out)}
    return extras(row) | columns | {"solution": written.text(PIXELS)}


def conversation(written: Written, out: Path, name: FormatName) -> dict[str, Any]:
    """Return a row of LLaVA's, VLM-R1's or ShareGPT's conversations."""
    row, frame = written.row, Frame(FORMATS[name].unit)
    files = paths(written, out)
    said = messages(row, "from", "value")
    # Without places the pictures stand before the first turn; LLaVA wants them to be marked.
    first = next(message for message in said if message["from"] == "human")
    if files and not any(PLACE in message["value"] for message in said):
        first["value"] = PLACE * len(files) + first["value"]
    said.append({"from": "gpt", "value": written.text(frame)})
    if name == "sharegpt":
        return extras(row) | {"images": files, "conversations": said}
    image = {"image": files[0] if len(files) == 1 else files} if files else {}
    return extras(row) | image | {"conversations": said}


def swift(written: Written, out: Path) -> dict[str, Any]:
    """Return a row of ms-swift; boxes stand in ``objects``, other answers in ``solution``."""
    row = written.row
    columns: dict[str, Any] = {"messages": messages(row), "images": paths(written, out)}
    if written.shapes:
        answers = [PIXELS.numbers(shape, written.size) for shape in written.shapes]
        columns["messages"].append({"role": "assistant", "content": "<bbox>" * len(answers)})
        return extras(row) | columns | {"objects": {"ref": [], "bbox": answers}}
    return extras(row) | columns | {"solution": written.text(PIXELS)}


def openai(written: Written, out: Path) -> dict[str, Any]:
    """Return a row of OpenAI's messages, with pictures as data URIs."""
    row, files = written.row, list(written.files)
    said = messages(row)
    if not any(PLACE in message["content"] for message in said):
        first = next(message for message in said if message["role"] == "user")
        first["content"] = PLACE * len(files) + first["content"]
    for message in said:
        parts: list[dict[str, Any]] = []
        for number, text in enumerate(message["content"].split(PLACE)):
            if number:
                parts.append({"type": "image_url", "image_url": {"url": data_uri(files.pop(0))}})
            parts += [{"type": "text", "text": text}] if text else []
        message["content"] = parts
    reply = {"role": "assistant", "content": written.text(PIXELS)}
    return extras(row) | {"messages": [*said, reply]}


def data_uri(file: Path) -> str:
    """Return the content of a picture's file as a data URI."""
    with read_header(file) as image:
        kind = Image.MIME.get(image.format or "", "image/png")
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def easyr1(written: Written, out: Path) -> dict[str, Any]:
    """Return a row of EasyR1, whose pictures are bytes."""
    row = written.plain("easyr1").row
    problem = PLACE * marks_missing(row, written.files) + row.question
    columns = {"images": embedded(written), "problem": problem}
    return extras(row) | columns | {"answer": written.text(PIXELS)}


def verl(written: Written, out: Path) -> dict[str, Any]:
    """Return a row of verl, whose pictures are bytes."""
    row = written.row
    said = messages(row)
    first = next(message for message in said if message["role"] == "user")
    first["content"] = PLACE * marks_missing(row, written.files) + first["content"]
    return extras(row) | {
        "data_source": "vrft",
        "prompt": said,
        "images": embedded(written),
        "ability": "vision",
        "reward_model": {"style": "rule", "ground_truth": written.text(PIXELS)},
        "extra_info": {"index": row.id, "answer": written.text(PIXELS)},
    }


def r1v(written: Written, out: Path) -> dict[str, Any]:
    """Return a row of R1-V and Visual-RFT."""
    row = written.plain("r1v").row
    files, text = paths(written, out), written.text(Frame(FORMATS["r1v"].unit))
    image = {"image": files[0] if len(files) == 1 else files} if files else {}
    solution = f"<answer>{text}</answer>"
    return extras(row) | image | {"problem": row.question, "solution": solution}


def marks_missing(row: Row, files: Sequence[Path]) -> int:
    """Return how many places must be put before the first turn: none where there are some."""
    marked = any(PLACE in text for text in (*(turn.text for turn in row.turns), row.question))
    return 0 if marked else len(files)


def embedded(written: Written) -> list[dict[str, Any]]:
    """Return the pictures of a row as parquet holds them."""
    return [{"bytes": file.read_bytes(), "path": file.name} for file in written.files]


# --- files


def write_jsonl(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write a row a line."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    out.write_text("".join(lines), encoding="utf-8")


def write_parquet(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write rows to a parquet file."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), out)


def write_coco(rows: Sequence[Written], out: Path) -> None:
    """Write COCO's json: the question is the category of the boxes."""
    numbers: dict[Path, int] = {}
    categories: dict[str, int] = {}
    images: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    frame = Frame("pixels", "xywh")
    for written in rows:
        row, (file,) = written.plain("coco").row, written.files
        if file not in numbers:
            numbers[file] = len(numbers) + 1
            name, (width, height) = paths(written, out)[0], written.size
            images.append(
                {"id": numbers[file], "file_name": name, "width": width, "height": height}
            )
        category = categories.setdefault(row.question, len(categories) + 1)
        for shape in written.shapes:
            if not isinstance(shape, Box):
                raise row.record.error("coco has boxes alone; the answer is a point")
            box = frame.numbers(shape, written.size)
            entry = {"id": len(entries) + 1, "image_id": numbers[file], "category_id": category}
            entries.append(entry | {"bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    named = [{"id": number, "name": name} for name, number in categories.items()]
    tree = {"images": images, "annotations": entries, "categories": named}
    out.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")


def write_labels(rows: Sequence[Written], out: Path, instruct: bool) -> None:
    """Write a folder of pictures with labelme's json beside each, or with ReasonSeg's.

    For labelme the question is the label of the shapes; ReasonSeg has one question a picture here,
    and one box.
    """
    by_file: dict[Path, list[Written]] = {}
    for written in rows:
        (file,) = written.plain("labelme").files
        by_file.setdefault(file, []).append(written)
        if instruct and len(by_file[file]) + len(written.shapes) > 2:
            raise written.row.record.error("reasonseg has one question and one box a picture")
    out.mkdir()
    for number, (file, entries) in enumerate(by_file.items()):
        picture = f"{number:06d}{suffix_of(file)}"
        shapes = [
            shape_entry("target" if instruct else written.row.question, shape, written.size)
            for written in entries
            for shape in written.shapes
        ]
        asked = {"text": [entries[0].row.question], "is_sentence": False} if instruct else {}
        width, height = entries[0].size
        tree = asked | {"shapes": shapes, "imagePath": picture, "imageData": None}
        tree |= {"imageHeight": height, "imageWidth": width}
        (out / picture).write_bytes(file.read_bytes())
        (out / picture).with_suffix(".json").write_text(
            json.dumps(tree, ensure_ascii=False), encoding="utf-8"
        )


def shape_entry(label: str, shape: Shape, size: tuple[int, int]) -> dict[str, Any]:
    """Return a box or point as a shape of labelme."""
    numbers = PIXELS.numbers(shape, size)
    points = [numbers[:2], numbers[2:]] if len(numbers) == 4 else [numbers]
    kind = "rectangle" if len(numbers) == 4 else "point"
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


def suffix_of(file: Path) -> str:
    """Return the suffix of a picture's kind, which files of the cache do not have."""
    if file.suffix.lower() in labelled.PICTURES:
        return file.suffix
    with read_header(file) as image:
        return ".jpg" if image.format == "JPEG" else f".{(image.format or 'png').lower()}"


Writer = Callable[[Sequence[Written], Path], None]


def lines(row: Callable[[Written, Path], dict[str, Any]]) -> tuple[Writer, str]:
    """Return the writer of a format of which each row is a line of JSON."""
    return lambda rows, out: write_jsonl([row(written, out) for written in rows], out), ".jsonl"


def columns(row: Callable[[Written, Path], dict[str, Any]]) -> tuple[Writer, str]:
    """Return the writer of a format whose rows are kept in parquet."""
    return lambda rows, out: write_parquet([row(written, out) for written in rows], out), ".parquet"


WRITERS: Mapping[FormatName, tuple[Writer, str]] = {
    "canonical": lines(canonical),
    "trl": lines(trl),
    "llava": lines(lambda written, out: conversation(written, out, "llava")),
    "vlm-r1": lines(lambda written, out: conversation(written, out, "vlm-r1")),
    "sharegpt": lines(lambda written, out: conversation(written, out, "sharegpt")),
    "swift": lines(swift),
    "openai": lines(openai),
    "verl": columns(verl),
    "easyr1": columns(easyr1),
    "r1v": lines(r1v),
    "coco": (write_coco, ".json"),
    "labelme": (lambda rows, out: write_labels(rows, out, instruct=False), ""),
    "reasonseg": (lambda rows, out: write_labels(rows, out, instruct=True), ""),
}
"""Format -> its writer, and the suffix of its file, "" for a folder."""

HOLDING: frozenset[FormatName] = frozenset({"openai", "verl", "easyr1", "labelme", "reasonseg"})
"""Formats that hold pictures themselves, or have them in their own folder; others name files."""

CARRIED = frozenset({
    *("id", "idx", "images", "image", "question", "problem", "prompt", "conversations", "messages"),
    *("answer", "solution", "reward_model", "extra_info", "objects", "options", "choices"),
    *("system", "turns", "subset", "data_source", "ability"),
})  # fmt: skip
"""The columns of a format of rows whose content is in a ``Row``."""


def left_out(reading: Reading) -> list[str]:
    """Return the columns that no other format has a place for, and some row a value, in order."""
    carried = labelled.CARRIED.get(reading.name, CARRIED)
    carried |= {own for row in reading.rows[:1] for own in row.record.columns.values()}
    filled = (
        name
        for row in reading.rows
        for name, value in row.record.values.items()
        # Empty flags of labelme, and cells without a value, are no loss.
        if name not in carried and value not in (None, "", [], {})
    )
    return list(dict.fromkeys(filled))
