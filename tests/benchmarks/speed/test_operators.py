"""benchmarks/speed/operators.py: a step's time is told by operator and part, all of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fakes.race import SETTING, SMALL

from benchmarks.speed import operators
from benchmarks.speed.operators import BETWEEN, ROLLOUT, UPDATE, Operator, Profile


def event(name: str, start: float, end: float, own: float) -> SimpleNamespace:
    return SimpleNamespace(
        name=name, time_range=SimpleNamespace(start=start, end=end), self_cpu_time_total=own
    )


def test_operators_are_summed_by_the_part_in_which_they_began() -> None:
    events = [
        event(UPDATE, 0, 100, 30), event(ROLLOUT, 10, 50, 5), event("mm", 12, 20, 8),
        event("mm", 49, 51, 2), event("mm", 60, 70, 10),
    ]  # fmt: skip
    assert operators.summed(events) == (
        Operator(BETWEEN, "update", 1, 30e-6),
        Operator("mm", "rollout", 2, 10e-6),
        Operator("mm", "update", 1, 10e-6),
        Operator(BETWEEN, "rollout", 1, 5e-6),
    )


def test_small_operators_are_one_line_and_none_is_left_out() -> None:
    ops = (Operator("mm", "update", 3, 9.9), *[Operator("add", "rollout", 7, 0.05)] * 2)
    text = operators.section([Profile(SETTING, SMALL, ops, 8.0)])
    assert "| update | `mm` | 3 | 9.90 | 99% |" in text
    assert "| both | all others | 14 | 0.10 | 1% |" in text
    assert "10.00 s with the profiler, 8.00 s without" in text
    assert operators.section([]) == ""


@pytest.mark.slow
def test_both_parts_of_a_true_step_are_profiled() -> None:
    found = operators.measure(SETTING, SMALL)
    assert {operator.part for operator in found.operators} == {ROLLOUT, UPDATE}
    backward = [op for op in found.operators if op.name.endswith("Backward0")]
    assert backward and all(op.part == UPDATE for op in backward)
    assert found.usual > 0
