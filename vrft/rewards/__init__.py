"""Rewards: those that tasks share, those of TRL, and the check of every value; the public names."""

from vrft.rewards.function_reward import FunctionReward, from_trl
from vrft.rewards.task_rewards import (
    FORMATS,
    LARGEST,
    FormatRule,
    GroupRewards,
    TaskWithRewards,
    checked,
    follows_format,
    further_rewards,
    group_rewards,
    legacy_format,
    overlap,
    rewards_and_missing,
    rewards_of,
    score_of,
    with_rewards,
)
from vrft.rewards.trl import GroupReward, TrainerState, to_trl

__all__ = [
    "FORMATS",
    "LARGEST",
    "FormatRule",
    "FunctionReward",
    "GroupReward",
    "GroupRewards",
    "TaskWithRewards",
    "TrainerState",
    "checked",
    "follows_format",
    "from_trl",
    "further_rewards",
    "group_rewards",
    "legacy_format",
    "overlap",
    "rewards_and_missing",
    "rewards_of",
    "score_of",
    "to_trl",
    "with_rewards",
]
