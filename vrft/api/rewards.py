"""Reward functions that are given in Python: how a configuration names them and weighs them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft import paths
from vrft.errors import UserError
from vrft.rewards.trl import TrlReward

if TYPE_CHECKING:
    from vrft.config.schema import Config

Rewards = TrlReward | str | Sequence[TrlReward | str] | Mapping[TrlReward | str, float]
"""A reward function, or ``file.py:function``; several; or several with their weights."""


def named_rewards(reward: Any) -> tuple[dict[str, TrlReward], list[str]]:
    """Return the functions in memory by name, and all rewards as a configuration names them.

    ``reward`` is any value of Rewards, or None. Raises UserError for a function without a name, for
    two of the same name, and for a weight that is no finite number.
    """
    from vrft.config.reward_source import PYTHON
    from vrft.rewards.values import described, to_number

    if reward is None or callable(reward) or isinstance(reward, str):
        reward = [] if reward is None else [reward]
    if not isinstance(reward, Mapping | list | tuple):
        raise UserError(f"reward: expected a function or a list of them, got {described(reward)}")
    functions: dict[str, TrlReward] = {}
    sources = []
    for item in reward:
        name = item if isinstance(item, str) else getattr(item, "__name__", type(item).__name__)
        weight = ""
        if isinstance(reward, Mapping):
            number = to_number(reward[item])
            if number is None or not math.isfinite(number):
                raise UserError(f"reward {name}: the weight {reward[item]!r} is no finite number")
            weight = f"={number!r}"
        if isinstance(item, str):
            sources.append(os.path.abspath(paths.at_home(item)) + weight)
            continue
        if not callable(item) or not name.isidentifier():
            raise UserError(f"reward {name}: expected a function with a name; write it with def")
        if functions.setdefault(name, item) is not item:
            raise UserError(f"reward {name!r}: two functions of that name; rename one")
        sources.append(f"{PYTHON}:{name}{weight}")
    return functions, sources


def with_rewards(config: Config, sources: Sequence[str], resume: Path | None) -> Config:
    """Return the configuration with further rewards; a resumed run has them already.

    Raises UserError for rewards that are not those of the run to resume.
    """
    known = config.algorithm.rewards
    if resume is None:
        algorithm = replace(config.algorithm, rewards=(*known, *sources))
        return replace(config, algorithm=algorithm)
    if new := [source for source in sources if source not in known]:
        raise UserError(
            f"resume={resume}: the run's rewards are {', '.join(known) or 'those of its task'}, "
            f"and {', '.join(new)} is none of them; they cannot change within a run"
        )
    return config
