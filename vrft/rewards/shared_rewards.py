"""Rewards that tasks share: for the form of an answer, and for the overlap of boxes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from vrft import answers
from vrft.boxes import Box, iou
from vrft.task import Reward
from vrft.types import A, Completion, Sample

FormatRule = Literal["strict", "legacy"]
"""The setting ``task.format``: our rule for the form of an answer, or the published one."""


def follows_format(sample: Sample[A], completion: Completion) -> float:
    """Return 1 for a completion that keeps the think-and-answer contract exactly, else 0."""
    return float(answers.follows_format(completion.text))


def legacy_format(sample: Sample[A], completion: Completion) -> float:
    """Return 1 for a completion that the published format rule accepts, else 0."""
    return float(answers.legacy_format(completion.text))


FORMATS: Mapping[FormatRule, Reward[Any]] = MappingProxyType(
    {"strict": follows_format, "legacy": legacy_format}
)
"""Rule -> the reward "format" of a task that follows it."""


def overlap(truth: Box, predicted: Box | None) -> float:
    """Return the IoU in [0, 1] of two boxes; 0 where no box could be read from the answer."""
    return 0.0 if predicted is None else iou(truth, predicted)
