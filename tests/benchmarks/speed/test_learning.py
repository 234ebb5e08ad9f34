"""benchmarks/speed/learning.py: both sides are examined alike, and the clock stands still."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fakes.race import curve

from benchmarks.speed import learning
from benchmarks.speed.beds import BEDS
from benchmarks.speed.learning import Comparison


def test_the_time_of_a_reward_lies_between_examinations() -> None:
    theirs = curve("theirs", (0, 1.0), (10, 1.4), (20, 1.2), (30, 2.0))
    assert [theirs.seconds_to(reward) for reward in (0.5, 1.2, 1.6, 2.1)] == [0, 5, 25, None]
    one = Comparison(curve("ours", (0, 1.0), (5, 1.9)), theirs)
    assert one.goal == pytest.approx(1.8)
    assert one.seconds == pytest.approx((27.5, 40 / 9))


def test_both_sides_are_examined_before_and_after_the_same_steps() -> None:
    bed = replace(BEDS["demo"], every=2)
    settings = ("train.max_steps=3", "train.per_device_train_batch_size=2", "eval.limit=4")
    compared = learning.compare(bed, 1, settings)
    assert compared.clock == learning.CLOCK
    for side in (compared.ours, compared.theirs):
        assert [point.step for point in side.points] == [0, 2, 3]  # every second, and the last
        assert 0 == side.points[0].seconds < side.points[1].seconds < side.points[2].seconds
    assert compared.ours.points[0].reward == compared.theirs.points[0].reward


def test_other_prompts_of_trl_are_refused() -> None:
    class Processor:
        def apply_chat_template(self, messages: object, **kwargs: object) -> str:
            return "text"

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [1, 2]}

    same = SimpleNamespace(tokens=torch.tensor([1, 2]))
    learning.require_same_prompt(Processor(), [], [same])
    with pytest.raises(RuntimeError, match="TRL reads"):
        learning.require_same_prompt(Processor(), [], [SimpleNamespace(tokens=torch.tensor([1]))])
