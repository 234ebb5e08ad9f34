"""Rewards: those that tasks share, those of TRL, and the check of every value; the public names."""

from vrft.rewards.function_reward import FunctionReward, from_trl
from vrft.rewards.rewarded_task import TaskWithRewards, further_rewards, with_rewards
from vrft.rewards.shared_rewards import (
    FORMATS,
    FormatRule,
    follows_format,
    legacy_format,
    overlap,
)
from vrft.rewards.task_rewards import (
    GroupRewards,
    LostReward,
    checked,
    group_rewards,
    rewards_and_missing,
    rewards_of,
    score_of,
)
from vrft.rewards.trl import GroupReward, TrainerState, to_trl
from vrft.rewards.values import LARGEST

__all__ = [
    "FORMATS",
    "LARGEST",
    "FormatRule",
    "FunctionReward",
    "GroupReward",
    "GroupRewards",
    "LostReward",
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
