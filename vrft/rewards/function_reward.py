"""Reward functions that were written for TRL, as rewards of whole groups of completions."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vrft.errors import UserError
from vrft.rewards.columns import chat, column, columns_of, in_texts, raw_prompt
from vrft.rewards.trl import GIVEN, NO_COLUMNS, RewardLog, TrainerState, TrlReward
from vrft.rewards.values import described, noting, to_list
from vrft.task import Reward
from vrft.types import A, Completion, Group, Prompt, Rollout, Sample

T = TypeVar("T")


def asked(sample: Sample[Any]) -> Prompt:
    """Return the question and pictures of a sample as a prompt."""
    return Prompt(sample.question, sample.images)


@dataclass(frozen=True)
class FunctionReward(Generic[A]):
    """A reward function that was written for TRL, as a reward of whole groups.

    The function gets what TRL would give it, of which it may name only a part: ``prompts``,
    ``completions``, ``completion_ids``, every column of the row, ``trainer_state``, ``log_metric``
    and ``log_extra``. It may be asynchronous. Pictures are Pillow's, opened only for a function
    that names or takes ``images`` or ``image``. Prompts and completions are messages if
    ``conversational``, else texts; None: as TRL decides, texts where the row's own ``prompt`` is a
    text, and for a prompt that is ``raw``.
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

        Raises UserError for a column that the row lacks, for a picture that cannot be opened, and
        unless the function returns a list of G values. An exception of the function's own keeps
        its traceback, with a note of the reward's name and the sample.
        """
        self.check(group.sample)
        values = self.call(group.sample, self.arguments(group, state, log))
        listed, size = to_list(values), len(group.rollouts)
        if listed is None or len(listed) != size:
            count = "" if listed is None else f"{len(listed)} values, "
            raise UserError(
                f"reward {self.name!r}, sample {group.sample.id!r}: expected a list of {size} "
                f"value(s), one for each completion, got {count}{described(values)}"
            )
        return listed

    def call(self, sample: Sample[A], arguments: Mapping[str, Any]) -> Any:
        """Call the function, or await it; what it raises names the reward and the sample."""
        try:
            with noting(self.name, sample.id):
                values = self.function(**arguments)
                if inspect.isawaitable(values):
                    running = asyncio.run_coroutine_threadsafe(awaited(values), event_loop())
                    values = running.result()
        except UserError as error:  # of what it has logged, or of a picture that it has opened
            line = f"reward {self.name!r}, sample {sample.id!r}: {error}"
            raise type(error)(line) from error
        return values

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
        raw = gets_texts(group) if self.conversational is None else not self.conversational
        texts = [rollout.completion.text for rollout in rollouts]
        messages = [[{"role": "assistant", "content": prompt.prefill + text}] for text in texts]
        taken = parameters(self.function, self.name)
        columns = {
            name: column(value, len(rollouts), named=name in taken)
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
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
            return given
        return {name: value for name, value in given.items() if name in taken}


def gets_texts(group: Group[Any]) -> bool:
    """Return whether a function gets a group's prompts and completions as texts, not messages."""
    return group.prompt.raw or in_texts(group.sample)


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
