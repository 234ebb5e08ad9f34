"""The measurement of the equality table: it says equal where both ways agree, and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.families import equality
from benchmarks.families.equality import Distance, Row
from vrft.models.vision_features import DeepStack

NEAR = Distance(False, False, 2e-6, 1e-6, True)


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3"])
def test_both_ways_of_a_family_are_equal_in_all_settings(family: str) -> None:
    row = equality.measure(family)
    assert row.equal and row.model.startswith("Qwen3")
    settings = [(distance.lora, distance.checkpointing) for distance in row.distances]
    assert settings == [(False, False), (False, True), (True, False), (True, True)]
    # measured, not assumed: other sums are rounded otherwise
    assert all(distance.logps > 0 and distance.gradient > 0 for distance in row.distances)


def test_a_family_whose_pictures_are_half_forgotten_is_not_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forget(stacked: DeepStack, tokens: int) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(DeepStack, "arguments", forget)
    row = equality.measure("qwen3_vl")
    assert not row.equal and all(distance.logps > 1e-3 for distance in row.distances)


@pytest.mark.parametrize(
    ("far", "equal"),
    [
        (NEAR, True),
        (replace(NEAR, logps=2e-5), False),
        (replace(NEAR, gradient=2e-5), False),
        (replace(NEAR, gradient=float("nan")), False),
        (replace(NEAR, greedy=False), False),
    ],
)
def test_one_distance_of_a_family_decides(far: Distance, equal: bool) -> None:
    assert Row("qwen3", "Qwen3ForCausalLM", 1, (NEAR, far)).equal == equal
