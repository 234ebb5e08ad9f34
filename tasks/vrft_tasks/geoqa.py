"""Geometry (GEOQA): solve a problem about a drawn figure and answer with a number.

``data_dir`` is the published training set, from the hub or from files with its columns,

    {"image": <the figure>, "problem": "As shown, AB ∥ CD, ∠1 = 35°. What is ∠2?",
     "solution": "<answer> 145° </answer>"}

or the published test list, whose paths start at its folder,

    {"image_path": "./Geo170K/images/test/0.png", "question": "...", "ground_truth": "2√{3}cm"}

or rows written by hand, with ``images``, ``question`` and ``answer``. Gold answers may hold roots,
fractions, pi, degrees, and Latin or Chinese units. One that is no number is compared as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from vrft import answers, mathverify, records, rewards, wrapping
from vrft.errors import UserError
from vrft.numbers import Quantity
from vrft.records import Record
from vrft.task import Reward, Task, check_template
from vrft.types import Completion, Prompt, Sample, Score, View

TEMPLATE = (
    "{question}\n"
    "First reason step by step between <think> and </think>, then give the result, a number, "
    "between <answer> and </answer>, exactly in this form:\n"
    "<think>your reasoning</think>\n<answer>the number</answer>"
)

GOLD_COLUMNS = ("answer", "solution", "ground_truth")


@dataclass(frozen=True, slots=True)
class Gold:
    """A true answer as the data writes it, with its quantity; None where it is no number."""

    text: str
    quantity: Quantity | None

    def equals(self, answer: str, tolerance: float) -> bool:
        """Return whether an answer is the same number, or the same words if this is no number."""
        if self.quantity is None:
            return wrapping.bare(answer).casefold() == wrapping.bare(self.text).casefold()
        given = Quantity.parse(answer)
        return given is not None and given.agrees(self.quantity, tolerance)


@dataclass(frozen=True)
class GeoQa(Task[Gold]):
    """Answering with the right number, however it is written; its unit may be left out."""

    data_dir: str = "leonardPKU/GEOQA_R1V_Train_8K"
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column -> the data's, as in ``data.columns.answer=reward_model.truth``."""
    template: str = TEMPLATE
    """The user's text; {question} is replaced."""
    system: str | None = None
    """The system text of every prompt; None: that of the model's template, if it has one."""
    reward: Literal["accuracy", "legacy"] = "accuracy"
    """The rule of a right answer. "legacy": as published, the last number that math-verify finds
    anywhere in the text counts, and so does an answer spelt exactly as the gold answer."""
    format: rewards.FormatRule = "strict"
    """Whether the reward "format" asks for our form of an answer, or for the published one."""
    tolerance: float = 0.0
    """The relative difference at which an answer is still right; 0: it has six digits right."""
    encoding: str = ""
    """The encoding of files that are not in UTF-8, such as gb18030."""
    config: str | None = None
    """The configuration of a data set that has several, as its page on the hub lists them."""
    allow_outside: bool = False
    """Whether rows may name pictures outside the folder of the data."""

    primary = "accuracy"
    data = "GEOQA_R1V_Train_8K's rows, or geoqa_test_prompts.jsonl beside its folder Geo170K"

    def __post_init__(self) -> None:
        check_template(self.template, "question")
        if not 0 <= self.tolerance < 1:
            raise UserError(f"task.tolerance: expected 0 or more and below 1, got {self.tolerance}")

    def samples(self, split: str) -> Sequence[Sample[Gold]]:
        rows = records.read(
            self.data_dir,
            split,
            columns=self.columns,
            encoding=self.encoding,
            config=self.config,
            allow_outside=self.allow_outside,
        )
        return records.read_each(rows, read_sample)

    def prompt(self, sample: Sample[Gold]) -> Prompt:
        text = self.template.replace("{question}", sample.question)
        return Prompt(text, sample.images, self.system)

    def reference(self, sample: Sample[Gold], views: tuple[View, ...]) -> str:
        return f"<think>the figure gives it</think>\n<answer>{sample.answer.text}</answer>"

    def rewards(self) -> Mapping[str, Reward[Gold]]:
        # `partial`, as a lambda could not be pickled for the workers that compute rewards.
        strict: Reward[Gold] = partial(accuracy, tolerance=self.tolerance)
        right = strict if self.reward == "accuracy" else legacy_reward
        return {self.reward: right, "format": rewards.FORMATS[self.format]}

    def score(self, sample: Sample[Gold], completion: Completion) -> Score:
        metrics = {
            "accuracy": accuracy(sample, completion, self.tolerance),
            "legacy_accuracy": legacy_accuracy(sample, completion),
        }
        return Score(metrics, readable_answer(sample.answer, completion.text))


def readable_answer(gold: Gold, text: str) -> str | None:
    """Return the last answer; None without one, or where it is no number though the truth is."""
    answer = answers.last_answer(text)
    if answer is None or (gold.quantity is not None and Quantity.parse(answer) is None):
        return None
    return answer


def accuracy(sample: Sample[Gold], completion: Completion, tolerance: float = 0.0) -> float:
    """Return 1 if the last answer is the gold number, whatever its spelling, else 0."""
    answer = readable_answer(sample.answer, completion.text)
    return float(answer is not None and sample.answer.equals(answer, tolerance))


def legacy_accuracy(sample: Sample[Gold], completion: Completion) -> float:
    """Return 1 if math-verify finds the gold number in the full text, tags or not, as published."""
    # The verdict is None for a gold answer that math-verify cannot read: as published, 0.
    verdict = mathverify.equivalent(sample.answer.text, completion.text, "default")
    return float(verdict is True)


def legacy_reward(sample: Sample[Gold], completion: Completion) -> float:
    """Return 1 if math-verify finds the gold number or the answer is spelt as the gold answer."""
    spelt = answers.legacy_answer(completion.text).strip() == sample.answer.text
    return 1.0 if spelt else legacy_accuracy(sample, completion)


def read_sample(record: Record) -> Sample[Gold]:
    """Read one row in any of the three forms."""
    given = record.value(*GOLD_COLUMNS)
    # JSON may hold the answer as a number; Record.text takes whole numbers only.
    written = str(given) if isinstance(given, float) else record.text(*GOLD_COLUMNS)
    text = answers.last_answer(written) or written
    if not text or "<answer>" in text:  # tags with nothing between them
        raise record.error(f"the answer is empty: {written!r:.60}; write it or remove the row")
    return Sample(
        record.id,
        record.text("question", "problem", "prompt"),
        Gold(text, Quantity.parse(text)),
        record.images("images", "image", "image_path"),
        columns=record.for_rewards(text if isinstance(given, str) else given),
    )
