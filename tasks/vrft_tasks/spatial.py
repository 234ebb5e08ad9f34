"""Spatial reasoning (SAT, CV-Bench): choose the option that is true of a picture.

``data_dir`` is a hub id, a file or a folder of parquet, json or jsonl with the rows of SAT,

    image_bytes: the files of one or more pictures,  question: "Is the lamp left of the chair?",
    answers: ["yes", "no"],  correct_answer: "no",  question_type: "..."

of CV-Bench,

    idx, image, question, choices: ["2", "3"],  answer: "(B)",  task: "Count",  source: "COCO"

or of your own: {"id", "images": [paths], "question", "options": [...], "answer": text or letter}.
Where the answer is a text, options are put in an order drawn from ``seed`` and the row's id, for
published rows tell the right one by its place. Where it is a letter they keep their order.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from vrft import answers, records
from vrft.errors import UserError
from vrft.records import Record
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, Scored, View

CHAT = (
    "{question}\n"
    "First reason between <think> and </think>, then give the option you choose, and nothing "
    "else, between <answer> and </answer>:\n"
    "<think>your reasoning</think>\n<answer>the option</answer>"
)
BASE = (
    "A user asks about pictures and an assistant answers. The assistant always reasons first, "
    "between <think> and </think>, and then gives one of the options between <answer> and "
    "</answer>.\n"
    "User: {question}\n"
    "Assistant: I go through it one step at a time.\n"
)
OPENING = "<think>"
"""A base model continues from here: it is part of the prompt, and of the answer as it is read."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Choice:
    """The options, the index of the right one, and whether they are asked by letters.

    ``source`` names the collection that the picture is from, which the official total of
    CV-Bench weighs by.
    """

    options: tuple[str, ...]
    right: int
    lettered: bool = False
    source: str = ""


@dataclass(frozen=True)
class Spatial(Task[Choice]):
    """Choose the right option, named by its letter or by its text.

    ``style`` "chat" asks in the chat template of an instruct model; "base" is plain text for a
    model without one to continue, and opens its <think>. Beside the accuracy stands
    ``legacy_accuracy``, by the published evaluator's reading.
    """

    data_dir: str = "array/SAT"
    columns: Mapping[str, str] = field(default_factory=dict)
    style: Literal["chat", "base"] = "chat"
    template: str | None = None
    """The user's text, or all of it for "base"; {question} is replaced. None: that of the style."""
    system: str | None = None
    rows: int | None = None
    """Only the first rows of a split; so few are fetched from the hub."""
    single_image: bool = False
    """Leave out rows with several pictures."""
    seed: int = 42

    primary = "accuracy"
    data = "rows of SAT or CV-Bench: a hub id, or files of parquet, json or jsonl"

    def __post_init__(self) -> None:
        if self.template is not None and "{question}" not in self.template:
            raise UserError("task.template: write {question} where the question belongs")
        if self.rows is not None and self.rows < 1:
            raise UserError(f"task.rows: expected at least 1, got {self.rows}")

    def samples(self, split: str) -> Sequence[Sample[Choice]]:
        rows = records.read(self.data_dir, split, columns=self.columns, limit=self.rows)
        found = (read_sample(row, self.seed) for row in rows)
        return [s for s in found if len(s.images) == 1 or not self.single_image]

    def prompt(self, sample: Sample[Choice]) -> Prompt:
        base = self.style == "base"
        template = self.template or (BASE if base else CHAT)
        text = template.replace("{question}", sample.question)
        return Prompt(text, sample.images, self.system, OPENING if base else "", raw=base)

    def reference(self, sample: Sample[Choice], views: tuple[View, ...]) -> str:
        name = named(sample.answer, sample.answer.right)
        return f"<think>I look at where things are.</think>\n<answer>{name}</answer>"

    def rewards(self) -> Mapping[str, Reward[Choice]]:
        return {"accuracy": self.accuracy, "format": self.follows_format}

    def score(self, sample: Sample[Choice], completion: Completion) -> Score:
        choice, text = sample.answer, self.spoken(completion)
        found = chosen(choice, text)
        metrics = {
            "accuracy": float(found == choice.right),
            "legacy_accuracy": float(legacy_right(choice, text)),
        }
        return Score(metrics, None if found is None else choice.options[found])

    def aggregates(self, graded: Sequence[Scored[Choice]]) -> Mapping[str, float]:
        by_source: defaultdict[str, list[float]] = defaultdict(list)
        for answer in graded:
            by_source[answer.sample.answer.source].append(answer.score.metrics["accuracy"])
        return official({source: fmean(values) for source, values in by_source.items()})

    def spoken(self, completion: Completion) -> str:
        """The whole answer: with the opening tag, which stands in a base model's prompt."""
        text = completion.text
        opened = self.style == "chat" or text.startswith(OPENING)
        return text if opened else OPENING + text

    def accuracy(self, sample: Sample[Choice], completion: Completion) -> float:
        """1 for the right option, else 0."""
        return float(chosen(sample.answer, self.spoken(completion)) == sample.answer.right)

    def follows_format(self, sample: Sample[Choice], completion: Completion) -> float:
        """1 for an answer that keeps the think-and-answer contract exactly, else 0."""
        return float(answers.follows_format(self.spoken(completion)))


def chosen(choice: Choice, text: str) -> int | None:
    """The index of the option that the last answer block names; None if it names no one option."""
    answer = answers.last_answer(text)
    return None if answer is None else answers.choice(answer, choice.options)


def named(choice: Choice, index: int) -> str:
    """An option as it is answered: "(B)" where options have letters, else its text."""
    return f"({LETTERS[index]})" if choice.lettered else choice.options[index]


def read_sample(row: Record, seed: int) -> Sample[Choice]:
    """One row of any of the schemas."""
    options = row.texts("options", "choices", "answers")
    gold = row.text("answer", "correct_answer", "solution")
    gold = answers.last_answer(gold) or gold
    if not 2 <= len(options) <= len(LETTERS) or not all(map(str.strip, options)):
        raise row.error(f"expected 2 to {len(LETTERS)} options, none empty; got {options!r:.80}")
    right = answers.choice(gold, options)
    if right is None:
        raise row.error(f"the answer {gold!r:.60} is none of the options {options!r:.80}")
    lettered = is_letter(gold, options)
    if not lettered:
        order = random.Random(f"{seed} {row.id}").sample(range(len(options)), len(options))
        options, right = tuple(options[old] for old in order), order.index(right)
    choice = Choice(options, right, lettered, str(row.get("source") or ""))
    question = ask(row.text("question", "prompt"), choice)
    subset = str(row.get("subset", "task", "question_type") or "")
    pictures = row.images("images", "image", "image_bytes")
    return Sample(row.id, question, choice, pictures, subset)


def is_letter(gold: str, options: Sequence[str]) -> bool:
    """Whether a gold answer is an option's letter, and not an option itself."""
    letter = gold.strip("(). ").upper()
    return letter in set(LETTERS) - {option.strip().upper() for option in options}


def ask(question: str, choice: Choice) -> str:
    """The question with its options, one a line, so that an option may hold commas."""
    marks = [f"({LETTERS[i]})" if choice.lettered else "-" for i in range(len(choice.options))]
    lines = [f"{mark} {option}" for mark, option in zip(marks, choice.options, strict=True)]
    return "\n".join([question, "Choose one of these options:", *lines])


def official(by_source: Mapping[str, float]) -> dict[str, float]:
    """CV-Bench's own totals from the accuracy on each source; none without all three of them.

    2D is the mean of ADE20K and COCO, 3D is Omni3D, and the total is the mean of 2D and 3D.
    """
    if not {"ADE20K", "COCO", "Omni3D"} <= by_source.keys():
        return {}
    flat, deep = (by_source["ADE20K"] + by_source["COCO"]) / 2, by_source["Omni3D"]
    return {"official_2d": flat, "official_3d": deep, "official_total": (flat + deep) / 2}


def legacy_right(choice: Choice, text: str) -> bool:
    """Whether the published evaluator counts an answer as right.

    It looks for a letter from A to F or an option, set apart by spaces: behind the word "answer",
    else at the start, else the last one anywhere. So "A chair" is option A, and of "not above but
    below" it reads "below".
    """
    letters = [form for c in "abcdef" for form in (c, c.upper(), f"({c})", f"({c.upper()})")]
    key = "|".join(map(re.escape, [*letters, *choice.options]))
    apart = rf"(\*\*)?(?P<key>{key})(\*\*)?([.,:\s]|$)"
    letter = LETTERS[choice.right].lower()
    right = (choice.options[choice.right].lower(), letter, f"({letter})")
    shown = legacy_shown(text)
    for before in ("(?i:answer):.{0,50}?(^|\\s)", "(?i:answer).{0,50}?(^|\\s)", "^", "(^|\\s)"):
        found = [match["key"].lower() for match in re.finditer(before + apart, shown)]
        if found:
            return found[-1] in right
    return False


def legacy_shown(text: str) -> str:
    """The first answer block whose content is one line, or else the whole text."""
    for head in text.split("</answer>")[:-1]:
        _, opened, answer = head.rpartition("<answer>")
        if opened and "\n" not in answer.strip():
            return answer.strip()
    return text
