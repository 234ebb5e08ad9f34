"""Rewards of a user's own in worker processes: what hangs, dies or grows costs its reward alone.

A worker serves the functions of one file, or the rewards of one task, in the order in which a run
asks: their module's globals are as in the run's own process, from the start of the worker on. They
are no part of a checkpoint, and a worker that is replaced begins anew.
"""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic

from vrft.errors import PictureError, UserError
from vrft.rewards.function_reward import FileFunction, FunctionReward, parameters
from vrft.rewards.messages import CannotTravel, to_message
from vrft.rewards.origins import is_own
from vrft.rewards.output_log import OutputLog
from vrft.rewards.task_rewards import LostReward, TaskWithRewards, further_rewards
from vrft.rewards.trl import GroupReward, RewardLog, TrainerState
from vrft.rewards.values import from_line
from vrft.rewards.worker_process import LimitReached, Limits, WorkerProcess
from vrft.task import Reward, Task
from vrft.types import A, Completion, Group, Prompt, Rollout, Sample


class RewardError(Exception):
    """An exception of a reward in its worker, of a type that only the worker knows."""


class WorkerTraceback(Exception):
    """The traceback of an exception in a worker, as the cause of the one that the run raises."""

    def __str__(self) -> str:
        return f"in the worker of the reward:\n{self.args[0]}"


@dataclass
class Worker:
    """A worker by what it imports: started when it is asked, and again when it has ended.

    ``seed_of`` gives the seed of random numbers of a step, None where they are not seeded;
    ``max_missing`` is ``train.max_missing_rewards``.
    """

    name: str
    modules: Sequence[str]
    task: Any
    limits: Limits
    max_missing: int
    seed_of: Callable[[int], int] | None = None
    output: OutputLog = field(default_factory=OutputLog)
    process: WorkerProcess | None = None
    starts: int = 0
    seeded: int | None = None
    """The step for which random numbers were seeded last."""
    missing: dict[str, int] = field(default_factory=dict)
    """Reward -> the groups in a row for which it was missing."""
    noted: set[tuple[str, str]] = field(default_factory=set)
    """Rewards with the reasons for which they were missing, each of which is said once."""

    def ask(self, request: Mapping[str, Any], name: str, step: int | None) -> dict[str, Any]:
        """Return the worker's answer to a request for a group's values of a reward.

        Raises LostReward, with the reason, where the worker has ended without an answer or was
        killed at a limit, and UserError where that has happened too often in a row.
        """
        try:
            process = self.started()
            # What a function loads when it is first called is loaded at the start of a run.
            patient = process.requests == 0 and self.starts == 1
            seconds = self.limits.start if patient and self.limits.seconds else None
            answer = process.ask({**request, "seed": self.seed(step)}, seconds)
        except LimitReached as reached:
            raise self.lost(name, str(reached)) from None
        self.missing[name] = 0
        return answer

    def started(self) -> WorkerProcess:
        """Return the running process, a new one if there is none."""
        if self.process is None or not self.process.alive:
            self.starts += 1
            self.seeded = None
            self.process = WorkerProcess(self.modules, self.task, self.limits, self.output)
            raise_error(self.process.begin(), self.name, "")
        return self.process

    def seed(self, step: int | None) -> int | None:
        """Return the seed for a step's first request, None for the others and for no step."""
        if self.seed_of is None or step in (None, self.seeded):
            self.seeded = step
            return None
        self.seeded = step
        return None if step is None else self.seed_of(step)

    def lost(self, name: str, reason: str) -> UserError:
        """Return the error of a reward without values, a LostReward unless it is one too many."""
        self.missing[name] = self.missing.get(name, 0) + 1
        if self.missing[name] > self.max_missing:
            return UserError(
                f"reward {name!r} had no value for {self.missing[name]} group(s) in a row, more "
                f"than train.max_missing_rewards={self.max_missing}; the last time {reason}; mend "
                f"it, or raise the limit{self.shown()}"
            )
        first = (name, reason) not in self.noted
        self.noted.add((name, reason))
        return LostReward(f"reward {name!r}: no value, as {reason}{self.shown()}", first=first)

    def shown(self) -> str:
        """Return where the output of the worker is kept, for messages."""
        path = self.output.path
        return f"; its output: {path}" if path is not None and path.exists() else ""

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.close()


@dataclass(frozen=True)
class WorkerReward(Generic[A]):
    """A reward that its worker computes for whole groups, with the values of the reward itself."""

    name: str
    reward: Reward[A]
    worker: Worker
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
            # A function of TRL's calls the answer its solution.
            columns = {*taken, *(["answer"] if "solution" in taken else [])}
            changes: dict[str, Any] = {
                "columns": {key: sample.columns[key] for key in sample.columns if key in columns},
                **({} if {"images", "image"} & columns else {"images": ()}),
                **({} if "answer" in columns else {"answer": None}),
            }
            sample = dataclasses.replace(sample, **changes)
            prompt = prompt if "prompts" in taken else dataclasses.replace(prompt, images=())
        return Group(sample, prompt, rollouts)


def raise_error(answer: Mapping[str, Any], name: str, sample: str) -> None:
    """Raise the error that a worker tells of, with its traceback as the cause; else do nothing.

    An exception of Python's own keeps its type; any other becomes a RewardError of its text.
    """
    if "mistake" in answer:
        raise (PictureError if answer["picture"] else UserError)(answer["mistake"])
    if "error" not in answer:
        return
    error: Exception = RewardError(f"{answer['error']}: {answer['text']}")
    kind = getattr(builtins, answer["error"], None) if answer["builtin"] else None
    if isinstance(kind, type) and issubclass(kind, Exception) and answer["args"] is not None:
        with contextlib.suppress(TypeError):  # one that wants other arguments than it has kept
            error = kind(*answer["args"])
    error.add_note(f"in reward {name!r}, sample {sample!r}" if sample else f"in worker {name!r}")
    raise error from WorkerTraceback(answer["traceback"])


class TaskInWorkers(TaskWithRewards[A]):
    """A task some of whose rewards are computed by workers; else it is the task itself."""

    def __init__(
        self, task: Task[A], replaced: Mapping[str, WorkerReward[A]], workers: Sequence[Worker]
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
    workers: dict[str, Worker] = {}
    replaced: dict[str, WorkerReward[A]] = {}
    for name, reward in of_user(task).items():
        function = function_of(reward)
        if function is None and name in further_rewards(task):
            continue  # in memory alone
        module = type(inner).__module__ if function is None else function.module
        worker = workers.get(module) or Worker(module, [], None, limits, max_missing, seed_of)
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


def workers_of(task: Task[Any]) -> Sequence[Worker]:
    """Return the workers of a task's rewards."""
    return task.workers if isinstance(task, TaskInWorkers) else ()


def function_of(reward: Any) -> FileFunction | None:
    """Return the function of a file that a reward calls, None if it is none of those."""
    own = reward.function if isinstance(reward, FunctionReward) else None
    return own if isinstance(own, FileFunction) else None
