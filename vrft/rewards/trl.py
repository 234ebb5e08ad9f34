"""The reward signature of TRL in both directions: whole groups of completions at a time."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from vrft.errors import UserError
from vrft.rewards.values import described, to_json, to_list, to_number
from vrft.task import Reward
from vrft.types import A, Completion, Group, Prompt, Rollout, Sample, View

TrlReward = Callable[..., Any]
"""``fn(completions, **columns) -> list[float | None]``, every column one value per completion."""

GIVEN = ("prompts", "completions", "completion_ids", "trainer_state", "log_metric", "log_extra")
"""The arguments that TRL gives to a reward function besides the columns of the rows."""

NO_COLUMNS = ("prompt", "completion", *GIVEN)
"""Columns of a row that a reward function does not get, as in TRL or because they are GIVEN."""

PLACE = "<image>"

T = TypeVar("T")


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


def columns_of(sample: Sample[Any]) -> Mapping[str, Any]:
    """Return the columns that a reward function gets: the row's own, and those of the sample.

    The latter, where the row has no column of that name, are question, answer, solution (the
    answer, as TRL's functions call it), images, sample_id and subset.
    """
    own = sample.columns
    return {
        "question": sample.question,
        "answer": sample.answer,
        "solution": own.get("answer", sample.answer),
        "images": list(sample.images),
        "sample_id": sample.id,
        "subset": sample.subset,
        **own,
    }


def asked(sample: Sample[Any]) -> Prompt:
    """Return the question and pictures of a sample as a prompt."""
    return Prompt(sample.question, sample.images)


@dataclass(frozen=True)
class FunctionReward(Generic[A]):
    """A reward function that was written for TRL, as a reward of whole groups.

    The function gets what TRL would give it, of which it may name only a part: ``prompts``,
    ``completions``, ``completion_ids``, every column of the row, ``trainer_state``, ``log_metric``
    and ``log_extra``. It may be asynchronous. Prompts and completions are messages if
    ``conversational``, else texts; None: messages unless the prompt is ``raw``.
    """

    function: TrlReward
    name: str
    columns: Callable[[Sample[A]], Mapping[str, Any]] = columns_of
    prompt: Callable[[Sample[A]], Prompt] = asked
    conversational: bool | None = None

    def __call__(self, sample: Sample[A], completion: Completion) -> Any:
        """Return the reward of one completion, whose token ids are not known."""
        group = Group(sample, self.prompt(sample), (Rollout(completion, (), True),))
        return self.of_group(group, TrainerState(), RewardLog(1))[0]

    def of_group(self, group: Group[A], state: TrainerState, log: RewardLog) -> list[Any]:
        """Call the function once and return its G values, which are not checked yet.

        Raises UserError for a column that the row lacks, and unless the function returns a list
        of G values.
        """
        self.check(group.sample)
        values = self.function(**self.arguments(group, state, log))
        if inspect.isawaitable(values):
            running = asyncio.run_coroutine_threadsafe(awaited(values), event_loop())
            values = running.result()
        listed, size = to_list(values), len(group.rollouts)
        if listed is None or len(listed) != size:
            count = "" if listed is None else f"{len(listed)} values, "
            raise UserError(
                f"reward {self.name!r}, sample {group.sample.id!r}: expected a list of {size} "
                f"value(s), one for each completion, got {count}{described(values)}"
            )
        return listed

    def check(self, sample: Sample[A]) -> None:
        """Raise UserError if the function needs an argument that this sample has no column for."""
        columns = self.columns(sample)
        for name, parameter in parameters(self.function, self.name).items():
            named = parameter.kind is not parameter.VAR_KEYWORD
            needed = named and parameter.default is parameter.empty
            if needed and name not in GIVEN and (name not in columns or name in NO_COLUMNS):
                raise UserError(
                    f"reward {self.name!r} needs the column {name!r}, which sample {sample.id!r} "
                    f"has not; there is {', '.join(c for c in columns if c not in NO_COLUMNS)}"
                )

    def arguments(self, group: Group[A], state: TrainerState, log: RewardLog) -> dict[str, Any]:
        """Return the arguments that the function takes, lists of G values but for the last three.

        A prefill opens the completion, as in TRL, where that is a message.
        """
        prompt, rollouts = group.prompt, group.rollouts
        raw = prompt.raw if self.conversational is None else not self.conversational
        texts = [rollout.completion.text for rollout in rollouts]
        messages = [[{"role": "assistant", "content": prompt.prefill + text}] for text in texts]
        columns = {
            name: [value] * len(rollouts)
            for name, value in self.columns(group.sample).items()
            if name not in NO_COLUMNS
        }
        given = {
            **columns,
            "prompts": [raw_prompt(prompt) if raw else chat(prompt) for _ in rollouts],
            "completions": texts if raw else messages,
            "completion_ids": [list(rollout.tokens) for rollout in rollouts],
            "trainer_state": state,
            "log_metric": log.log_metric,
            "log_extra": log.log_extra,
        }
        taken = parameters(self.function, self.name).values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
            return given
        names = {parameter.name for parameter in taken}
        return {name: value for name, value in given.items() if name in names}


@dataclass(frozen=True)
class FileFunction:
    """A function by the names of its module and of itself.

    It is pickled by them, so that a lambda or a decorated function travels to other processes too.
    """

    module: str
    name: str

    @property
    def function(self) -> Any:
        """Return the function itself, of the module that is imported already or can be."""
        return getattr(importlib.import_module(self.module), self.name)

    @property
    def __signature__(self) -> inspect.Signature:
        """Return the function's signature, for ``inspect.signature``."""
        return inspect.signature(self.function)

    def __call__(self, **arguments: Any) -> Any:
        """Call the function."""
        return self.function(**arguments)


def parameters(function: TrlReward, name: str) -> Mapping[str, inspect.Parameter]:
    """Return the parameters that a reward function takes by name, its ``**kwargs`` among them.

    Raises UserError for what cannot be called as TRL calls a reward function.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise UserError(f"reward {name!r}: cannot be called ({error}); name a function") from error
    taken = {}
    for key, parameter in signature.parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UserError(f"reward {name!r} takes {key!r} by position only; take it by name")
        if parameter.kind is not parameter.VAR_POSITIONAL:
            taken[key] = parameter
    if "completions" not in taken and all(p.kind is not p.VAR_KEYWORD for p in taken.values()):
        raise UserError(
            f"reward {name!r} does not take `completions`; it is called as in TRL: "
            "fn(prompts, completions, completion_ids, **columns)"
        )
    return taken


def raw_prompt(prompt: Prompt) -> str:
    """Return a prompt as the text that a base model continues, without pictures."""
    turns = "".join(turn.text for turn in prompt.turns)
    return (prompt.system or "") + turns + prompt.text + prompt.prefill


def chat(prompt: Prompt) -> list[dict[str, Any]]:
    """Return a prompt as TRL's messages: with pictures, the content is a list of parts."""
    turns = [(turn.role, turn.text) for turn in prompt.turns] + [("user", prompt.text)]
    if prompt.images and not any(PLACE in text for _, text in turns):
        turns[-1] = ("user", PLACE * len(prompt.images) + prompt.text)
    images = iter(prompt.images)
    system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    if not prompt.images:
        return [*system, *({"role": role, "content": text} for role, text in turns)]
    messages: list[dict[str, Any]] = list(system)
    for role, text in turns:
        parts: list[dict[str, Any]] = []
        for number, piece in enumerate(text.split(PLACE)):
            if number:
                parts.append({"type": "image", "image": next(images, None)})
            if piece:
                parts.append({"type": "text", "text": piece})
        messages.append({"role": role, "content": parts})
    return messages


@functools.cache
def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop in which asynchronous rewards run: one for the whole process, in a thread.

    Clients that a function holds on to are bound to the loop in which they were made.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="vrft rewards", daemon=True).start()
    return loop


async def awaited(value: Awaitable[T]) -> T:
    """Return the result of anything that can be awaited, as a coroutine."""
    return await value


def from_trl(
    function: TrlReward,
    columns: Callable[[Sample[A]], Mapping[str, Any]] = columns_of,
    conversational: bool = True,
) -> Reward[A]:
    """Make a reward of a function that was written for TRL.

    ``columns`` gives the columns that the function reads besides the completions, such as
    ``lambda sample: {"solution": sample.answer}``. A completion is passed as a list of one
    assistant message, or as a plain string if not ``conversational``.
    """
    name = getattr(function, "__name__", type(function).__name__)
    return FunctionReward(function, name, columns, conversational=conversational)


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
