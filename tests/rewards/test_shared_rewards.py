"""Rewards that tasks share: the format, strict and as published, and the overlap of boxes."""

from __future__ import annotations

import pytest

from vrft.boxes import Box
from vrft.rewards.shared_rewards import follows_format, legacy_format, overlap
from vrft.types import Completion, Sample

SAMPLE = Sample("s1", "How many?", 3)


def test_the_two_format_rewards_differ_on_empty_tags_and_outer_whitespace() -> None:
    empty = Completion("<think></think><answer></answer>")
    spaced = Completion("<think>a</think><answer>b</answer>\n")
    assert follows_format(SAMPLE, empty) == 0.0
    assert legacy_format(SAMPLE, empty) == 1.0
    assert follows_format(SAMPLE, spaced) == 1.0
    assert legacy_format(SAMPLE, spaced) == 0.0


def test_an_unreadable_box_scores_zero() -> None:
    # half of the true box: 0.1 of 0.2
    assert overlap(Box(0, 0, 0.2, 1), Box(0, 0, 0.1, 1)) == pytest.approx(0.5)
    assert overlap(Box(0, 0, 0.2, 1), None) == 0.0
