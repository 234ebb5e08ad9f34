"""Spatial reasoning (SAT, CV-Bench): choose the option that is true of a picture.

``data_dir`` is a hub id, a file or a folder of parquet, json or jsonl with the rows of SAT,

    image_bytes: the files of one or more pictures,  question: "Is the lamp left of the chair?",
    answers: ["yes", "no"],  correct_answer: "no",  question_type: "..."

of CV-Bench,

    idx, image, question, choices: ["2", "3"],  answer: "(B)",  task: "Count",  source: "COCO"

or of your own: {"id", "images": [paths], "question", "options": [...], "answer": text or letter}.
Where the answer is a text, options are put in an order drawn from ``seed`` and the row's id, for
published rows tell the right one by its place. Where it is a letter, or the question lists the
options by letters, they keep their order; else no letter names an option.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Literal

from vrft import answers, records
from vrft.base_prompts import OPENING, Style, format_reward, full_text
from vrft.errors import UserError
from vrft.task import Reward, Task, check_template
from vrft.types import Completion, Prompt, Sample, Score, Scored, View
from vrft_tasks._spatial import Choice, legacy_right, named, official, read_sample

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


@dataclass(frozen=True)
class Spatial(Task[Choice]):
    """Choosing the right option, named by its letter or by its text.

    Beside the accuracy stands ``legacy_accuracy``, by the published evaluator's reading.
    """

    data_dir: str = "array/SAT"
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column -> the data's, as in ``data.columns.answer=reward_model.truth``."""
    style: Style = "chat"
    """The kind of prompt: "chat" asks in the chat template of an instruct model; "base" is plain
    text for a model without one to continue, and opens its <think>."""
    template: str | None = None
    """The user's text, or all of it for "base"; {question} is replaced. None: that of the style."""
    system: str | None = None
    """The system text of every prompt; None: that of the model's template, if it has one."""
    rows: int | None = None
    """Only the first rows of a split; from the hub no more are fetched."""
    single_image: bool = False
    """Whether to leave out rows with several pictures."""
    option_index: Literal[0, 1] | None = None
    """The number of the first option where answers are numbers that count the options; None: an
    answer is the letter or the text of its option."""
    seed: int = 42
    """The seed by which options without letters are put in order."""
    encoding: str = ""
    """The encoding of files that are not in UTF-8, such as gb18030."""
    config: str | None = None
    """The configuration of a data set that has several, as its page on the hub lists them."""
    allow_outside: bool = False
    """Whether rows may name pictures outside the folder of the data."""

    primary = "accuracy"
    data = "rows of SAT or CV-Bench: a hub id, or files of parquet, json or jsonl"

    def __post_init__(self) -> None:
        if self.template is not None:
            check_template(self.template, "question")
        if self.rows is not None and self.rows < 1:
            raise UserError(f"task.rows: expected at least 1, got {self.rows}")

    def samples(self, split: str) -> Sequence[Sample[Choice]]:
        rows = records.read(
            self.data_dir,
            split,
            columns=self.columns,
            limit=self.rows,
            encoding=self.encoding,
            config=self.config,
            allow_outside=self.allow_outside,
        )
        read_one = partial(read_sample, seed=self.seed, option_index=self.option_index)
        # `rows` limits what is fetched, before rows with several pictures are left out.
        samples = records.read_each(rows, read_one)
        return [s for s in samples if len(s.images) == 1 or not self.single_image]

    def prompt(self, sample: Sample[Choice]) -> Prompt:
        base = self.style == "base"
        template = self.template or (BASE if base else CHAT)
        text = template.replace("{question}", sample.question)
        return Prompt(text, sample.images, self.system, OPENING if base else "", raw=base)

    def reference(self, sample: Sample[Choice], views: tuple[View, ...]) -> str:
        name = named(sample.answer, sample.answer.right)
        return f"<think>I look at where things are.</think>\n<answer>{name}</answer>"

    def rewards(self) -> Mapping[str, Reward[Choice]]:
        # Methods, as both readings depend on the style.
        return {"accuracy": self.accuracy, "format": self.follows_format}

    def score(self, sample: Sample[Choice], completion: Completion) -> Score:
        choice, text = sample.answer, full_text(self.style, completion)
        index = chosen(choice, text)
        metrics = {
            "accuracy": float(index == choice.right),
            "legacy_accuracy": float(legacy_right(choice, text)),
        }
        return Score(metrics, None if index is None else choice.options[index])

    def aggregates(self, scored: Sequence[Scored[Choice]]) -> Mapping[str, float]:
        # Accuracy on each collection of pictures; CV-Bench's total is a mean of such means.
        by_source: defaultdict[str, list[float]] = defaultdict(list)
        for answer in scored:
            by_source[answer.sample.answer.source].append(answer.score.metrics["accuracy"])
        return official({source: fmean(values) for source, values in by_source.items()})

    def accuracy(self, sample: Sample[Choice], completion: Completion) -> float:
        """Return 1 for the right option, else 0."""
        return float(
            chosen(sample.answer, full_text(self.style, completion)) == sample.answer.right
        )

    def follows_format(self, sample: Sample[Choice], completion: Completion) -> float:
        """Return 1 for an answer that keeps the think-and-answer contract exactly, else 0."""
        return format_reward(self.style, completion)


def chosen(choice: Choice, text: str) -> int | None:
    """Return the index of the only option that the last answer block names; None otherwise."""
    answer = answers.last_answer(text)
    return None if answer is None else answers.choice(answer, choice.options, choice.lettered)
