"""Reward functions of the user's, as settings name them: a file, a name there, and a weight."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from vrft.errors import UserError

PYTHON = "python"
"""The file in the names of rewards that ``vrft.train`` was given as functions in memory."""


@dataclass(frozen=True)
class RewardSource:
    """A reward function by its file, or PYTHON, and its name there, and its weight."""

    file: str
    name: str
    weight: float


REWARD_SOURCE = re.compile(
    rf"(?P<file>.+\.py|{PYTHON}):(?P<name>[^\W\d]\w*)(?:=(?P<weight>[^=]+))?"
)


def reward_source(text: str) -> RewardSource:
    """Return what ``file.py:function`` or ``file.py:function=weight`` names.

    Raises UserError for any other form, and for a weight that is no finite number.
    """
    match = REWARD_SOURCE.fullmatch(text)
    try:
        weight = float((match and match["weight"]) or 1)
    except ValueError:
        weight = math.nan
    if match is None or not math.isfinite(weight):
        raise UserError(
            f"reward {text!r}: expected file.py:function or file.py:function=weight, such as "
            "my_rewards.py:brevity=0.5"
        )
    return RewardSource(match["file"], match["name"], weight)
