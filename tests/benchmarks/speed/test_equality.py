"""benchmarks/speed/equality.py: how far two updates are apart, and how far they may be."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from benchmarks.speed import equality
from benchmarks.speed.contestant import Record
from benchmarks.speed.equality import EXACT, Equality
from vrft.errors import UserError


def record(*weights: float, logp: float = 0.0) -> Record:
    return Record(gradient={"w": torch.tensor(weights)}, logps={(1,): torch.tensor([logp])})


def test_updates_may_differ_by_rounding_alone() -> None:
    theirs = record(3.0, 4.0)
    near = equality.compare(theirs, record(3.0, 4.0005, logp=1e-5))
    assert near.gradient == pytest.approx(0.0005 / 5, rel=1e-3)  # |(3, 4)| = 5
    assert near.logps == pytest.approx(1e-5)
    equality.require(near, EXACT)
    with pytest.raises(UserError, match="nothing was timed"):
        equality.require(equality.compare(theirs, record(3.0, 4.1)), EXACT)


@pytest.mark.parametrize(
    "far", [{"logps": 1.0}, {"gradient": 1.0}, {"cosine": 0.5}, {"cosine": math.nan},
            {"logps": math.nan}, {"gradient": math.nan}],
)  # fmt: skip
def test_each_distance_counts_and_so_does_nan(far: dict[str, float]) -> None:
    same = Equality(logps=0.0, cosine=1.0, gradient=0.0)
    equality.require(same, EXACT)
    with pytest.raises(UserError, match="nothing was timed"):
        equality.require(replace(same, **far), EXACT)


@pytest.mark.parametrize(
    "ours",
    [
        Record(),  # neither parameters nor texts
        Record(gradient={"w": torch.zeros(2)}),  # no texts
        Record(gradient={"v": torch.zeros(2)}, logps={(1,): torch.zeros(1)}),
        Record(gradient={"w": torch.zeros(2)}, logps={(2,): torch.zeros(1)}),
    ],
)
def test_only_the_same_parameters_and_texts_are_compared(ours: Record) -> None:
    with pytest.raises(UserError, match="same parameters on the same texts"):
        equality.compare(record(3.0, 4.0), ours)


def test_completions_of_tied_groups_may_be_left_out_on_our_side_alone() -> None:
    theirs = record(3.0, 4.0)
    both = replace(theirs, logps={(1,): torch.zeros(1), (2,): torch.zeros(1)})
    assert equality.compare(both, theirs, skipped=1).gradient == 0
    for others in ((both, theirs, 0), (theirs, theirs, 1), (theirs, both, 1)):
        with pytest.raises(UserError, match="same texts"):
            equality.compare(*others)
