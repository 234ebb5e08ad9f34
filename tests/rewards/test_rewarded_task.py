"""A task with further rewards is otherwise the task."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from vrft import rewards
from vrft.errors import UserError
from vrft.rewards.rewarded_task import TaskWithRewards, further_rewards, own_task, with_rewards
from vrft.task import Reward, Task
from vrft.types import Completion, Prompt, Sample, Score, View
from vrft_tasks.counting import Counting

SAMPLE = Sample("s1", "How many?", 3)


@dataclass(frozen=True)
class Exact(Task[int]):
    """How many? With a setting of its own."""

    metric: float = 1.0

    primary = "exact"
    data = "nothing"

    def samples(self, split: str) -> Sequence[Sample[int]]:
        return [SAMPLE]

    def prompt(self, sample: Sample[int]) -> Prompt:
        return Prompt(sample.question)

    def reference(self, sample: Sample[int], views: tuple[View, ...]) -> str:
        return str(sample.answer)

    def rewards(self) -> Mapping[str, Reward[int]]:
        return {"exact": exact}

    def score(self, sample: Sample[int], completion: Completion) -> Score:
        return Score({"exact": exact(sample, completion)}, completion.text)


def exact(sample: Sample[int], completion: Completion) -> float:
    return float(completion.text == str(sample.answer))


def brief(sample: Sample[int], completion: Completion) -> float:
    return -len(completion.text) / 100


def test_a_task_with_further_rewards_is_otherwise_the_task() -> None:
    task = Exact(metric=2.0)
    both: Any = with_rewards(task, {"brief": brief})
    assert list(both.rewards()) == ["exact", "brief"] and further_rewards(both) == {"brief"}
    assert both.score(SAMPLE, Completion("3")) == task.score(SAMPLE, Completion("3"))
    assert (both.primary, both.data, both.metric) == ("exact", "nothing", 2.0)
    assert both.samples("train") == task.samples("train")
    assert both.prompt(SAMPLE) == task.prompt(SAMPLE)
    assert both.reference(SAMPLE, ()) == task.reference(SAMPLE, ())
    assert both.boxes(SAMPLE) == () and both.region(SAMPLE) is None and both.aggregates([]) == {}
    again = pickle.loads(pickle.dumps(both))
    assert rewards.rewards_of(again, SAMPLE, Completion("3"))["brief"] == -0.01
    with pytest.raises(AttributeError):
        both.nothing  # noqa: B018


def test_every_method_of_a_task_is_handed_on() -> None:
    methods = {name for name, member in vars(Task).items() if callable(member) and name[0] != "_"}
    assert methods <= vars(TaskWithRewards).keys()


def test_a_task_without_further_rewards_stays_itself_unless_values_may_be_missing() -> None:
    task = Exact()
    assert with_rewards(task, {}) is task and not further_rewards(task)
    assert isinstance(with_rewards(task, {}, "none"), TaskWithRewards)
    with pytest.raises(UserError, match="the task has a reward of that name"):
        with_rewards(task, {"exact": brief})


def test_whose_task_it_is_does_not_depend_on_the_rewards_beside_it() -> None:
    assert own_task(with_rewards(Counting("demo"), {"brief": brief}))
    assert not own_task(with_rewards(Exact(), {"brief": brief}))
