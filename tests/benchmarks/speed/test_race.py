"""benchmarks/speed/race.py: both sides compute the same before anything is timed."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from fakes.race import PLAN, SETTING, SMALL, step

from benchmarks.speed import race as race_module
from benchmarks.speed.equality import Equality
from benchmarks.speed.limit import Machine
from benchmarks.speed.race import Pair, Plan, Race, Turns, race
from vrft.errors import UserError


def test_both_sides_find_the_same_gradient(small_race: Race) -> None:
    assert small_race.equality.logps < 1e-5
    assert small_race.equality.gradient < 1e-5
    assert small_race.equality.cosine > 1 - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [0, 2])
def test_both_sides_agree_with_checkpointing(pictures: int) -> None:
    found = race(replace(SETTING, pictures=pictures), SMALL, PLAN, checkpointing=True)
    assert found.equality.gradient < 1e-5


def test_nothing_is_timed_where_the_sides_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race_module.equality, "EXACT", Equality(0.0, 1.0, 0.0))
    with pytest.raises(UserError, match="nothing was timed"):
        race(SETTING, SMALL, PLAN)


def test_every_part_of_a_step_is_seen(small_race: Race) -> None:
    pair = small_race.pairs[0]
    for one in (pair.theirs, pair.ours):
        assert all(seconds > 0 for seconds in one.parts.values())
        assert sum(one.parts.values()) <= one.whole
        assert one.calls["optimizer"] == 1 and one.calls["backward"] == 2


def machines(*speeds: float) -> tuple[Machine, ...]:
    return tuple(Machine(speed, 1.0) for speed in speeds)


@pytest.mark.parametrize(
    ("speeds", "quiet"),
    [
        ((1.0, 1.0, 1.0), True),
        ((1.0, 0.8, 0.9), True),  # 20 % slower
        ((1.0, 0.79, 0.9), False),
        ((0.9, 1.0, 0.79), False),  # the first and the last count, too
    ],
)
def test_a_pair_is_quiet_if_the_machine_was_as_fast_all_the_time(
    speeds: tuple[float, ...], quiet: bool
) -> None:
    assert Pair(step(2.0), step(1.0), machines(*speeds)).quiet is quiet  # type: ignore[arg-type]


def test_our_step_lies_between_the_second_probe_and_the_third() -> None:
    pair = Pair(step(2.0), step(1.0), (Machine(9.0, 9.0), Machine(2.0, 4.0), Machine(4.0, 6.0)))
    assert pair.around_ours == Machine(3.0, 5.0)


class Recorded:
    """A contestant whose steps take no time; ``record`` is None, so that its steps are timed."""

    record = None

    def step(self) -> object:
        return step(1.0)


@pytest.mark.parametrize(
    ("plan", "noisy", "pairs"),
    [
        (Plan("cpu", pairs=2, least=1), 0, 2),  # as many quiet pairs as wanted
        (Plan("cpu", pairs=2, least=1), 1, 3),  # a noisy one is made up for
        (Plan("cpu", pairs=2, least=1), 9, 4),  # a noisy machine is left after twice as many
        (Plan("cpu", pairs=2, least=1, seconds=0.0), 0, 1),  # no time but for the least
        (Plan("cpu", pairs=5, least=3, seconds=0.0), 9, 3),
    ],
)
def test_pairs_are_raced_until_enough_are_quiet_or_time_is_over(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, noisy: int, pairs: int
) -> None:
    turns = Turns(Recorded(), Recorded(), SETTING, plan, time.monotonic())  # type: ignore[arg-type]

    def probe(device: str) -> Machine:
        disturbed = len(turns.pairs) < noisy
        # twice as fast whenever it is asked, while it is disturbed
        turns.before = Machine(1.0, 1.0)
        return Machine(2.0 if disturbed else 1.0, 1.0)

    monkeypatch.setattr(race_module.limit, "probe", probe)
    while turns.after_step(step(2.0)):  # type: ignore[arg-type]
        turns.before = Machine(1.0, 1.0)
    assert len(turns.pairs) == pairs
