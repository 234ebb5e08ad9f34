"""TRL's reward signature: the names and state that a function is given, its log, and our export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from vrft.errors import UserError
from vrft.rewards.values import described, to_json, to_list, to_number
from vrft.task import Reward
from vrft.types import A, Completion, Group, Sample, View

TrlReward = Callable[..., Any]
"""``fn(completions, **columns) -> list[float | None]``, every column one value per completion."""

GIVEN = ("prompts", "completions", "completion_ids", "trainer_state", "log_metric", "log_extra")
"""The arguments that TRL gives to a reward function besides the columns of the rows."""

NO_COLUMNS = ("prompt", "completion", *GIVEN)
"""Columns of a row that a reward function does not get, as in TRL or because they are GIVEN."""


@dataclass(frozen=True)
class TrainerState:
    """The progress of training, under the names of transformers' TrainerState."""

    global_step: int = 0
    """Optimizer steps taken so far."""
    max_steps: int = 0
    epoch: float = 0.0
    num_train_epochs: float = 0.0
    num_input_tokens_seen: int = 0
    """Completion tokens generated so far."""
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True


@dataclass
class RewardLog:
    """The metrics and columns that rewards log of one group of ``size`` completions."""

    size: int
    metrics: dict[str, list[float]] = field(default_factory=dict)
    """Name -> the values that were logged; a run reports their mean."""
    columns: dict[str, list[Any]] = field(default_factory=dict)
    """Name -> one value for each completion, as JSON can hold it."""

    def log_metric(self, name: str, value: Any) -> None:
        """Add a number to a metric, as TRL's ``log_metric`` does; UserError for anything else."""
        number = to_number(value)
        if number is None:
            raise UserError(f"log_metric({name!r}): expected a number, got {described(value)}")
        self.metrics.setdefault(str(name), []).append(number)

    def log_extra(self, column: str, values: Sequence[Any]) -> None:
        """Add a column to the log of completions, as TRL's ``log_extra`` does.

        A value that JSON cannot hold is logged as text. Raises UserError unless there is a value
        for each completion.
        """
        listed = to_list(values)
        if listed is None or len(listed) != self.size:
            raise UserError(
                f"log_extra({column!r}): expected a list of {self.size} value(s), one for each "
                f"completion, got {described(values)}"
            )
        self.columns[str(column)] = [shown(value) for value in listed]


def shown(value: Any) -> Any:
    """Return a value as JSON can hold it, or else as text: nothing is computed from it."""
    try:
        return to_json(value)
    except TypeError:
        return str(value)


@runtime_checkable
class GroupReward(Protocol):
    """A reward that is given all completions of a group at once.

    Called with a single completion, as any reward may be, it takes it for a group of one.
    """

    def of_group(self, group: Group[Any], state: TrainerState, log: RewardLog) -> Sequence[Any]:
        """Return the rewards of the G completions, and log to ``log``."""
        ...

    def __call__(self, sample: Sample[Any], completion: Completion, /) -> Any:
        """Return the reward of one completion."""
        ...


def to_trl(
    name: str,
    reward: Reward[A],
    samples: Sequence[Sample[A]],
    views: Callable[[Sample[A]], tuple[View, ...]] = lambda sample: (),
) -> Callable[..., list[float | None]]:
    """Make a function for TRL's trainers of a task's reward, to be logged under ``name``.

    The data set needs a column ``sample_id``. ``views`` tells how the model sees the pictures of a
    sample, which matters for models that write pixels. TRL's column ``completion_ids`` gives the
    lengths in tokens.
    """
    by_id = {sample.id: sample for sample in samples}

    def function(
        completions: Sequence[Any], sample_id: Sequence[str], **columns: Any
    ) -> list[float | None]:
        samples_N = [by_id[key] for key in sample_id]
        # Without token ids every length is 0, which stands for "not known".
        tokens = columns.get("completion_ids") or [()] * len(samples_N)
        values = []
        for sample, completion, ids in zip(samples_N, completions, tokens, strict=True):
            # A conversational completion is a list of messages, any other a plain string.
            text = (
                completion
                if isinstance(completion, str)
                else "".join(message["content"] for message in completion)
            )
            values.append(reward(sample, Completion(text, views(sample), len(ids))))
        return values

    function.__name__ = name  # the name under which TRL logs it
    return function
