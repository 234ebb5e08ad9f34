"""Rewards of ``--reward`` that give all answers of a question the same, which trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vrft import rewards
from vrft.checks.findings import Finding, Findings
from vrft.checks.gold_answers import gold_completion, views_of
from vrft.checks.samples import OpenedSample
from vrft.rewards.function_reward import FunctionReward, gets_texts
from vrft.rewards.rewarded_task import TaskWithRewards
from vrft.rewards.task_rewards import checked, group_values
from vrft.rewards.trl import RewardLog, TrainerState
from vrft.task import Task
from vrft.types import A, Completion, Group, Rollout

TRIED = 100
"""Samples of a split with which a reward is tried that tells no answers apart."""

RAMBLING = "Well, I do not know... 7 或 8? " * 200

GARBAGE = ("", "???", "<think>???</think>\n<answer>???</answer>", RAMBLING)
"""Wrong answers: short and long, in the form that tasks ask for and in none.

A reward for brevity, for the form or for the language tells some of them from a gold answer.
"""


def find_constant(task: Task[A], samples: Sequence[OpenedSample[A]]) -> Findings:
    """Note the rewards of ``--reward`` that tell the gold answer of no sample from garbage.

    Where ``completions`` are read in another form than they have, nothing else may be wrong.
    """
    notes = []
    tried = samples[:TRIED]
    # In their order: the names are a set.
    further = rewards.further_rewards(task)
    for name in (name for name in task.rewards() if name in further):
        values, texts = set[float | None](), False
        for group in groups(task, tried):
            given = values_of(task, name, group)
            if len({value for value in given if value is not None}) > 1:
                break
            values |= set(given)
            texts = gets_texts(group)
        else:
            reward = task.rewards()[name]
            form = "texts" if texts else 'messages, whose text is completion[0]["content"]'
            of_trl = isinstance(reward, FunctionReward) and reward.conversational is None
            hint = f" (its completions are {form})" if of_trl else ""
            notes.append(
                f"reward {name} gives the gold answer and garbage the same, {said(values)}, for "
                f"each of {len(tried)} sample(s): what is the same for all answers of a question "
                f"trains nothing; see how it reads them{hint}"
            )
    return Findings(notes=tuple(map(Finding, notes)))


def groups(task: Task[A], samples: Sequence[OpenedSample[A]]) -> Iterator[Group[A]]:
    """Yield for each sample its gold answer and GARBAGE as the answers of a group.

    Their token ids, which nobody has drawn, are the bytes of their texts: of as many lengths.
    """
    for opened in samples:
        views = views_of(opened.sizes)
        answers = [gold_completion(task, opened), *(Completion(text, views) for text in GARBAGE)]
        rollouts = (
            Rollout(each, tuple(each.text.encode(errors="replace")), True) for each in answers
        )
        yield Group(opened.sample, task.prompt(opened.sample), tuple(rollouts))


def values_of(task: Task[A], name: str, group: Group[A]) -> list[float | None]:
    """Return the checked values of a reward for the answers of a group."""
    missing = isinstance(task, TaskWithRewards) and task.missing == "none"
    log = RewardLog(len(group.rollouts))
    given: Sequence[Any] = group_values(task.rewards()[name], name, group, TrainerState(), log)
    return [
        checked(value, name, group.sample, rollout.completion.text, may_be_missing=missing)
        for value, rollout in zip(given, group.rollouts, strict=True)
    ]


def said(values: set[float | None]) -> str:
    """Return in words the values of a reward that is constant for each sample."""
    numbers = sorted(value for value in values if value is not None)
    if not numbers:
        return "None"
    return f"{numbers[0]:g}" if len(numbers) == 1 else f"{numbers[0]:g} to {numbers[-1]:g}"
