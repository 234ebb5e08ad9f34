"""benchmarks/speed/beds.py: what both sides learn has TRL's means, and its own name."""

from __future__ import annotations

import pytest

from benchmarks.speed import __main__ as entry
from benchmarks.speed.beds import BEDS


@pytest.mark.parametrize("name", BEDS)
def test_both_sides_average_tokens_as_trl_does(name: str) -> None:
    bed = BEDS[name]
    chosen = bed.configuration(3, ["train.max_steps=5"])
    assert (chosen.algorithm.token_mean, chosen.algorithm.alpha) == ("global", False)
    assert (chosen.train.seed, chosen.train.max_steps) == (3, 5)


def test_a_measure_has_a_name() -> None:
    assert [bed.measure for bed in BEDS.values()] == ["reward", "accuracy"]


def test_every_bed_can_be_named() -> None:
    choices = {action.dest: action.choices for action in entry.arguments()._actions}
    assert set(choices["bed"] or ()) == set(BEDS)
