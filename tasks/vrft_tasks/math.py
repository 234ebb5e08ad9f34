"""Math in words, without pictures: reason, then give the final answer in a box.

``data_dir`` is a data set of the hub, or files with its columns: open-s1, open-rs, MATH-lighteval
and the like,

    {"problem": "What is $2+2$?", "solution": "Two and two are ... so it is $\\boxed{4}$."}

test sets such as MATH-500 and AIME, which write the answer apart,

    {"problem": "...", "answer": "\\frac{1}{2}", "solution": "...", "subject": "Algebra"}

rows of verl, or rows written by hand, with ``question`` and ``answer``. ``subject`` or ``type``
names the part of the data that reports count separately.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from vrft import answers, mathverify, records, wrapping
from vrft.errors import UserError
from vrft.numbers import compact
from vrft.rewards import FormatRule
from vrft.task import Reward, Task, check_template
from vrft.types import Completion, Prompt, Sample, Score, Turn, View
from vrft_tasks._math import Gold, bare, last_box, read_samples, told_by_words
from vrft_tasks._math_spelling import spelled

SYSTEM = (
    "You solve problems that a user asks, in English. First reason step by step between <think> "
    "and </think>. Then say how it comes out between <answer> and </answer>, with the final result "
    "in a box, in this form:\n"
    "<think>your reasoning</think>\n<answer>\\boxed{your result}</answer>"
)


@dataclass(frozen=True)
class Math(Task[Gold]):
    """Giving a result that means the same as the true one, as math-verify judges."""

    data_dir: str = "knoveleng/open-s1"
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column -> the data's, as in ``data.columns.answer=reward_model.truth``."""
    template: str = "{question}"
    """The user's text; {question} is replaced."""
    system: str | None = SYSTEM
    """The system text of every prompt; None: that of the model's template, if it has one."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """Question -> answer of worked examples, earlier turns of every prompt."""
    reward: Literal["accuracy", "cosine"] = "accuracy"
    """The reward of an answer. "cosine" also pays for short right ones and for long wrong ones."""
    longest: int = 3584
    """The length in tokens at which the reward "cosine" stops falling."""
    format: FormatRule = "strict"
    """Whether the reward "format" asks for our form of an answer, or for the published one."""
    encoding: str = ""
    """The encoding of files that are not in UTF-8, such as gb18030."""
    config: str | None = None
    """The configuration of a data set that has several, as its page on the hub lists them."""

    primary = "accuracy"
    data = "a hub id, or a folder or file of rows with a problem and its answer or solution"

    def __post_init__(self) -> None:
        check_template(self.template, "question")
        if self.longest < 1:
            raise UserError(f"task.longest: expected at least 1 token, got {self.longest}")

    def samples(self, split: str) -> Sequence[Sample[Gold]]:
        rows = records.read(
            self.data_dir,
            split,
            columns=self.columns,
            encoding=self.encoding,
            config=self.config,
        )
        return read_samples(rows)

    def prompt(self, sample: Sample[Gold]) -> Prompt:
        turns: list[Turn] = []
        for question, answer in self.examples.items():
            turns += [Turn("user", self.asked(question)), Turn("assistant", answer)]
        return Prompt(self.asked(sample.question), system=self.system, turns=tuple(turns))

    def asked(self, question: str) -> str:
        """Return the user's text that asks a question."""
        return self.template.replace("{question}", question)

    def reference(self, sample: Sample[Gold], views: tuple[View, ...]) -> str:
        thought, result = sample.answer.solution or "the result is known", sample.answer.result
        return f"<think>\n{thought}\n</think>\n<answer>\n\\boxed{{{result}}}\n</answer>"

    def rewards(self) -> Mapping[str, Reward[Gold]]:
        # `partial`, as a lambda could not be pickled for the workers that compute rewards.
        cosine = partial(cosine_reward, longest=self.longest)
        right: Reward[Gold] = accuracy if self.reward == "accuracy" else cosine
        form: Reward[Gold] = follows_format if self.format == "strict" else legacy_format
        return {self.reward: right, "format": form}

    def score(self, sample: Sample[Gold], completion: Completion) -> Score:
        legacy = mathverify.equivalent(sample.answer.result, completion.text, "lighteval")
        metrics = {
            # None, for a true result that cannot be read, counts as wrong: all samples count.
            "accuracy": accuracy(sample, completion) or 0.0,
            "legacy_accuracy": float(legacy is True),
        }
        result = final_result(completion.text)
        return Score(metrics, None if result is None else spelling(result))


def final_result(text: str) -> str | None:
    """Return the content of the last box after the reasoning; None without one.

    A box inside reasoning that was never closed is no result: the completion was cut off before
    its answer.
    """
    rest = text.rpartition("</think>")[2]
    return None if "<think>" in rest else last_box(rest)


def spelling(result: str) -> str:
    """Return a result without what changes only its looks, so that maj@k counts equal ones once."""
    result = spelled(wrapping.unified(result))
    result = re.sub(r"\\(?:left|right)(?![a-zA-Z])|\\[,;:!]|\$", "", result)
    result = re.sub(r"\\[dt]frac(?![a-zA-Z])", r"\\frac", result)
    # A space between two letters stays: in "\cdot x" it ends the name of the command.
    return re.sub(r"(?<![a-zA-Z])\s+|\s+(?![a-zA-Z])", "", result).removesuffix(".")


def accuracy(sample: Sample[Gold], completion: Completion) -> float | None:
    """Return 1 if the result means exactly the same as the true one, else 0.

    None where math-verify cannot read the true result, as then no answer could earn the reward.
    """
    gold = wrapping.unified(sample.answer.result)
    result = bare(wrapping.unified(final_result(completion.text) or ""))
    same = told_by_words(gold, result)
    if same is None:
        same = mathverify.equivalent(spelled(gold), spelled(result))
        if same is False:  # as of 6:00 PM and 6:00 \text{ PM}, and of a text in another frame
            same = plain_words(gold) == plain_words(result)
    return None if same is None else float(same)


def plain_words(result: str) -> str:
    """Return a result as it is read aloud: without LaTeX's frames, and blanks beside digits."""
    return compact(wrapping.bare(result))


def cosine_reward(sample: Sample[Gold], completion: Completion, longest: int) -> float | None:
    """Return the ``length_reward`` of a completion; 0 without a result, None as ``accuracy`` does.

    Without a result even a short answer earns nothing, or it would pay not to answer at all.
    """
    right = accuracy(sample, completion)
    # A wrong answer earns up to 1/3, so that an unreadable one must be told from a wrong one.
    if right is None:
        return None
    if final_result(completion.text) is None:
        return 0.0
    return length_reward(right == 1.0, completion.tokens, longest)


def length_reward(right: bool, tokens: int, longest: int) -> float:
    """Return 1 to 2/3 for a right answer, 1/3 to 0 for a wrong one, falling with its length.

    The fall is half a cosine of the length in tokens, from 0 to ``longest``, and stays there.
    Published is 1.5 r - 0.5, of the length in characters, and rising again beyond the longest:
    weight 3 here is weight 2 there.
    """
    short = (1 + math.cos(math.pi * min(tokens / longest, 1))) / 2
    return (2 + short) / 3 if right else short / 3


def follows_format(sample: Sample[Gold], completion: Completion) -> float:
    """Return 1 for reasoning, then an answer with a box in it, and nothing beside them; else 0.

    The chat templates of reasoning models open the reasoning themselves: the first tag may lack.
    """
    text = completion.text.lstrip()
    with_tag = text if text.startswith("<think>") else f"<think>{text}"
    return float(last_box(answers.answer_text(with_tag) or "") is not None)


def legacy_format(sample: Sample[Gold], completion: Completion) -> float:
    """Return 1 for exactly one end of reasoning on a line of its own, as published; else 0."""
    return float(completion.text.count("\n</think>\n") == 1)
