"""benchmarks/speed/growth.py: what grows is measured beside what the model says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.race import SETTING, SMALL, step

from benchmarks.speed import growth
from benchmarks.speed.growth import AXES, Point
from benchmarks.speed.limit import Machine
from benchmarks.speed.memory import Memory
from benchmarks.speed.shapes import SHAPES


def point(size: int, seconds: float, held: int) -> Point:
    return Point(
        "prompts of a step", size, replace(SETTING, prompts=size), SMALL, 30, step(seconds),
        Memory(0, held), Machine(1e9, 1e9),
    )  # fmt: skip


def test_the_power_of_an_axis_is_that_of_its_ends() -> None:
    points = [point(2, 1.0, 2**20), point(8, 3.0, 2**20), point(32, 16.0, 2**22)]
    # 16 times the work: 16 times the seconds, and 4 times the memory
    text = growth.section(points)
    assert "| prompts of a step | 2 to 32 | 1.00 | " in text and "| 0.50 | 0.00 |" in text


def test_trl_stands_beside_only_where_it_was_measured() -> None:
    alone = point(2, 1.0, 2**20)
    both = replace(point(8, 1.0, 2**20), theirs=step(7.0), their_memory=Memory(0, 2**30))
    text = growth.section([alone, both])
    assert text.count("7.0x") == 1 and "| 7.00 | 1,024 | 7.0x |" in text
    assert growth.section([]) == ""


def test_the_least_seconds_of_prompts_grow_with_them() -> None:
    assert point(32, 1.0, 1).least > 8 * point(2, 1.0, 1).least


def test_large_steps_of_trl_are_left_out() -> None:
    shape = SHAPES["cpu-third"]
    small, large = AXES["prompts of a step"][2], AXES["prompts of a step"][32]
    assert growth.affordable(small, shape) and not growth.affordable(large, shape)


@pytest.mark.slow
def test_both_sides_take_a_step_at_a_point() -> None:
    ours = growth.measure("prompts of a step", 2, SETTING, {}, SMALL)
    assert ours.step.whole > 0 and ours.least > 0 and ours.prompt > 12
    theirs, held = growth.measure_theirs(SETTING, SMALL)
    assert theirs.whole > 0 and held.peak > 0
    for model in growth.VARIANTS.values():
        assert growth.measure("variant", 0, SETTING, model, SMALL).step.whole > 0
