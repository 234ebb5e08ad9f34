"""The base of tasks on anyone's rows: the settings by which these are read, and their prompts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Protocol, TypeVar

from vrft.base_prompts import Style, base_prompt, beginning, filled, format_reward
from vrft.errors import UserError
from vrft.formats import kept_reading
from vrft.formats.recognition import FormatName, Reading
from vrft.records.nested import shown
from vrft.records.record import is_null, number_text
from vrft.task import Task, check_template
from vrft.types import Completion, Prompt, Sample, Turn

PLACEHOLDER = re.compile(r"(?<![\w}])\{([A-Za-z_]\w*)\}")
"""A name in braces of a template; \\boxed{x} of LaTeX has none."""
OURS = ("question", "answer", "form", "turns")
"""The names in a template that stand for no column."""

LOOKED_AT = 100
"""Rows of which the columns that are left out are told."""

MOST_NAMES = 6
"""Columns that a line lists."""


class RowAnswer(Protocol):
    """A true answer, with what else of its row belongs to the prompt."""

    @property
    def system(self) -> str | None:
        """Return the row's system text, None where it has none."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Return the row's earlier turns."""


R = TypeVar("R", bound=RowAnswer)


@dataclass(frozen=True)
class RowsTask(Task[R]):
    """A task on rows of any of ``vrft.formats``.

    Earlier turns and a system text of a row are kept in each style of prompt, of which ``chat`` and
    ``base`` are the templates.
    """

    data_dir: str
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column -> the data's, as in ``data.columns.answer=reward_model.truth``."""
    data_format: FormatName | None = None
    """The format of the rows; None: the one that their columns tell."""
    encoding: str = ""
    """The encoding of texts without a byte order mark; UTF-8 unless given."""
    config: str | None = None
    """The configuration of a data set that has several, as its page on the hub lists them."""
    allow_outside: bool = False
    """Whether rows may name pictures outside the folder of the data."""
    rows: int | None = None
    """Only the first rows of a split; from the hub no more are fetched."""
    style: Style = "chat"
    """The kind of prompt: "chat" asks in the chat template of an instruct model; "base" is plain
    text for a model without one to continue, and opens its <think>."""
    template: str | None = None
    """The user's text, or all of it for "base"; None: that of the style.

    {question} is replaced, {answer} by what the kind of answer asks for, {form} by the form of
    boxes and points, and for "base" {turns} by the row's earlier turns; any other name, as {hint},
    by the row's column of that name, or by nothing where a row has no value in it.
    """
    system: str | None = None
    """A system text for the rows that have none."""

    chat: ClassVar[str]
    base: ClassVar[str]

    def __post_init__(self) -> None:
        if self.template is not None:
            check_template(self.template, "question")
        if self.rows is not None and self.rows < 1:
            raise UserError(f"task.rows: expected at least 1, got {self.rows}")

    def read(self, split: str) -> Reading:
        """Read the rows of a split, without opening a picture.

        Raises UserError for a template with the name of a column that the first row has not.
        """
        reading = kept_reading.read(
            self.data_dir,
            split,
            name=self.data_format,
            columns=self.columns,
            limit=self.rows,
            encoding=self.encoding,
            config=self.config,
            allow_outside=self.allow_outside,
        )
        there = reading.rows[0].record.plain() if reading.rows else {}
        for name in self.asked_columns() if reading.rows else ():
            if name not in there:
                raise reading.rows[0].record.error(
                    f"no column {name!r}, which task.template names; there is "
                    f"{', '.join(there):.200}"
                )
        return reading

    def asked_columns(self) -> list[str]:
        """Return the names of columns in the template, in order."""
        names = PLACEHOLDER.findall(self.template or "")
        return [name for name in dict.fromkeys(names) if name not in OURS]

    def column_texts(self, sample: Sample[R]) -> dict[str, str]:
        """Return the values of a row's columns that the template names, as texts.

        Raises UserError for a list or an object, which have no text.
        """
        texts = {}
        for name in self.asked_columns():
            value = sample.columns.get(name)
            if is_null(value):
                texts[name] = ""
            elif isinstance(value, str):
                texts[name] = value.strip()
            elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
                texts[name] = number_text(value)
            else:
                raise UserError(
                    f"sample {sample.id!r}: the column {name!r}, which task.template names, is no "
                    f"text: {shown(value)}; name another"
                )
        return texts

    def reading_line(self, reading: Reading, answers: str, first: Sample[R]) -> str:
        """Return in one line how rows are read, with what their ``answers`` are, and asked."""
        asked = self.asked_columns()
        columns = [name for name in reading.left_out(LOOKED_AT) if name not in asked]
        more = ", ..." if len(columns) > MOST_NAMES else ""
        unread = f"; columns left out: {', '.join(columns[:MOST_NAMES])}{more}" if columns else ""
        prompt = beginning(self.prompt(first))
        return f"read as {reading.title}, {answers}{unread}; first prompt: {prompt}"

    def ask(self, sample: Sample[R], question: str, words: Mapping[str, str]) -> Prompt:
        """Return the prompt with a question; ``words`` stand for others of the template's names.

        Names of columns stand for the row's values. Braces in what is put in stay.
        """
        own = sample.answer
        system = self.system if own.system is None else own.system
        given = {**self.column_texts(sample), **words}
        if self.style == "base":
            template = self.base if self.template is None else self.template
            return base_prompt(
                template, given, question, images=sample.images, system=system, turns=own.turns
            )
        text = filled(self.chat if self.template is None else self.template, given, question)
        return Prompt(text, sample.images, system, turns=own.turns)

    def follows_format(self, sample: Sample[R], completion: Completion) -> float:
        """Return 1 for an answer that keeps the think-and-answer contract exactly, else 0."""
        return format_reward(self.style, completion)
