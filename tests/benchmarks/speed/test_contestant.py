"""benchmarks/speed/contestant.py: the clock of a step's parts."""

from __future__ import annotations

import pytest

from benchmarks.speed import contestant
from benchmarks.speed.contestant import Clock, Record


def test_a_part_within_a_part_is_given_back() -> None:
    clock = Clock()
    with clock.during("rollout"):
        with clock.during("preprocessing"):
            assert clock.part == "preprocessing"
        assert clock.part == "rollout"
    assert clock.part == ""
    step = clock.stop()
    assert step.calls["rollout"] == step.calls["preprocessing"] == 1


def test_the_seconds_of_a_part_add_up_and_begin_anew_with_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr(contestant, "now", lambda: float(next(seconds)))
    clock = Clock()  # 0
    clock.start()  # 1
    multiply = clock.timed("forward", lambda a, b: a * b)
    assert multiply(2, 3) == multiply(3, b=2) == 6  # from 2 to 3, from 4 to 5
    with pytest.raises(ZeroDivisionError), clock.during("rollout"):  # from 6 to 7
        _ = 1 / 0
    step = clock.stop()  # 8
    assert step.whole == 7.0
    assert step.parts["forward"] == 2.0 and step.calls["forward"] == 2
    assert step.parts["rollout"] == 1.0 and step.parts["backward"] == 0.0
    clock.start()
    assert clock.stop().parts["forward"] == 0.0 and step.parts["forward"] == 2.0


def test_a_record_knows_its_longest_prompt() -> None:
    assert Record(completions={(1, 2, 3): [], (4, 5): []}).prompt == 3
