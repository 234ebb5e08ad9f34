"""A worker of a user's own rewards: asked by a run, and started again where it has ended.

A worker serves the functions of one file, or the rewards of one task, in the order in which a run
asks: their module's globals are as in the run's own process, from the start of the worker on. They
are no part of a checkpoint, and a worker that is replaced begins anew.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vrft.errors import PictureError, UserError
from vrft.reward_workers.output_log import OutputLog
from vrft.reward_workers.worker_process import LimitReached, Limits, WorkerProcess
from vrft.rewards.task_rewards import LostReward


class RewardError(Exception):
    """An exception of a reward in its worker, of a type that only the worker knows."""


class WorkerTraceback(Exception):
    """The traceback of an exception in a worker, as the cause of the one that the run raises."""

    def __str__(self) -> str:
        return f"in the worker of the reward:\n{self.args[0]}"


@dataclass
class RewardWorker:
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
