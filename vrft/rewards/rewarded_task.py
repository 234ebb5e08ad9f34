"""A task with further rewards beside its own, as functions of the user's are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from vrft.boxes import Box
from vrft.errors import UserError
from vrft.rewards.origins import is_own
from vrft.task import Reward, Task
from vrft.types import A, Completion, Prompt, Sample, Score, Scored, View

if TYPE_CHECKING:
    from vrft.masks import Region  # which would load numpy

Missing = Literal["error", "none"]
"""The setting ``algorithm.missing_rewards``: whether NaN stops a run or counts as None."""


def with_rewards(
    task: Task[A], further: Mapping[str, Reward[A]], missing: Missing = "error"
) -> Task[A]:
    """Return the task with further rewards beside its own.

    Where ``missing`` is "none", numbers that are not finite count as None in ``rewards_of``. Raises
    UserError for a name that the task's own rewards have already.
    """
    for name in further:
        if name in task.rewards():
            raise UserError(
                f"reward {name!r}: the task has a reward of that name; rename the function"
            )
    return TaskWithRewards(task, further, missing) if further or missing == "none" else task


def further_rewards(task: Task[Any]) -> frozenset[str]:
    """Return the names of the rewards that ``with_rewards`` has put beside the task's own."""
    return frozenset(task.further) if isinstance(task, TaskWithRewards) else frozenset()


class TaskWithRewards(Task[A]):
    """A task with further rewards and the setting of missing ones; the rest is the task's own."""

    def __init__(
        self, task: Task[A], further: Mapping[str, Reward[A]], missing: Missing = "error"
    ) -> None:
        self.task, self.further, self.missing = task, further, missing
        self.primary, self.data = task.primary, task.data

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the task that is none of Task's: a setting, or a method."""
        if name == "task":  # a copy that pickle has begun, without attributes so far
            raise AttributeError(name)
        return getattr(self.task, name)

    def samples(self, split: str) -> Sequence[Sample[A]]:
        return self.task.samples(split)

    def prompt(self, sample: Sample[A]) -> Prompt:
        return self.task.prompt(sample)

    def reference(self, sample: Sample[A], views: tuple[View, ...]) -> str:
        return self.task.reference(sample, views)

    def rewards(self) -> Mapping[str, Reward[A]]:
        return {**self.task.rewards(), **self.further}

    def score(self, sample: Sample[A], completion: Completion) -> Score:
        return self.task.score(sample, completion)

    def aggregates(self, scored: Sequence[Scored[A]]) -> Mapping[str, float]:
        return self.task.aggregates(scored)

    def boxes(self, sample: Sample[A]) -> tuple[Box, ...]:
        return self.task.boxes(sample)

    def boxed_picture(self, sample: Sample[A]) -> int:
        return self.task.boxed_picture(sample)

    def region(self, sample: Sample[A]) -> Region | None:
        return self.task.region(sample)


def own_task(task: Task[Any]) -> bool:
    """Return whether the toolkit defines a task, whatever rewards stand beside its own."""
    return is_own(type(task.task if isinstance(task, TaskWithRewards) else task))
