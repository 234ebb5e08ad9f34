"""Seconds and costs of a step from the account of its operators."""

from __future__ import annotations

import pytest

from vrft.step_plans import costs
from vrft.step_plans.account import Place, Work
from vrft.step_plans.cards import Card
from vrft.step_plans.costs import Cost
from vrft.step_plans.rehearsal import Rehearsal

WORK = {
    Place("prefill", "decoder"): [Work(1e12, 1e9, False)],
    Place("decode", "decoder"): [Work(1e6, 7e9, False), Work(1e12, 0, True)],
    Place("forward", "decoder"): [Work(2e12, 0, False)],
    Place("backward", "decoder"): [Work(4e12, 0, False)],
}
REHEARSAL = Rehearsal({}, WORK, decoded=10, passes=2)
CARD = Card("test", 24, half=100, wide=20, bandwidth=1000)


def test_each_operator_takes_as_long_as_its_slower_side() -> None:
    taken = costs.seconds(REHEARSAL, CARD)
    # prefill 1 TF at 50 TF/s: 0.02 s; decoding 10 x (7 GB at 700 GB/s + 1 TF at 10 TF/s)
    assert taken["rollout"] == pytest.approx(0.02 + 10 * (0.01 + 0.1))
    # two passes of 6 TF at 50 TF/s
    assert taken["update"] == pytest.approx(2 * 0.12)


def test_a_reference_model_passes_forward_alone() -> None:
    by_part = costs.costs(REHEARSAL, updates=3, references=1)
    assert by_part["update", "decoder"] == Cost(2 * (4 * 2e12 + 3 * 4e12), 0)


def test_an_update_passes_no_picture_whose_pass_was_kept() -> None:
    vision = {Place("forward", "vision"): [Work(1e12, 1e9, False)]}
    made = Rehearsal({}, vision, decoded=10, passes=4, vision_again=0.25)
    # of four passes one, for each of two updates; all four of a reference model
    assert costs.costs(made, updates=2)["update", "vision"] == Cost(2e12, 2e9)
    assert costs.costs(made, updates=2, references=1)["update", "vision"] == Cost(6e12, 6e9)
