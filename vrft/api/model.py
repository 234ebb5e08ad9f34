"""A model in memory from Python: ``vrft.load``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from vrft.api.options import model_name, overrides
from vrft.api.results import TrainResult
from vrft.config.coercion import Count, Range, coerce
from vrft.errors import UserError
from vrft.rewards.values import described
from vrft.types import Prompt, Turn

if TYPE_CHECKING:
    from vrft.config.schema import ModelConfig
    from vrft.policy import Policy

Seed = Annotated[int, Range(-(2**63), 2**63 - 1)]
"""The start of a generator of torch."""


@dataclass(frozen=True)
class LoadedPolicy:
    """A model in memory, to be asked questions about pictures."""

    policy: Policy
    config: ModelConfig

    def generate(
        self,
        question: str,
        *pictures: Any,
        n: int = 1,
        system: str | None = None,
        turns: Sequence[Turn | Mapping[str, str]] = (),
        seed: int = 0,
        **sampling: Any,
    ) -> list[str]:
        """Sample ``n`` answers to a question about pictures: paths, bytes, or of Pillow or NumPy.

        ``<image>`` in the question is the place of a picture; without any, the pictures stand
        before it. ``turns`` are earlier messages, each a Turn or as ``{"role": "user", "content":
        "Look."}``. ``sampling`` are settings such as ``temperature=0.7``; a model of a run may
        write as long as in its training. Raises UserError for arguments of another type, and for
        ``n`` below one.
        """
        from vrft import config
        from vrft.cli import data
        from vrft.config.rollout import SamplingConfig

        for name, text in {"question": question, "system": system}.items():
            if not isinstance(text, str) and (text is not None or name == "question"):
                raise UserError(f"{name}: expected a text, got {described(text)}")
        count, start = coerce(Count, n, "n"), coerce(Seed, seed, "seed")
        usual = SamplingConfig().max_completion_length
        lengths = data.lengths_of_run(self.config.name, usual)
        drawn = config.load(None, [*lengths, *overrides({"sampling": sampling})]).sampling
        prompt = Prompt(question, pictures, system, turns=turns_of(turns))
        (rollouts,) = self.policy.generate([prompt], count, drawn, [start])
        return [rollout.completion.text for rollout in rollouts]

    def answer(self, question: str, *pictures: Any, **options: Any) -> str:
        """Return the likeliest answer to a question; ``options`` are those of ``generate``."""
        return self.generate(question, *pictures, **{"temperature": 0.0, **options})[0]


def turns_of(messages: Any) -> tuple[Turn, ...]:
    """Return earlier messages as turns; UserError for one that is no text of user or assistant."""
    if not isinstance(messages, list | tuple):
        raise UserError(f"turns: expected a list of messages, got {described(messages)}")
    turns = []
    for message in messages:
        given = message
        if isinstance(message, Mapping) and set(message) == {"role", "content"}:
            given = Turn(message["role"], message["content"])
        known = isinstance(given, Turn) and given.role in ("user", "assistant")
        if not known or not isinstance(given.text, str):
            raise UserError(
                "turns: expected vrft.Turn, or a mapping with the role (user or assistant) and "
                f"the content, a text; got {described(message)}"
            )
        turns.append(given)
    return tuple(turns)


def load(model: str | os.PathLike[str] | TrainResult, **settings: Any) -> LoadedPolicy:
    """Load a model by its folder, hub id or run; ``settings`` are those below ``model``.

    >>> import vrft
    >>> from PIL import Image
    >>> model = vrft.load("demo", max_pixels=3136)
    >>> picture = Image.new("RGB", (56, 56), "red")
    >>> answers = model.generate("Which colour?", picture, n=3, max_completion_length=8)
    >>> len(answers)
    3
    >>> model.answer("Which colour?", picture, max_completion_length=8) != ""
    True
    """
    from vrft import config, policy
    from vrft.evaluation import locate

    name = locate.model(model_name(model))
    chosen = replace(config.load(None, overrides({"model": settings})).model, name=name)
    return LoadedPolicy(policy.load(chosen), chosen)
