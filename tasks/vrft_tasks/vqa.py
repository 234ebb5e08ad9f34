"""Questions and answers: anyone's rows about pictures, answered by an option, number, text or yes.

``data_dir`` is a hub id, a file or a folder with rows of any of ``vrft.formats``,
such as

    {"id": "a1", "images": ["a.jpg"], "question": "What is it made of?", "answer": "wood"}
    {"id": "a2", "images": ["b.jpg"], "question": "Which?", "options": ["a", "b"], "answer": "A"}

The kind of answer is found from the answers of the whole split, or set by ``kind``, which also lets
each row have its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vrft import answers
from vrft.errors import UserError
from vrft.formats import kept_reading
from vrft.formats.rows import Row
from vrft.progress import with_progress
from vrft.rows_task import RowsTask
from vrft.task import Reward
from vrft.types import Completion, Prompt, Sample, Score, View
from vrft_tasks._vqa import Gold, gold_of, readable, right
from vrft_tasks._vqa_answers import Kind, Rules
from vrft_tasks._vqa_kinds import (
    WORDS,
    KindSetting,
    counted,
    kinds_of,
    left_out,
    long_texts,
    other_kinds,
    same_letter,
)

CHAT = (
    "{question}\n"
    "First reason between <think> and </think>, then give {answer} between <answer> and "
    "</answer>, exactly in this form:\n"
    "<think>your reasoning</think>\n<answer>your answer</answer>"
)
BASE = (
    "A user asks about pictures and an assistant answers. The assistant always reasons first, "
    "between <think> and </think>, and then gives {answer} between <answer> and </answer>.\n"
    "{turns}User: {question}\n"
    "Assistant: I go through it one step at a time.\n"
)

ASKED: Mapping[Kind, str] = {
    "option": "the letter of the right option",
    "number": "the number, with its unit if it has one,",
    "yes_no": "yes or no",
    "text": "a short answer",
}
"""Kind -> the words for {answer} in the template."""


@dataclass(frozen=True)
class Vqa(RowsTask[Gold]):
    """Answering questions about pictures; the reward is 1 for the right answer."""

    kind: KindSetting | None = None
    """The kind of answer; None: the one that all rows of a split have; "by_row": each row's own."""
    accept_any: bool = False
    """Whether an answer that is a list holds several right ones, of which any is enough."""
    option_index: Literal[0, 1] | None = None
    """The number of the first option where answers are numbers that count the options; None: an
    answer is the letter or the text of its option."""

    primary = "accuracy"
    data = "rows of questions and answers: a hub id, a file or a folder"
    chat, base = CHAT, BASE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.option_index is not None and self.kind not in (None, "option", "by_row"):
            raise UserError(
                f"task.option_index={self.option_index} counts options, and task.kind={self.kind} "
                "reads none; leave one of them out"
            )

    @property
    def rules(self) -> Rules:
        """Return how answers of rows are taken."""
        return Rules(self.accept_any, self.option_index)

    def samples(self, split: str) -> Sequence[Sample[Gold]]:
        reading = self.read(split)
        kinds = kinds_of(reading.rows, self.kind, self.rules)
        rows = kept_reading.passing(reading)
        del reading  # the samples hold all that is needed
        return [
            read_sample(row, kind, self.rules)
            for row, kind in zip(with_progress(rows, f"samples of {split!r}"), kinds, strict=True)
        ]

    def describe(self, split: str) -> str:
        """Return in one line how a split is read: format, kind of answer and the first prompt."""
        reading = self.read(split)
        kinds = kinds_of(reading.rows, self.kind, self.rules)
        first = read_sample(reading.rows[0], kinds[0], self.rules)
        said = WORDS[kinds[0]]
        if self.kind == "by_row":
            said = f"of each row's own kind: {counted(Counter(kinds))}"
        why = "; ".join(self.notes(reading.rows, kinds))
        return self.reading_line(reading, f"answers are {said}{f' ({why})' if why else ''}", first)

    def notes(self, rows: Sequence[Row], kinds: Sequence[Kind]) -> list[str]:
        """Return what a user should know of the answers of rows and their kinds."""
        texts = [row for row, kind in zip(rows, kinds, strict=True) if kind == "text"]
        golds = (
            gold_of(row, kind, self.rules).text
            for row, kind in zip(rows, kinds, strict=True)
            if kind == "option"
        )
        notes = [same_letter(golds), long_texts(texts, self.rules), left_out(rows, self.rules)]
        if texts and self.kind is None:
            notes.insert(0, other_kinds(rows, self.rules))
        return [note for note in notes if note]

    def prompt(self, sample: Sample[Gold]) -> Prompt:
        gold = sample.answer
        return self.ask(sample, gold.asked(sample.question), {"answer": ASKED[gold.kind]})

    def reference(self, sample: Sample[Gold], views: tuple[View, ...]) -> str:
        return f"<think>I look at the picture.</think>\n<answer>{sample.answer.text}</answer>"

    def rewards(self) -> Mapping[str, Reward[Gold]]:
        # A method, as the reading depends on the style.
        return {"accuracy": accuracy, "format": self.follows_format}

    def score(self, sample: Sample[Gold], completion: Completion) -> Score:
        answer = answers.last_answer(completion.text)
        read = None if answer is None else readable(sample.answer, answer)
        return Score({"accuracy": accuracy(sample, completion)}, read)


def accuracy(sample: Sample[Gold], completion: Completion) -> float:
    """Return 1 if the last answer block is the right answer, else 0."""
    answer = answers.last_answer(completion.text)
    return float(answer is not None and right(sample.answer, answer))


def read_sample(row: Row, kind: Kind, rules: Rules) -> Sample[Gold]:
    """Return the sample of a row; raise UserError where an answer is of another kind."""
    gold = gold_of(row, kind, rules)
    return Sample(row.id, row.question, gold, row.files(), row.subset, row.columns())
