"""A model in memory from Python: ``vrft.load``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vrft.api.options import model_name, overrides
from vrft.api.results import TrainResult
from vrft.types import Prompt, Turn

if TYPE_CHECKING:
    from vrft.config.schema import ModelConfig
    from vrft.policy import Policy


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
        turns: Sequence[Turn] = (),
        seed: int = 0,
        **sampling: Any,
    ) -> list[str]:
        """Sample ``n`` answers to a question about pictures: paths, bytes, or of Pillow or NumPy.

        ``<image>`` in the question is the place of a picture; without any, the pictures stand
        before it. ``sampling`` are settings such as ``temperature=0.7``.
        """
        from vrft import config

        drawn = config.load(None, overrides({"sampling": sampling})).sampling
        prompt = Prompt(question, pictures, system, turns=tuple(turns))
        (rollouts,) = self.policy.generate([prompt], n, drawn, [seed])
        return [rollout.completion.text for rollout in rollouts]

    def answer(self, question: str, *pictures: Any, **options: Any) -> str:
        """Return the likeliest answer to a question; ``options`` are those of ``generate``."""
        return self.generate(question, *pictures, **{"temperature": 0.0, **options})[0]


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
