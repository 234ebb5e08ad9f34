"""Rewards are known by the module that defines them, however they are wrapped."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from fakes import trl_rewards
from fakes.naming import Naming

from vrft.rewards import FunctionReward, follows_format, from_trl
from vrft.rewards.function_reward import FileFunction
from vrft.rewards.origins import is_own, module_of
from vrft_tasks.counting import Counting


@pytest.mark.parametrize(
    ("reward", "module"),
    [
        (trl_rewards.own, "fakes.trl_rewards"),
        (partial(trl_rewards.own), "fakes.trl_rewards"),
        (partial(partial(trl_rewards.own)), "fakes.trl_rewards"),
        (from_trl(trl_rewards.pixels), "fakes.trl_rewards"),
        (FunctionReward(FileFunction("mine", "f"), "f"), "mine"),
        (Naming().score, "fakes.naming"),  # a method
        (Naming(), "fakes.naming"),  # an object that can be called would be of its class
        (len, "builtins"),
    ],
)
def test_a_reward_is_known_by_the_module_that_defines_it(reward: Any, module: str) -> None:
    assert module_of(reward) == module


@pytest.mark.parametrize(
    ("thing", "own"),
    [
        (follows_format, True),
        (Counting, True),
        (Naming, False),
        (partial(follows_format), True),
        (trl_rewards.own, False),
        (FunctionReward(FileFunction("vrft_mine", "f"), "f"), False),  # a name that begins alike
    ],
)
def test_the_toolkits_own_are_told_from_a_users(thing: Any, own: bool) -> None:
    assert is_own(thing) is own
