"""TRL's reward signature: a reward of ours in it, and what rewards log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vrft import rewards
from vrft.errors import UserError
from vrft.rewards.trl import RewardLog
from vrft.types import Completion, Sample, View

SAMPLE = Sample("s1", "How many?", 3)


def exact(sample: Sample[int], completion: Completion) -> float:
    return float(f"<answer>{sample.answer}</answer>" in completion.text)


def test_a_reward_of_ours_has_trls_signature() -> None:
    function = rewards.to_trl("exact", exact, [SAMPLE, Sample("s2", "And now?", 4)])
    assert function.__name__ == "exact"  # what TRL calls it in its logs
    texts = ["<answer>3</answer>", "<answer>3</answer>"]
    conversations = [[{"role": "assistant", "content": text}] for text in texts]
    for completions in (texts, conversations):
        given = function(
            prompts=["?", "?"], completions=completions, sample_id=["s1", "s2"], step=7
        )
        assert given == [1.0, 0.0]


def test_an_exported_reward_sees_the_views() -> None:
    def width(sample: Sample[int], completion: Completion) -> float:
        return float(completion.views[0].width)

    function = rewards.to_trl(
        "width", width, [SAMPLE], views=lambda sample: (View(56, 28, "pixels"),)
    )
    assert function(completions=["x"], sample_id=["s1"]) == [56.0]


def test_an_exported_reward_sees_the_length_in_tokens() -> None:
    def length(sample: Sample[int], completion: Completion) -> float:
        return float(completion.tokens)

    function = rewards.to_trl("length", length, [SAMPLE])
    given = function(["x", "y"], ["s1", "s1"], completion_ids=[[5, 6, 7], [8]])
    assert given == [3.0, 1.0]
    assert function(["x"], ["s1"]) == [0.0]  # not known


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (lambda log: log.log_metric("m", "x"), r"log_metric\('m'\): expected a number, got 'x'"),
        (lambda log: log.log_extra("c", [1]), r"log_extra\('c'\): expected a list of 2 value"),
        (lambda log: log.log_extra("c", 1), r"log_extra\('c'\): expected a list of 2 value"),
    ],
)
def test_what_cannot_be_logged_is_refused(log: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        log(RewardLog(2))


def test_logged_values_are_numbers_and_what_json_can_hold() -> None:
    log = RewardLog(2)
    log.log_metric("m", np.float32(0.5))
    log.log_metric("m", True)
    log.log_extra("c", [np.int64(3), Path("a")])
    assert log.metrics == {"m": [0.5, 1.0]}
    assert log.columns == {"c": [3, "a"]}
