"""Shared rewards, all rewards of a completion, and TRL's reward signature both ways."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from vrft import rewards
from vrft.boxes import Box
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, View

SAMPLE = Sample("s1", "How many?", 3)


@dataclass(frozen=True)
class Counting(Task[int]):
    """How many? A reward that applies to odd answers only, too."""

    primary = "exact"
    data = "nothing"

    def samples(self, split: str) -> Sequence[Sample[int]]:
        return [SAMPLE, Sample("s2", "And now?", 4)]

    def prompt(self, sample: Sample[int]) -> Prompt:
        return Prompt(sample.question)

    def reference(self, sample: Sample[int], views: tuple[View, ...]) -> str:
        return f"<think>counted</think><answer>{sample.answer}</answer>"

    def rewards(self) -> Mapping[str, Reward[int]]:
        return {"exact": exact, "odd": odd, "format": rewards.follows_format}

    def score(self, sample: Sample[int], completion: Completion) -> Score:
        return Score({"exact": exact(sample, completion)}, completion.text)


def exact(sample: Sample[int], completion: Completion) -> float:
    return float(f"<answer>{sample.answer}</answer>" in completion.text)


def odd(sample: Sample[int], completion: Completion) -> float | None:
    return 1.0 if sample.answer % 2 else None


def test_a_completion_has_every_reward_by_name_and_none_where_it_does_not_apply() -> None:
    task = Counting()
    three, four = task.samples("train")
    good = Completion("<think>1, 2, 3</think><answer>3</answer>")
    assert rewards.rewards_of(task, three, good) == {"exact": 1.0, "odd": 1.0, "format": 1.0}
    assert rewards.rewards_of(task, four, good) == {"exact": 0.0, "odd": None, "format": 1.0}


def test_the_two_format_rewards_differ_on_empty_tags_and_outer_whitespace() -> None:
    empty = Completion("<think></think><answer></answer>")
    spaced = Completion("<think>a</think><answer>b</answer>\n")
    assert rewards.follows_format(SAMPLE, empty) == 0.0
    assert rewards.legacy_format(SAMPLE, empty) == 1.0
    assert rewards.follows_format(SAMPLE, spaced) == 1.0
    assert rewards.legacy_format(SAMPLE, spaced) == 0.0


def test_an_unreadable_box_scores_zero() -> None:
    # half of the true box: 0.1 of 0.2
    assert rewards.overlap(Box(0, 0, 0.2, 1), Box(0, 0, 0.1, 1)) == pytest.approx(0.5)
    assert rewards.overlap(Box(0, 0, 0.2, 1), None) == 0.0


def trl_accuracy(
    completions: list[list[dict[str, str]]], solution: list[str], **kwargs: Any
) -> list[float | None]:
    """Reward the answer in the way that people write rewards for TRL."""
    found = [re.search(r"<answer>(.*?)</answer>", c[0]["content"]) for c in completions]
    return [None if m is None else float(m[1] == s) for m, s in zip(found, solution, strict=True)]


def test_a_reward_written_for_trl_runs_unchanged() -> None:
    reward = rewards.from_trl(trl_accuracy, lambda sample: {"solution": str(sample.answer)})
    assert reward(SAMPLE, Completion("<answer>3</answer>")) == 1.0
    assert reward(SAMPLE, Completion("<answer>4</answer>")) == 0.0
    assert reward(SAMPLE, Completion("three")) is None


def test_a_trl_reward_on_plain_strings_runs_unchanged() -> None:
    def length(completions: list[str], **kwargs: Any) -> list[float]:
        return [float(len(text)) for text in completions]

    reward = rewards.from_trl(length, lambda sample: {}, conversational=False)
    assert reward(SAMPLE, Completion("four")) == 4.0


def test_a_reward_of_ours_has_trls_signature() -> None:
    task = Counting()
    function = rewards.to_trl("exact", task.rewards()["exact"], task.samples("train"))
    assert function.__name__ == "exact"  # what TRL calls it in its logs
    texts = ["<answer>3</answer>", "<answer>3</answer>"]
    conversations = [[{"role": "assistant", "content": text}] for text in texts]
    for completions in (texts, conversations):
        given = function(
            prompts=["?", "?"], completions=completions, sample_id=["s1", "s2"], step=7
        )
        assert given == [1.0, 0.0]


def test_an_exported_reward_sees_the_views() -> None:
    def width(sample: Sample[int], completion: Completion) -> float:
        return float(completion.views[0].width)

    function = rewards.to_trl(
        "width", width, [SAMPLE], views=lambda sample: (View(56, 28, "pixels"),)
    )
    assert function(completions=["x"], sample_id=["s1"]) == [56.0]


def test_an_exported_reward_sees_the_length_in_tokens() -> None:
    def length(sample: Sample[int], completion: Completion) -> float:
        return float(completion.tokens)

    function = rewards.to_trl("length", length, [SAMPLE])
    given = function(["x", "y"], ["s1", "s1"], completion_ids=[[5, 6, 7], [8]])
    assert given == [3.0, 1.0]
    assert function(["x"], ["s1"]) == [0.0]  # not known


def test_export_and_import_cancel_out() -> None:
    task = Counting()
    exported = rewards.to_trl("exact", exact, task.samples("train"))
    again = rewards.from_trl(exported, lambda sample: {"sample_id": sample.id})
    for text in ("<answer>3</answer>", "<answer>5</answer>"):
        assert again(SAMPLE, Completion(text)) == exact(SAMPLE, Completion(text))
