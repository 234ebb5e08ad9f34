"""benchmarks/speed/limit.py: the least time of a step is that of its operations and bytes."""

from __future__ import annotations

import pytest
from fakes.race import SMALL

from benchmarks.speed import cost, limit
from benchmarks.speed.cost import Load
from benchmarks.speed.limit import Machine


def test_the_least_time_is_that_of_operations_and_bytes() -> None:
    load = Load(10, 4, 1, completion=2, generations=2)
    work = cost.necessary(SMALL, load).total
    # bytes alone: two decoded tokens read all weights and the keys and values before them
    pair = 2 * SMALL.layers * SMALL.kv_heads * SMALL.head_size
    read = 4 * 2 * (cost.decoder_weights(SMALL) + pair * (10 + 2 * 2 / 2))
    expected = work / 10 + (read + 28 * cost.weights(SMALL)) / 5
    parts = limit.parts(SMALL, load, 1, Machine(10, 5), 4)
    assert sum(parts.values()) == pytest.approx(expected)
    assert parts["backward"] == 2 * parts["forward"]
    assert parts["optimizer"] == pytest.approx(28 * cost.weights(SMALL) / 5)


def test_what_a_step_leaves_out_is_not_credited_to_it() -> None:
    load = Load(10, 4, 1, completion=2, generations=2)
    machine = Machine(10, 5)
    every = limit.parts(SMALL, load, 2, machine, 4)
    half = limit.parts(SMALL, load, 2, machine, 4, informative=1)
    assert half["rollout"] == every["rollout"]
    assert half["forward"] == every["forward"] / 2 and half["backward"] == every["backward"] / 2
    # the update of two groups without the tower's own forward pass of their two pictures
    reused = limit.parts(SMALL, load, 2, machine, 4, reused=True)
    saved = 2 * cost.vision(SMALL, 4) / machine.products
    assert every["forward"] - reused["forward"] == pytest.approx(saved)
    assert reused["backward"] == every["backward"]


def test_the_spread_of_two_moments_is_the_share_of_the_slower() -> None:
    assert Machine(8.0, 1.0).spread(Machine(10.0, 9.0)) == pytest.approx(0.2)
    assert Machine(10.0, 1.0).spread(Machine(8.0, 9.0)) == pytest.approx(0.2)


def test_a_probe_counts_the_runs_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(limit, "PROBE", 0.15)
    monkeypatch.setattr(limit, "now", lambda: 0.05 * next(clock))
    runs: list[None] = []
    # asked at 0, then before each run: those at 0.05 and 0.1 come before 0.15, and 0.2 ends it
    assert limit.frequency(lambda: runs.append(None)) == pytest.approx(2 / 0.2)
    assert len(runs) == 3  # the first one warms up
