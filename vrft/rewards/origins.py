"""The module that defines a reward, and whether it is the toolkit's own or a user's."""

from __future__ import annotations

import functools
from typing import Any

from vrft.rewards.function_reward import FileFunction, FunctionReward

OWN = ("vrft", "vrft_tasks")
"""The packages whose rewards and scores are pure functions that end: they stay in the run's
process, and threads may call them at once."""


def module_of(reward: Any) -> str:
    """Return the name of the module that defines a reward, "" for none."""
    if isinstance(reward, FunctionReward):
        return module_of(reward.function)
    if isinstance(reward, FileFunction):
        return reward.module
    if isinstance(reward, functools.partial):
        return module_of(reward.func)
    return str(getattr(reward, "__module__", None) or "")


def is_own(thing: Any) -> bool:
    """Return whether the toolkit or its tasks define a reward, or the class of a task."""
    return module_of(thing).partition(".")[0] in OWN
