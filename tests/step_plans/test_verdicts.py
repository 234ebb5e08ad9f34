"""The verdict of a plan on each card, in words and in plain values."""

from __future__ import annotations

import json

from vrft.step_plans.verdicts import CardPlan, StepPlan

PLANNED = StepPlan(
    "model  a\ndata  b",
    (
        CardPlan("24GB", 20.5, 22.0, (), "24GB fits"),
        CardPlan("A10", 30.0, 22.0, ("model.lora.r=64",), "A10 by an adapter"),
        CardPlan("T4", 30.0, 14.0, None, "T4 does not fit"),
    ),
)


def test_a_card_that_fits_with_other_settings_fits() -> None:
    assert PLANNED.fits == {"24GB": True, "A10": True, "T4": False}


def test_a_plan_is_printed_with_its_cards_behind_its_facts() -> None:
    lines = ["model  a", "data  b", "24GB fits", "A10 by an adapter", "T4 does not fit"]
    assert str(PLANNED).splitlines() == lines


def test_a_plan_is_json() -> None:
    planned = json.loads(json.dumps(PLANNED.to_json()))
    assert planned["facts"] == ["model  a", "data  b"]
    assert [card["settings"] for card in planned["cards"]] == [[], ["model.lora.r=64"], None]
