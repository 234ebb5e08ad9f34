"""A training run: all that its steps share, and the threads and the server that it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from accelerate import Accelerator

from vrft.config.schema import Config
from vrft.diagnosis.difficulty import Ledger
from vrft.diagnosis.watchdogs import Watchdogs
from vrft.policy import Policy
from vrft.rollouts.rollouts import Rollouts
from vrft.runs.bad_pictures import BadPictures
from vrft.task import Task
from vrft.training.read_ahead import ReadAhead
from vrft.training.trainer_state import Progress
from vrft.types import Prompt, Sample


@dataclass(frozen=True)
class Run:
    """Everything that the steps of a training run read and change.

    ``reader`` makes a sample's prompt and encodes it, ahead of its step where threads are allowed;
    ``rollouts`` samples its completions;
    ``reference`` is the policy that training began with, None unless the algorithm penalises the
    KL divergence from it. ``watch`` and ``ledger`` are the main process's, the
    ledger of a curriculum every one's.
    """

    config: Config
    task: Task[Any]
    samples: Sequence[Sample[Any]]
    policy: Policy
    accelerator: Accelerator
    progress: Progress
    reader: ReadAhead[Sample[Any], tuple[Prompt, Any]]
    rollouts: Rollouts
    optimizer: Any
    scheduler: Any
    reference: Policy | None = None
    bad_pictures: BadPictures = field(default_factory=BadPictures)
    watch: Watchdogs = field(default_factory=Watchdogs)
    ledger: Ledger = field(default_factory=Ledger)

    def close(self) -> None:
        """End the threads and the server that the run has started."""
        self.rollouts.close()
        self.reader.close()

    @property
    def prompts(self) -> int:
        """Return the prompts that all devices take together at a time: B of a step."""
        return self.config.train.prompts_per_device * int(self.accelerator.num_processes)

    @property
    def total_steps(self) -> int:
        """Return how many steps the run has in all, those before it was resumed included."""
        return self.config.total_steps(len(self.samples), self.accelerator.num_processes)
