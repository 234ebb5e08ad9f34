"""Math in words, without pictures: reason, then give the final answer in a box.

``data_dir`` is a data set of the hub, or files with its columns: open-s1, open-rs, MATH-lighteval
and the like,

    {"problem": "What is $2+2$?", "solution": "Two and two are ... so it is $\\boxed{4}$."}

test sets such as MATH-500 and AIME, which write the answer apart,

    {"problem": "...", "answer": "\\frac{1}{2}", "solution": "...", "subject": "Algebra"}

or rows written by hand, with ``question`` and ``answer``. ``subject`` or ``type`` names the part of
the data that reports count separately.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from vrft import answers, mathverify, records
from vrft.errors import UserError
from vrft.records import Record
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, View

SYSTEM = (
    "You solve problems that a user asks, in English. First reason step by step between <think> "
    "and </think>. Then say how it comes out between <answer> and </answer>, with the final result "
    "in a box, in this form:\n"
    "<think>your reasoning</think>\n<answer>\\boxed{your result}</answer>"
)

BOX = re.compile(r"\\boxed\s*+\{")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
DOLLARS = re.compile(r"\$+([^$]*)\$+")
LONGEST_RESULT = 1000
"""Characters; no result of any data set comes near it."""

SUBSETS = ("subset", "subject", "type", "subfield")


@dataclass(frozen=True, slots=True)
class Gold:
    """The true result as bare LaTeX, and how it is found where the data says so."""

    result: str
    solution: str = ""


@dataclass(frozen=True)
class Math(Task[Gold]):
    """Give a result that means the same as the true one, as math-verify judges.

    ``reward``: "accuracy", or "cosine", which also pays for short right answers and for long wrong
    ones; see ``length_reward``.
    """

    data_dir: str = "knoveleng/open-s1"
    columns: Mapping[str, str] = field(default_factory=dict)
    template: str = "{question}"
    """The user's text; {question} is replaced."""
    system: str | None = SYSTEM
    reward: Literal["accuracy", "cosine"] = "accuracy"
    longest: int = 3584
    """The length in tokens at which the reward "cosine" stops falling."""
    format: Literal["strict", "legacy"] = "strict"

    primary = "accuracy"
    data = "a hub id, or a folder or file of rows with a problem and its answer or solution"

    def __post_init__(self) -> None:
        if "{question}" not in self.template:
            raise UserError("task.template: write {question} where the question belongs")
        if self.longest < 1:
            raise UserError(f"task.longest: expected at least 1 token, got {self.longest}")

    def samples(self, split: str) -> Sequence[Sample[Gold]]:
        rows = records.read(self.data_dir, split, columns=self.columns)
        return [read_sample(record) for record in rows]

    def prompt(self, sample: Sample[Gold]) -> Prompt:
        text = self.template.replace("{question}", sample.question)
        return Prompt(text, system=self.system)

    def reference(self, sample: Sample[Gold], views: tuple[View, ...]) -> str:
        thought, result = sample.answer.solution or "the result is known", sample.answer.result
        return f"<think>\n{thought}\n</think>\n<answer>\n\\boxed{{{result}}}\n</answer>"

    def rewards(self) -> Mapping[str, Reward[Gold]]:
        cosine = partial(cosine_reward, longest=self.longest)
        return {
            self.reward: accuracy if self.reward == "accuracy" else cosine,
            "format": follows_format if self.format == "strict" else legacy_format,
        }

    def score(self, sample: Sample[Gold], completion: Completion) -> Score:
        legacy = mathverify.equivalent(sample.answer.result, completion.text, "lighteval")
        metrics = {
            "accuracy": accuracy(sample, completion) or 0.0,
            "legacy_accuracy": float(legacy is True),
        }
        result = final_result(completion.text)
        return Score(metrics, None if result is None else spelling(result))


def final_result(text: str) -> str | None:
    """The contents of the last box after the reasoning; None without one.

    A box inside reasoning that was never closed is no result: the answer was cut off before it.
    """
    _, closed, rest = text.rpartition("</think>")
    if not closed and "<think>" in text:
        return None
    return last_box(rest)


def last_box(text: str) -> str | None:
    """The contents of the last \\boxed{...}, stripped; None if it is empty, open or too long."""
    starts = [match.end() for match in BOX.finditer(text)]
    depth, start = 1, starts[-1] if starts else len(text)
    for brace in BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            result = text[start : brace.start()].strip()
            return result if 0 < len(result) <= LONGEST_RESULT else None
    return None


def spelling(result: str) -> str:
    """A result without what only changes its looks, so that equal ones are counted together."""
    result = re.sub(r"\\(?:left|right)(?![a-zA-Z])|\\[,;:!]|\$", "", result)
    result = re.sub(r"\\[dt]frac(?![a-zA-Z])", r"\\frac", result)
    return re.sub(r"(?<![a-zA-Z])\s+|\s+(?![a-zA-Z])", "", result).removesuffix(".")


def accuracy(sample: Sample[Gold], completion: Completion) -> float | None:
    """1 if the result means the same as the true one, else 0; None if that one is unreadable."""
    result = final_result(completion.text) or ""
    same = mathverify.equivalent(sample.answer.result, result)
    return None if same is None else float(same)


def cosine_reward(sample: Sample[Gold], completion: Completion, longest: int) -> float | None:
    """``length_reward`` of the completion; 0 without a result, None if the true one is unreadable.

    Without a result even a short answer earns nothing, or it would pay not to answer at all.
    """
    right = accuracy(sample, completion)
    if right is None:
        return None
    if final_result(completion.text) is None:
        return 0.0
    return length_reward(right == 1.0, completion.tokens, longest)


def length_reward(right: bool, tokens: int, longest: int) -> float:
    """From 1 to 2/3 for a right answer, from 1/3 to 0 for a wrong one, as its length grows.

    Half a cosine of the length in tokens, from 0 to ``longest``; beyond that it stays. Published
    is 1.5 r - 0.5, in characters, and going up again beyond: weight 3 here is weight 2 there.
    """
    short = (1 + math.cos(math.pi * min(tokens / longest, 1))) / 2
    return (2 + short) / 3 if right else short / 3


def follows_format(sample: Sample[Gold], completion: Completion) -> float:
    """1 for reasoning, then an answer with a box in it, and nothing beside; else 0.

    The chat templates of reasoning models open the reasoning themselves: the first tag may lack.
    """
    text = completion.text.lstrip()
    whole = text if text.startswith("<think>") else f"<think>{text}"
    return float(last_box(answers.answer_text(whole) or "") is not None)


def legacy_format(sample: Sample[Gold], completion: Completion) -> float:
    """1 for exactly one end of reasoning on a line of its own, the published rule; else 0."""
    return float(completion.text.count("\n</think>\n") == 1)


def read_sample(record: Record) -> Sample[Gold]:
    """One row; the true result is its answer, or else the last box of its solution."""
    found = (bare(written(record.get(name))) for name in ("answer", "solution"))
    result = next(filter(None, found), None)
    if result is None:
        raise record.error("no answer and no solution; write one or remove the row")
    solution = written(record.get("solution"))
    told = not any(tag in solution for tag in answers.TAGS)
    return Sample(
        record.id,
        record.text("problem", "question", "prompt"),
        Gold(result, solution if told else ""),
        subset=written(record.get(*SUBSETS)),
    )


def written(value: Any) -> str:
    """A text, a number or a list of them as text; "" for None."""
    if isinstance(value, list):
        return ", ".join(bare(written(item)) for item in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value).strip()


def bare(text: str) -> str:
    """The result that a text gives: its last answer block or box, or all of it without dollars."""
    text = answers.last_answer(text) or text
    dollars = DOLLARS.fullmatch(text)
    return last_box(text) or (dollars[1].strip() if dollars else text)
