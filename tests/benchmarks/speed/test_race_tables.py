"""benchmarks/speed/race_tables.py: ratios are those of quiet pairs, and missed goals are told."""

from __future__ import annotations

from dataclasses import replace

from fakes.race import measured

from benchmarks.speed import race_tables


def test_disturbed_pairs_do_not_count() -> None:
    (lisa,) = measured().races
    assert race_tables.ratios(lisa, race_tables.step_seconds) == [6.0, 8.0]
    noisy = replace(lisa, pairs=lisa.pairs[2:])
    assert race_tables.ratios(noisy, race_tables.step_seconds) == [90.0]  # better than no number


def test_a_goal_that_is_missed_is_told_with_the_profile_of_its_parts() -> None:
    (lisa,) = measured().races
    text = race_tables.missed([lisa])
    # 7x where 8x is wanted, as the settings say today and not when it was raced
    assert "- LISA at the published pixel cap: 7.00x where 8x is wanted" in text
    assert "Beyond the limit are " in text and "rollout" in text and "the rest" in text
    slower = replace(lisa, pairs=tuple(replace(p, theirs=replace(p.theirs, whole=99.0))
                                       for p in lisa.pairs))  # fmt: skip
    assert "x where 8x is wanted" not in race_tables.missed([slower])
    other = replace(lisa, setting=replace(lisa.setting, name="unknown", floor=0.0))
    assert race_tables.missed([other]) == "No goal that was set is missed."
