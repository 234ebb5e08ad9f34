"""The rewards and scores of a task, with every value checked.

Numbers of Python, NumPy and torch become floats; any other value is refused in one line, before it
reaches a weight or a file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vrft import mathverify
from vrft.errors import UserError
from vrft.rewards.origins import is_own
from vrft.rewards.rewarded_task import Missing, TaskWithRewards
from vrft.rewards.trl import GroupReward, RewardLog, TrainerState
from vrft.rewards.values import LARGEST, described, noting, to_json, to_number
from vrft.task import Reward, Task
from vrft.types import A, Completion, Group, Sample, Score


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
