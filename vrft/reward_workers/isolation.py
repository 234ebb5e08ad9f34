"""Rewards of a user's own in worker processes: what hangs, dies or grows costs its reward alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

from vrft.errors import UserError
from vrft.reward_workers.messages import CannotTravel, to_message
from vrft.reward_workers.reward_worker import RewardWorker, raise_error
from vrft.reward_workers.worker_process import Limits
from vrft.rewards.columns import in_texts
from vrft.rewards.function_reward import FileFunction, FunctionReward, parameters
from vrft.rewards.origins import is_own
from vrft.rewards.rewarded_task import TaskWithRewards, further_rewards
from vrft.rewards.trl import GroupReward, RewardLog, TrainerState
from vrft.rewards.values import from_line
from vrft.task import Reward, Task
from vrft.types import A, Completion, Group, Prompt, Rollout, Sample


@dataclass(frozen=True)
class WorkerReward(Generic[A]):
    """A reward that its worker computes for whole groups, with the values of the reward itself."""

    name: str
    reward: Reward[A]
    worker: RewardWorker
    may_be_lost: ClassVar[bool] = True
    """Its share of missing values is a metric of every group."""

    def __call__(self, sample: Sample[A], completion: Completion) -> Any:
        """Return the reward of one completion, whose token ids are not known."""
        asked = self.reward.prompt if isinstance(self.reward, FunctionReward) else None
        prompt = Prompt(sample.question) if asked is None else asked(sample)
        group = Group(sample, prompt, (Rollout(completion, (), True),))
        # A trial: random numbers are seeded for the steps of a run alone.
        return self.values(group, TrainerState(), RewardLog(1), None)[0]

    def check(self, sample: Sample[A]) -> None:
        """Raise UserError if a function needs a column that this sample has not."""
        if isinstance(self.reward, FunctionReward):
            self.reward.check(sample)

    def of_group(self, group: Group[A], state: TrainerState, log: RewardLog) -> list[Any]:
        """Return the values of the G completions, which are not checked yet, and log to ``log``.

        Raises what the reward raises, and LostReward where its worker has ended or was killed.
        """
        return self.values(group, state, log, state.global_step)

    def values(
        self, group: Group[A], state: TrainerState, log: RewardLog, step: int | None
    ) -> list[Any]:
        """Return the values as ``of_group`` does, random numbers seeded for a ``step``."""
        self.check(group.sample)
        try:
            request = self.request(group, state)
        except CannotTravel as error:
            raise UserError(
                f"reward {self.name!r}, sample {group.sample.id!r}: {error} cannot be sent to the "
                "worker of the reward; write the column as numbers, texts and lists, or set "
                "train.reward_timeout=0 for rewards without workers"
            ) from error
        answer = self.worker.ask(request, self.name, step)
        raise_error(answer, self.name, group.sample.id)
        log.metrics.update(answer["metrics"])
        log.columns.update(answer["columns"])
        return [from_line(line) for line in answer["values"]]

    def request(self, group: Group[A], state: TrainerState) -> dict[str, Any]:
        """Return what the worker needs to compute the rewards of a group."""
        function = function_of(self.reward)
        given = self.needed(group)
        # A prompt shows the pictures of its sample as a rule: they are sent once.
        own = [id(picture) for picture in given.sample.images]
        shown = bool(own) and own == [id(picture) for picture in given.prompt.images]
        if shown:
            given = dataclasses.replace(given, prompt=dataclasses.replace(given.prompt, images=()))
        return {
            "name": self.name,
            "module": function and function.module,
            "function": function and function.name,
            "group": to_message(given),
            "shown": shown,
            "state": dataclasses.asdict(state),
        }

    def needed(self, group: Group[A]) -> Group[A]:
        """Return a group with what the reward takes of it alone."""
        rollouts = tuple(dataclasses.replace(r, logprobs=None) for r in group.rollouts)
        sample, prompt, function = group.sample, group.prompt, function_of(self.reward)
        if function is None:  # a reward of the task: of a sample and a completion, or of the group
            asked = prompt if isinstance(self.reward, GroupReward) else Prompt("")
            return Group(sample, asked, rollouts)
        taken = parameters(function, self.name)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in taken.values()):
            # A function of TRL's calls the answer its solution, and gets texts by a prompt in text.
            columns = {
                *taken,
                *(["answer"] if "solution" in taken else []),
                *(["prompt"] if in_texts(sample) else []),
            }
            changes: dict[str, Any] = {
                "columns": {key: sample.columns[key] for key in sample.columns if key in columns},
                **({} if {"images", "image"} & columns else {"images": ()}),
                **({} if "answer" in columns else {"answer": None}),
            }
            sample = dataclasses.replace(sample, **changes)
            prompt = prompt if "prompts" in taken else dataclasses.replace(prompt, images=())
        return Group(sample, prompt, rollouts)


class TaskInWorkers(TaskWithRewards[A]):
    """A task some of whose rewards are computed by workers; everything else is the task's own."""

    def __init__(
        self,
        task: Task[A],
        replaced: Mapping[str, WorkerReward[A]],
        workers: Sequence[RewardWorker],
    ) -> None:
        inner = task.task if isinstance(task, TaskWithRewards) else task
        further = task.further if isinstance(task, TaskWithRewards) else {}
        missing = task.missing if isinstance(task, TaskWithRewards) else "error"
        super().__init__(inner, further, missing)
        self.replaced, self.workers = replaced, workers

    def rewards(self) -> Mapping[str, Reward[A]]:
        return {**super().rewards(), **self.replaced}


def isolated(
    task: Task[A],
    sample: Sample[A],
    limits: Limits,
    max_missing: int,
    seed_of: Callable[[int], int] | None = None,
) -> Task[A]:
    """Return the task with the rewards of a user's own in workers: the task itself if it has none.

    These are functions of files, and what a user's task files define. ``in_process`` names those
    that stay in this process all the same.
    """
    inner = task.task if isinstance(task, TaskWithRewards) else task
    workers: dict[str, RewardWorker] = {}
    replaced: dict[str, WorkerReward[A]] = {}
    for name, reward in of_user(task).items():
        function = function_of(reward)
        if function is None and name in further_rewards(task):
            continue  # in memory alone
        module = type(inner).__module__ if function is None else function.module
        worker = workers.get(module) or RewardWorker(module, [], None, limits, max_missing, seed_of)
        asked = WorkerReward(name, reward, worker)
        try:
            asked.request(Group(sample, Prompt(""), ()), TrainerState())  # as one sample can tell
            if function is None:
                worker.task = to_message(inner)
            else:
                worker.modules = [module]
        except CannotTravel:
            continue
        workers[module], replaced[name] = worker, asked
    return TaskInWorkers(task, replaced, list(workers.values())) if workers else task


def of_user(task: Task[A]) -> dict[str, Reward[A]]:
    """Return the rewards of a task that neither the toolkit nor its tasks define, by name."""
    further = further_rewards(task)
    return {
        name: reward
        for name, reward in task.rewards().items()
        if name in further or isinstance(reward, WorkerReward) or not is_own(reward)
    }


def in_process(task: Task[Any]) -> list[str]:
    """Return the names of the rewards of a user's own that no worker computes."""
    return [name for name, reward in of_user(task).items() if not isinstance(reward, WorkerReward)]


def workers_of(task: Task[Any]) -> Sequence[RewardWorker]:
    """Return the workers of a task's rewards."""
    return task.workers if isinstance(task, TaskInWorkers) else ()


def function_of(reward: Any) -> FileFunction | None:
    """Return the function of a file that a reward calls, None if it is none of those."""
    own = reward.function if isinstance(reward, FunctionReward) else None
    return own if isinstance(own, FileFunction) else None
