"""A row in another tool's columns: question, answer, turns and pictures as each format has them.

A row that holds more than a format has a place for is refused: nothing is left out. Boxes are
written in the unit that is the format's custom. Pictures stand as paths relative to the written
file, or, where a format holds them, as bytes.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.annotations import written_shapes
from vrft.annotations.frames import PIXELS, Frame, Shape
from vrft.formats import placing
from vrft.formats.recognition import FORMATS, FormatName
from vrft.formats.rows import Row
from vrft.images import read_header, stored_size
from vrft.records.nested import shown
from vrft.records.record import number_text
from vrft.types import PLACE


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
            answer = self.row.answer
            return number_text(answer) if isinstance(answer, Decimal) else answer
        return listed[0] if len(listed) == 1 else listed

    def text(self, frame: Frame) -> str:
        """Return the answer as a text, boxes in JSON."""
        answer = self.answer(frame)
        if isinstance(answer, bool):
            return "yes" if answer else "no"
        if isinstance(answer, int | float):  # as options are written, of which it may be one
            return number_text(answer)
        return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)

    def plain(self, name: str) -> Written:
        """Return the row itself; raise UserError where it has turns or a system text."""
        if self.row.turns or self.row.system is not None:
            raise self.row.record.error(f"{name} has no place for turns and system texts")
        return self


def prepared(row: Row, frame: Frame, boxes: bool) -> Written:
    """Return a row with its files, and its boxes as fractions where answers are ``boxes``."""
    files = row.files()
    written_in = frame if row.unit is None else Frame(row.unit)
    numbers = written_shapes.written(row.answer, order=written_in.box_format) if boxes else None
    if boxes and numbers is None and (alone := written_shapes.bare_corners(row.answer)):
        numbers = (alone,)
    if not boxes:
        return Written(row, files, (), (0, 0))
    if numbers is None or len(files) != 1:
        raise row.record.error(f"expected boxes in one picture; the answer is {shown(row.answer)}")
    stored = stored_size(files[0])
    return Written(row, files, placing.placed(row, numbers, written_in, stored), stored.upright)


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
