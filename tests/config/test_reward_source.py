"""The name of a reward function: a file, a function and a weight, or one line that refuses it."""

from __future__ import annotations

import pytest

from vrft.config.reward_source import RewardSource, reward_source
from vrft.errors import UserError


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("my_rewards.py:brief", RewardSource("my_rewards.py", "brief", 1.0)),
        ("a=b/c:d.py:loud=-0.5", RewardSource("a=b/c:d.py", "loud", -0.5)),
        ("python:brief=2", RewardSource("python", "brief", 2.0)),  # in memory
    ],
)
def test_a_reward_is_named_by_its_file_function_and_weight(text: str, source: RewardSource) -> None:
    assert reward_source(text) == source


@pytest.mark.parametrize(
    "text",
    [
        "my_rewards.py",  # no function
        "my_rewards:brief",  # no file
        "my_rewards.py:",
        "my_rewards.py:a.b",  # no name of a function
        "my_rewards.py:brief=",
        "my_rewards.py:brief=much",
        # no weight
        "my_rewards.py:brief=nan",
        "my_rewards.py:brief=inf",
        "my_rewards.py:brief=1=2",
    ],
)
def test_a_reward_of_another_form_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"expected file.py:function or file.py:function=weight"):
        reward_source(text)
