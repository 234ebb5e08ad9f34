"""One question of a data set, read from the rows of every known format.

Readers take a record and return a ``Row``; they refuse a record that has another form than the
format says. Which format a data set has: ``vrft.formats.recognition``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from vrft import answers
from vrft.annotations import labelled, written_shapes
from vrft.annotations.frames import Unit
from vrft.formats.dialogue import Dialogue, dialogue
from vrft.formats.option_letters import lists_options
from vrft.formats.options import options_of
from vrft.formats.row_pictures import pictures_of
from vrft.records.nested import listed, shown
from vrft.records.record import Record, is_finite, is_null
from vrft.types import PLACE, Turn


@dataclass(frozen=True, slots=True)
class Row:
    """One question of a data set, whatever the format that it was written in."""

    id: str
    question: str
    """The user's last turn; ``<image>`` in it is the place of a picture."""
    answer: Any
    """As the data write it, without tags: a text, number, truth value, box, or list of boxes."""
    record: Record
    """The row as it was read, for its pictures and for messages."""
    pictures: tuple[Any, ...] = ()
    """As the data have them: paths, bytes, or mappings of these."""
    system: str | None = None
    turns: tuple[Turn, ...] = ()
    options: tuple[str, ...] = ()
    subset: str = ""
    unit: Unit | None = None
    """The unit of the row's boxes, where the row itself tells it."""
    reply_left_out: bool = False
    """Whether the conversation ends in a reply that is not the answer, as ``solution`` is."""
    column_left_out: bool = False
    """Whether there is a column ``answer`` that is not the answer, as the last reply is."""
    upright: bool = False
    """Whether its boxes lie in the picture as it is shown, whatever size the row gives of it."""

    def files(self) -> tuple[Path, ...]:
        """Return the files of the pictures; raise UserError for one that is not there."""
        return tuple(self.record.picture(value) for value in self.pictures)

    def columns(self) -> Mapping[str, Any]:
        """Return the columns for reward functions, as ``Record.for_rewards``."""
        return self.record.for_rewards(self.answer)


def with_places(row: Row) -> Row:
    """Return a row that has as many places for pictures as pictures, or none before its only turn.

    In a conversation without places the pictures stand before its first turn, as in TRL and
    ms-swift. Raises UserError for any other number, and for a place in the system text.
    """
    if PLACE in (row.system or ""):
        raise row.record.error(f"{PLACE} in the system text; pictures belong into turns")
    if "<img>" in row.question:
        raise row.record.error(
            "<img> is Visual-RFT's mark; read such data by --task lisa_grounding"
        )
    texts = [*(turn.text for turn in row.turns), row.question]
    if not lists_options(row.question, row.options):
        texts += row.options  # which are asked behind the question
    places = sum(text.count(PLACE) for text in texts)
    if places not in (0, len(row.pictures)):
        raise row.record.error(
            f"{places} places {PLACE} for {len(row.pictures)} pictures; write one for each, or "
            "none to have the pictures before the text"
        )
    if places or not row.pictures or not row.turns:
        return row
    first = replace(row.turns[0], text=PLACE * len(row.pictures) + row.turns[0].text)
    return replace(row, turns=(first, *row.turns[1:]))


def asked(record: Record, read: Dialogue, answer: Any = None, **fields: Any) -> Row:
    """Return the row of a conversation whose answer is ``answer``, or else its last reply.

    Without either it is the column ``answer``. Raises UserError for a conversation without a
    question or an answer, for boxes in Python's writing, which would be taken for a text, and as
    ``check_derivation``.
    """
    turns = list(read.turns)
    replied = bool(turns) and turns[-1].role == "assistant"
    reply = turns.pop().text if replied else None
    column = record.get("answer") if answer is None else None
    if reply is None and answer is None:
        answer, column = column, None
    if answer is None and reply is None:
        raise record.error("no answer: neither a solution nor a last reply of the assistant")
    if not turns or turns[-1].role != "user":
        raise record.error("no question: expected a turn of the user before the answer")
    outside = pictures_of(record)
    if outside and read.pictures:
        raise record.error("pictures both in the messages and in a column; give them once")
    given = reply if answer is None else answer
    pictures = tuple(outside or read.pictures)
    if pictures and isinstance(given, str) and written_shapes.in_python(bare(given)):
        raise record.error(
            f"the answer {shown(given)} is a box or point in Python's writing; write it in JSON"
        )
    check_derivation(record, bare(given), pictures)
    fields = {"subset": str(record.get("subset") or ""), "system": read.system or None} | fields
    return Row(
        fields.pop("id", record.id),
        turns[-1].text,
        bare(given),
        record,
        pictures,
        turns=tuple(turns[:-1]),
        options=options_of(record),
        reply_left_out=answer is not None and reply is not None,
        column_left_out=column is not None and bare(column) != bare(reply),
        **fields,
    )


def check_derivation(record: Record, answer: Any, pictures: Sequence[Any]) -> None:
    """Raise UserError for an answer that derives its result: no short answer would ever equal it.

    Such are solutions of MATH, which have their result in a box of LaTeX. Of rows with pictures
    --task math reads none.
    """
    derivation, box, _ = answer.partition("\\boxed{") if isinstance(answer, str) else ("", "", "")
    if box and len(derivation.split()) > 1:
        raise record.error(
            f"the answer {shown(answer)} derives its result; write the result alone"
            + ("" if pictures else ", or train mathematics without pictures by --task math")
        )


def bare(answer: Any) -> Any:
    """Return an answer without the tags or the derivation that published ones have around it."""
    return answers.published_answer(answer) if isinstance(answer, str) else answer


def single(record: Record, question: str, answer: Any, **fields: Any) -> Row:
    """Return the row of one question, with the columns ``system`` and ``turns`` if there are."""
    earlier = record.get("turns")
    read = Dialogue() if earlier is None else dialogue(record, listed(earlier))
    read.system = system_of(record, read)
    read.turns.append(Turn("user", question))
    return asked(record, read, answer, **fields)


def system_of(record: Record, read: Dialogue) -> str | None:
    """Return the column ``system``, or else the text before the turns; blank ones are none."""
    told = None if record.get("system") is None else record.text("system")
    return told or read.system or None


def solution_of(record: Record) -> Any:
    """Return the column ``solution``, or else ``answer``.

    Raises UserError where both are there and differ, as a derivation and its result do, unless a
    setting names the one that counts or ``solution`` marks its answer by tags.
    """
    solution, answer = record.get("solution"), record.get("answer")
    if "solution" in record.columns or solution is None or answer is None:
        return record.value("solution", "answer")
    marked = isinstance(solution, str) and answers.last_answer(solution) is not None
    if not marked and bare(solution) != bare(answer):
        raise record.error(
            "solution and answer differ; name the one that is right by "
            "data.columns.solution=answer or data.columns.solution=solution"
        )
    return solution


def told_solution(record: Record) -> Any:
    """Return the column ``solution`` beside messages, None where a reply may answer instead.

    Raises UserError as ``solution_of``.
    """
    return None if record.get("solution") is None else solution_of(record)


def prompted(record: Record, prompt: Any, answer: Any, **fields: Any) -> Row:
    """Return the row of a prompt that is a text or a list of messages."""
    if isinstance(prompt, str):
        return single(record, prompt.strip(), answer, **fields)
    return asked(record, dialogue(record, prompt), answer, **fields)


def read_canonical(record: Record) -> Row:
    """Read {"id", "images", "question", "answer"}, with ``system`` and ``turns`` if there are."""
    return single(record, record.text("question"), record.value("answer", "solution"))


def read_trl(record: Record) -> Row:
    """Read {"prompt", "images", "solution"} of TRL."""
    return prompted(record, record.said("prompt"), solution_of(record))


def read_problem(record: Record) -> Row:
    """Read {"problem", "images", "answer"} of EasyR1, or {"problem", "solution"} of R1-V."""
    return single(record, record.text("problem"), solution_of(record))


def read_verl(record: Record) -> Row:
    """Read {"prompt", "images", "reward_model": {"ground_truth"}, "extra_info"} of verl."""
    truth = listed(record.value("reward_model"))
    answer = truth.get("ground_truth") if isinstance(truth, dict) else None
    if is_null(answer):
        raise record.error(f"reward_model has no ground_truth: {shown(truth)}")
    if isinstance(answer, float | Decimal) and not is_finite(answer):
        raise record.error(f"reward_model.ground_truth is no finite number: {answer}")
    extra = listed(record.get("extra_info"))
    index = extra.get("index") if isinstance(extra, dict) else None
    own = "id" in record.values or "id" in record.columns
    fields = {} if own or is_null(index) else {"id": str(index)}
    return prompted(record, record.said("prompt", "problem"), answer, **fields)


def read_conversations(record: Record) -> Row:
    """Read {"image", "conversations": [{"from", "value"}]} of LLaVA, VLM-R1 and ShareGPT."""
    read = dialogue(record, record.value("conversations"))
    read.system = system_of(record, read)
    return asked(record, read, record.get("solution") if "solution" in record.columns else None)


def read_messages(record: Record) -> Row:
    """Read {"messages": [{"role", "content"}]} of OpenAI and others."""
    return asked(record, dialogue(record, record.value("messages")), told_solution(record))


def read_swift(record: Record) -> Row:
    """Read {"messages", "images", "objects": {"ref", "bbox"}, "solution"} of ms-swift.

    ``<ref-object>`` in a message stands for the next of the names, and ``<bbox>`` in the last reply
    for a box, in pixels of the picture unless ``bbox_type`` is "norm1".
    """
    read = dialogue(record, record.value("messages"))
    names, boxes, unit = objects_of(record)
    name_objects(record, read, names)
    answer = told_solution(record)
    replied = bool(read.turns) and read.turns[-1].role == "assistant"
    marks = [turn.text.count("<bbox>") for turn in read.turns]
    in_reply = marks[-1] if replied else 0
    if sum(marks) > in_reply:
        raise record.error("<bbox> before the last reply: a box can be an answer alone")
    if answer is None and (boxes or in_reply):
        if replied and in_reply != len(boxes):
            raise record.error(f"{in_reply} marks <bbox> for {len(boxes)} boxes in objects.bbox")
        answer, read.turns = boxes, read.turns[:-1] if replied else read.turns
    return asked(record, read, answer, unit=unit)


def objects_of(record: Record) -> tuple[list[Any], list[Any], Unit | None]:
    """Return the names and boxes of ms-swift's ``objects``, and the unit if it is told."""
    objects = record.get("objects") or {}
    fields = objects if isinstance(objects, dict) else {"ref": objects}
    lists = [fields.get(name) or [] for name in ("ref", "bbox", "image_id")]
    units: Mapping[str, Unit] = {"real": "pixels", "norm1": "fractions"}
    told = fields.get("bbox_type")
    if not all(isinstance(value, list) for value in lists) or str(told) not in {"None", *units}:
        raise record.error(
            f"objects: expected lists ref and bbox, bbox_type real or norm1; got {shown(objects)}"
        )
    if any(lists[2]):
        raise record.error("objects.image_id: boxes are read in the first picture alone")
    return lists[0], lists[1], units.get(str(told))


def name_objects(record: Record, read: Dialogue, names: Sequence[Any]) -> None:
    """Put the names of objects, in order, where ``<ref-object>`` stands in the turns."""
    marks = sum(turn.text.count("<ref-object>") for turn in read.turns)
    if marks > len(names) or not all(isinstance(name, str) for name in names):
        raise record.error(f"{marks} marks <ref-object> for the names {list(names)!r:.60}")
    left = iter(names)
    for place, turn in enumerate(read.turns):
        first, *others = turn.text.split("<ref-object>")
        text = first + "".join(next(left) + other for other in others)
        read.turns[place] = Turn(turn.role, text)


def of_picture(entry: labelled.Labelled, number: int) -> Row:
    """Return the row of a question about an annotated picture."""
    record = Record(entry.columns, entry.where, number)
    pictures = (str(entry.picture),)
    numbers = entry.numbers()  # of the upright picture
    return Row(entry.id, entry.question, numbers, record, pictures, unit="fractions", upright=True)
