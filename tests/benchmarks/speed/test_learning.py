"""benchmarks/speed/learning.py: both sides are examined alike, and the clock stands still."""

from __future__ import annotations

import pytest
from fakes.race import curve

from benchmarks.speed import learning
from benchmarks.speed.learning import Comparison


def test_the_time_of_a_reward_lies_between_examinations() -> None:
    theirs = curve("theirs", (0, 1.0), (10, 1.4), (20, 1.2), (30, 2.0))
    assert [theirs.seconds_to(reward) for reward in (0.5, 1.2, 1.6, 2.1)] == [0, 5, 25, None]
    one = Comparison(curve("ours", (0, 1.0), (5, 1.9)), theirs)
    assert one.goal == pytest.approx(1.8)
    assert one.seconds == pytest.approx((27.5, 40 / 9))


def test_both_sides_are_examined_before_and_after_the_same_steps() -> None:
    settings = ("train.max_steps=3", "train.per_device_train_batch_size=2", "eval.limit=4")
    curves = [side(1, settings, 2) for side in (learning.learn, learning.learn_with_trl)]
    assert [one.side for one in curves] == ["ours", "theirs"]
    for one in curves:
        assert [point.step for point in one.points] == [0, 2, 3]  # every second, and the last
        assert 0 == one.points[0].seconds < one.points[1].seconds < one.points[2].seconds
    assert curves[0].points[0].reward == curves[1].points[0].reward
