"""Rewards that tasks share, and the rewards and scores of a task with every value checked.

Numbers of Python, NumPy and torch become floats; any other value is refused in one line, before it
reaches a weight or a file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from vrft import answers, mathverify
from vrft.boxes import Box, iou
from vrft.errors import UserError
from vrft.rewards.origins import is_own
from vrft.rewards.trl import GroupReward, RewardLog, TrainerState
from vrft.rewards.values import LARGEST, described, noting, to_json, to_number
from vrft.task import Reward, Task
from vrft.types import A, Completion, Group, Prompt, Sample, Score, Scored, View

if TYPE_CHECKING:
    from vrft.masks import Region  # which would load numpy

Missing = Literal["error", "none"]
"""The setting ``algorithm.missing_rewards``: whether NaN stops a run or counts as None."""

FormatRule = Literal["strict", "legacy"]
"""The setting ``task.format``: our rule for the form of an answer, or the published one."""


def follows_format(sample: Sample[A], completion: Completion) -> float:
    """Return 1 for a completion that keeps the think-and-answer contract exactly, else 0."""
    return float(answers.follows_format(completion.text))


def legacy_format(sample: Sample[A], completion: Completion) -> float:
    """Return 1 for a completion that the published format rule accepts, else 0."""
    return float(answers.legacy_format(completion.text))


FORMATS: Mapping[FormatRule, Reward[Any]] = MappingProxyType(
    {"strict": follows_format, "legacy": legacy_format}
)
"""Rule -> the reward "format" of a task that follows it."""


def overlap(truth: Box, predicted: Box | None) -> float:
    """Return the IoU in [0, 1] of two boxes; 0 where no box could be read from the answer."""
    return 0.0 if predicted is None else iou(truth, predicted)


# --- rewards and scores with checked values


def checked(
    value: Any, name: str, sample: Sample[Any], text: str, *, may_be_missing: bool = False
) -> float | None:
    """Return a reward as a finite float, or None where it does not apply.

    Raises UserError that names reward, sample, value and the answer's ``text`` for anything else.
    With ``may_be_missing`` a number that is NaN, infinite or too large counts as None.
    """
    if value is None:
        return None
    number = to_number(value)
    if number is not None and abs(number) <= LARGEST:
        return number
    if number is not None and may_be_missing:
        return None
    remedy = "" if number is None else "; algorithm.missing_rewards=none counts such values as None"
    raise UserError(
        f"reward {name!r}, sample {sample.id!r}: got {described(value)} for the answer "
        f"{text!r:.60}; expected a finite number of at most {LARGEST:g}, or None where the reward "
        f"does not apply{remedy}"
    )


class LostReward(UserError):
    """A reward whose worker ended without a value; the line names the reward and the reason.

    Where whole groups are rewarded, the values count as None. ``first`` says that this reward has
    not been lost for this reason before.
    """

    def __init__(self, line: str, *, first: bool = True) -> None:
        super().__init__(line)
        self.first = first


def rewards_of(task: Task[A], sample: Sample[A], completion: Completion) -> dict[str, float | None]:
    """Return every reward of the task for one completion, by name, each checked."""
    return rewards_and_missing(task, sample, completion)[0]


def rewards_and_missing(
    task: Task[A], sample: Sample[A], completion: Completion
) -> tuple[dict[str, float | None], list[str]]:
    """Return every reward for one completion, and the names of those that count as None.

    These gave NaN, infinity or too large a number, where ``algorithm.missing_rewards`` is "none";
    else such a value is a UserError.
    """
    may_be_missing = isinstance(task, TaskWithRewards) and task.missing == "none"
    values: dict[str, float | None] = {}
    missing = []
    for name, reward in task.rewards().items():
        with noting(name, sample.id):
            value = reward(sample, completion)
        values[name] = checked(value, name, sample, completion.text, may_be_missing=may_be_missing)
        if value is not None and values[name] is None:
            missing.append(name)
    return values, missing


@dataclass(frozen=True)
class GroupRewards:
    """The rewards of a group by name, G checked values each, and what the rewards logged.

    ``missing`` are the places of those among the G for which a reward that applies has no value, as
    it is lost or NaN. ``seconds`` holds the time that each took; ``lost`` says in a line for each
    without values why there are none, and ``notes`` are those of them that were not said before.
    """

    values: dict[str, list[float | None]]
    log: RewardLog
    seconds: dict[str, float] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    missing: dict[str, frozenset[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def group_rewards(
    task: Task[A],
    group: Group[A],
    state: TrainerState | None = None,
    missing: Missing = "error",
) -> GroupRewards:
    """Return every reward of the task for a group, each value checked: a finite number or None.

    A reward that takes whole groups is called once, any other once for each completion. Where
    ``missing`` is "none", NaN and infinity count as None, and so do the values of a reward whose
    worker has ended; the metric rewards/NAME/missing is their share. Raises UserError that names
    reward, sample and value for any other value.
    """
    size = len(group.rollouts)
    given = GroupRewards({}, RewardLog(size))
    texts = [rollout.completion.text for rollout in group.rollouts]
    for name, reward in task.rewards().items():
        started = time.monotonic()
        values: Sequence[Any] = [None] * size
        try:
            values = group_values(reward, name, group, state or TrainerState(), given.log)
        except LostReward as error:
            given.lost[name] = str(error)
            if error.first:
                given.notes.append(str(error))
        given.seconds[name] = time.monotonic() - started
        skip = missing == "none"
        given.values[name] = [
            checked(value, name, group.sample, text, may_be_missing=skip)
            for value, text in zip(values, texts, strict=True)
        ]
        pairs = enumerate(zip(values, given.values[name], strict=True))
        unread = {place for place, (before, after) in pairs if before is not None and after is None}
        gone = frozenset(range(size) if name in given.lost else unread)
        if gone:
            given.missing[name] = gone
        # A reward of a worker may be lost: a group that has its values counts as well.
        if skip or getattr(reward, "may_be_lost", False):
            given.log.log_metric(f"rewards/{name}/missing", len(gone) / size)
    return given


def group_values(
    reward: Reward[A], name: str, group: Group[A], state: TrainerState, log: RewardLog
) -> Sequence[Any]:
    """Return the G values of one reward for a group, which are not checked yet.

    An exception of the reward is noted with the names of reward and sample. Answers that
    math-verify judges are judged several at once, and the metric rewards/NAME/over_budget is the
    share of comparisons that its budget left out.
    """
    if isinstance(reward, GroupReward):
        return reward.of_group(group, state, log)
    answers_G = [rollout.completion for rollout in group.rollouts]
    with noting(name, group.sample.id):
        if not is_own(reward):
            return [reward(group.sample, answer) for answer in answers_G]
        limit = mathverify.current()
        before = (0, 0) if limit is None else (limit.asked, limit.over)
        values = mathverify.each(lambda answer: reward(group.sample, answer), answers_G)
    if limit is not None and limit.asked > before[0]:
        left_out = (limit.over - before[1]) / (limit.asked - before[0])
        log.log_metric(f"rewards/{name}/over_budget", left_out)
    return values


def own_task(task: Task[Any]) -> bool:
    """Return whether the toolkit defines a task, whatever rewards stand beside its own."""
    return is_own(type(task.task if isinstance(task, TaskWithRewards) else task))


def score_of(task: Task[A], sample: Sample[A], completion: Completion) -> Score:
    """Return the task's score of a completion, its values checked.

    Metrics and ratios are finite floats, and ``parsed`` is what JSON can hold. Raises UserError
    that names the sample and the value for anything else.
    """
    score = task.score(sample, completion)
    if not isinstance(score, Score):
        raise UserError(
            f"score, sample {sample.id!r}: the task's score() gave {described(score)}; return a "
            'Score, as in Score({"accuracy": 1.0}, "what was read")'
        )
    where = f"score, sample {sample.id!r}, answer {completion.text!r:.60}"

    def number(name: str, value: Any) -> float:
        given = to_number(value)
        if given is None or not math.isfinite(given):
            raise UserError(f"{where}: {name} is {described(value)}; expected a finite number")
        return given

    metrics = {name: number(name, value) for name, value in score.metrics.items()}
    ratios = {
        name: (number(name, over), number(name, under))
        for name, (over, under) in score.ratios.items()
    }
    try:
        parsed = to_json(score.parsed)
    except TypeError as error:
        raise UserError(
            f"{where}: parsed holds {error}; expected a text, finite numbers, lists of these, or "
            "None for an unreadable answer"
        ) from None
    return replace(score, metrics=metrics, parsed=parsed, ratios=ratios)


# --- rewards beside the task's own


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
