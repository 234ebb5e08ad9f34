"""The rewards and scores of a task, with every value checked."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch

from vrft import mathverify, rewards
from vrft.errors import UserError
from vrft.mathverify import verdicts
from vrft.mathverify.worker import Verdict
from vrft.task import Reward, Task
from vrft.types import Completion, Group, Prompt, Rollout, Sample, Score, View
from vrft_tasks._math import Gold
from vrft_tasks.math import Math

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


@dataclass(frozen=True)
class Giving(Counting):
    """The task whose reward and score are whatever the tests say."""

    reward: Any = 0.0
    metric: Any = 0.0
    parsed: Any = None
    ratio: Any = (1.0, 1.0)

    def rewards(self) -> Mapping[str, Reward[int]]:
        return {"given": lambda sample, completion: self.reward}

    def score(self, sample: Sample[int], completion: Completion) -> Score:
        return Score({"exact": self.metric}, self.parsed, {"iou": self.ratio})


def group_of(*texts: str) -> Group[int]:
    """Return the group of some completions of the sample."""
    rollouts = tuple(Rollout(Completion(text), (1, 2), True) for text in texts)
    return Group(SAMPLE, Prompt(SAMPLE.question), rollouts)


@dataclass(frozen=True)
class Failing(Counting):
    """The task whose reward divides by the length of an answer."""

    def rewards(self) -> Mapping[str, Reward[int]]:
        return {"short": lambda sample, completion: 1 / len(completion.text)}


@pytest.mark.parametrize(
    "compute",
    [
        lambda task: rewards.rewards_of(task, SAMPLE, Completion("")),
        lambda task: rewards.group_rewards(task, group_of("a", "")),
    ],
)
def test_an_exception_of_a_reward_has_a_note_of_its_name_and_the_sample(compute: Any) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        compute(Failing())
    assert caught.value.__notes__ == ["in reward 'short', sample 's1'"]


@pytest.mark.parametrize(
    "value", [True, 1, np.float32(1), np.bool_(True), np.int64(1), torch.tensor(1.0)]
)
def test_a_reward_may_be_a_number_of_any_library(value: Any) -> None:
    task = Giving(reward=value)
    (one,) = rewards.rewards_of(task, SAMPLE, Completion("x")).values()
    (of_group,) = rewards.group_rewards(task, group_of("x", "y")).values.values()
    assert (one, of_group) == (1.0, [1.0, 1.0])
    assert type(one) is float


NO_REWARDS = [
    # numbers that would reach the weights
    (math.nan, "got nan of type float"),
    (-math.inf, "got -inf of type float"),
    (np.float32("nan"), r"got np.float32\(nan\)"),
    (torch.tensor(math.inf), r"got tensor\(inf\)"),
    (10**400, "got 1000"),
    (1e30, r"got 1e\+30 of type float"),  # its square is no float32
    # no numbers
    ("0.5", "got '0.5' of type str"),
    (Decimal("0.5"), r"got Decimal\('0.5'\)"),
    ([0.5], r"got \[0.5\] of type list"),
    ((), r"got \(\) of type tuple"),
    (np.array([0.5]), r"got array\(\[0.5\]\)"),
    ({"reward": 1}, "got {'reward': 1} of type dict"),
    (1j, "got 1j of type complex"),
]


@pytest.mark.parametrize(("value", "message"), NO_REWARDS)
def test_a_value_that_is_no_reward_is_one_line_with_reward_sample_and_value(
    value: Any, message: str
) -> None:
    task = Giving(reward=value)
    calls = [
        lambda: rewards.rewards_of(task, SAMPLE, Completion("three")),
        lambda: rewards.group_rewards(task, group_of("three", "four")),
    ]
    for call in calls:
        with pytest.raises(UserError, match=f"^reward 'given', sample 's1': {message}") as caught:
            call()
        assert "for the answer 'three'; expected a finite number" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_numbers_that_are_not_finite_count_as_none_where_that_is_asked_for() -> None:
    given = rewards.group_rewards(Giving(reward=math.nan), group_of("a", "b"), missing="none")
    assert given.values == {"given": [None, None]}
    assert given.log.metrics == {"rewards/given/missing": [1.0]}
    assert given.missing == {"given": frozenset({0, 1})}
    none = rewards.group_rewards(Giving(reward=None), group_of("a", "b"), missing="none")
    assert none.log.metrics == {"rewards/given/missing": [0.0]}
    with pytest.raises(UserError, match="of type str"):
        rewards.group_rewards(Giving(reward="nan"), group_of("a"), missing="none")


@pytest.mark.parametrize(
    ("parsed", "plain"),
    [
        (None, None),
        ("three", "three"),
        (3, 3),
        (np.float32(0.5), 0.5),
        ((np.float64(0.5), 1.0), [0.5, 1.0]),
        (np.array([0.5, 1.0]), [0.5, 1.0]),
        (torch.tensor(2), 2),
    ],
)
def test_a_score_is_what_json_can_hold(parsed: Any, plain: Any) -> None:
    task = Giving(metric=np.bool_(True), parsed=parsed, ratio=(np.float32(0.5), 1))
    score = rewards.score_of(task, SAMPLE, Completion("x"))
    assert score == Score({"exact": 1.0}, plain, {"iou": (0.5, 1.0)})
    assert type(score.metrics["exact"]) is float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metric": math.nan}, "exact is nan of type float; expected a finite number"),
        ({"metric": "1"}, "exact is '1' of type str"),
        ({"metric": None}, "exact is None of type NoneType"),
        ({"ratio": (1.0, math.inf)}, "iou is inf"),
        ({"parsed": math.nan}, "parsed holds nan of type float"),
        ({"parsed": [1.0, math.inf]}, "parsed holds inf of type float"),
        ({"parsed": Decimal(1)}, "parsed holds Decimal"),
        ({"parsed": {1, 2}}, "parsed holds {1, 2} of type set"),
    ],
)
def test_a_score_that_no_report_could_hold_is_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^score, sample 's1', answer 'x': {message}"):
        rewards.score_of(Giving(**given), SAMPLE, Completion("x"))


def test_a_score_of_another_type_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "score", lambda *_: {"exact": 1.0})
    with pytest.raises(UserError, match=r"score\(\) gave .* of type dict; return a Score"):
        rewards.score_of(Counting(), SAMPLE, Completion("x"))


def brief(sample: Sample[int], completion: Completion) -> float:
    return -len(completion.text) / 100


def test_answers_that_math_verify_judges_have_a_budget_and_their_share_over_it_is_a_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def ask(seconds: float, *, answer: str, **request: Any) -> Verdict:
        asked.append(answer)
        return Verdict(True, 5.0)

    monkeypatch.setattr(verdicts.worker, "ask", ask)
    monkeypatch.setattr(verdicts, "workers", lambda: 2)
    verdicts.forget()
    mathverify.equivalent("1", "1")  # a run asks at its start
    sample: Sample[Any] = Sample("m1", "?", Gold("7"))
    texts = [f"<answer>\\boxed{{{n}}}</answer>" for n in range(6)]
    with mathverify.budget(15.0):
        given = rewards.group_rewards(Math(), replace(group_of(*texts), sample=sample))
        one = replace(group_of("<answer>\\boxed{9}</answer>"), sample=sample)
        again = rewards.group_rewards(Math(), one)
    # Two at a time: 10 seconds, then 20, which is the end of it.
    assert given.values["accuracy"] == [1.0] * 4 + [0.0] * 2
    assert given.log.metrics["rewards/accuracy/over_budget"] == [pytest.approx(2 / 6)]
    assert again.log.metrics["rewards/accuracy/over_budget"] == [1.0]
    assert sorted(asked[1:]) == ["0", "1", "2", "3"]
    # The score's verdict of the same rule is remembered; without a budget nothing is left out.
    asked.clear()
    score = rewards.score_of(Math(), sample, Completion(texts[0]))
    assert score.metrics["accuracy"] == 1.0
    assert asked == [texts[0]]  # by lighteval's rule, for the legacy metric
    verdicts.forget()


def test_rewards_of_a_users_task_are_called_in_turn_by_this_thread() -> None:
    threads: list[threading.Thread] = []

    def slow(sample: Sample[int], completion: Completion) -> float:
        threads.append(threading.current_thread())
        return 0.0

    task = rewards.with_rewards(Counting(), {"slow": slow})
    rewards.group_rewards(task, group_of("a", "b", "c"))
    assert threads == [threading.main_thread()] * 3
