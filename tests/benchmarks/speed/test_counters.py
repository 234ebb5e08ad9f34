"""benchmarks/speed/counters.py: every product is counted, whatever layout its weight has."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes.race import PLAN, SETTING, WIDE
from torch import nn

from benchmarks.speed import counters, race
from benchmarks.speed.contestant import Clock
from benchmarks.speed.counters import ProductCounter
from benchmarks.speed.race import Race
from vrft.policy import onednn

repacks = pytest.mark.skipif(
    not onednn.supports(torch.float32), reason="needs oneDNN on an x86 processor"
)


def test_ours_computes_every_picture_and_prompt_once(small_race: Race) -> None:
    prompts, completions = 2 * small_race.prompt, 2 * 4 * 6
    assert small_race.counts["ours"] == {
        "pictures through the image processor": 2,
        "rollout: patches through the vision tower": 2 * 48,
        # nothing follows the last token of a completion
        "rollout: tokens through the language model": prompts + completions - 8,
        "rollout: rows of logits": 2 + completions - 8,
        "update: patches through the vision tower": 2 * 48,
        "update: tokens through the language model": prompts + completions - 8,
        "update: rows of logits": completions,
        "backward passes": 2,
    }


def test_trl_computes_them_for_every_completion(small_race: Race) -> None:
    prompts, completions = 2 * 4 * small_race.prompt, 2 * 4 * 6
    assert small_race.counts["theirs"] == {
        "pictures through the image processor": 2 * 2 * 4,  # before sampling, and again after it
        "rollout: patches through the vision tower": 2 * 4 * 48,
        "rollout: tokens through the language model": prompts + completions - 8,
        "rollout: rows of logits": completions,
        "update: patches through the vision tower": 2 * 4 * 48,
        "update: tokens through the language model": prompts + completions,
        "update: rows of logits": completions,
        "backward passes": 2,
    }


@repacks
@pytest.mark.slow
def test_products_with_repacked_weights_are_counted(small_race: Race, wide_race: Race) -> None:
    assert WIDE.hidden * WIDE.inner >= onednn.MIN_LAYER  # the layer whose rows are counted
    assert wide_race.counts == small_race.counts and wide_race.prompt == small_race.prompt


@repacks
@pytest.mark.slow
def test_a_race_with_an_operator_that_is_not_counted_publishes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = counters.PRODUCTS - {f"mkldnn.{onednn.LINEAR}"}
    monkeypatch.setattr(counters, "PRODUCTS", known)
    with pytest.raises(RuntimeError, match=r"counted 0 rollout: tokens .*PRODUCTS"):
        race.race(SETTING, WIDE, PLAN)


def test_ours_does_the_least_that_any_step_can(small_race: Race) -> None:
    fewest = counters.least(SETTING, small_race.prompt)
    # a tower as small as this one passes once more in the update
    patches = {"update: patches through the vision tower": fewest[f"rollout: {counters.PATCHES}"]}
    assert small_race.counts["ours"] == fewest | patches | {"backward passes": 2}


@pytest.mark.parametrize("lost", ["rollout: rows of logits", "rollout: patches through the vision "
                                  "tower", "pictures through the image processor"])  # fmt: skip
def test_a_count_below_the_least_is_refused(lost: str) -> None:
    counts = counters.least(SETTING, 30)
    counters.require_complete(counts, SETTING, 30)
    for too_few in (counts[lost] - 1, 0):
        with pytest.raises(RuntimeError, match=f"counted {too_few} {lost}"):
            counters.require_complete(counts | {lost: too_few}, SETTING, 30)
    del counts[lost]
    with pytest.raises(RuntimeError, match=f"counted 0 {lost}"):
        counters.require_complete(counts, SETTING, 30)


def test_an_update_passes_all_pictures_or_takes_those_of_its_rollout() -> None:
    counts = counters.least(SETTING, 30)
    counters.require_complete(counts | {counters.UPDATE_PATCHES: 0}, SETTING, 30)
    few = counts[counters.UPDATE_PATCHES] - 1
    with pytest.raises(RuntimeError, match=f"counted {few} update: patches"):
        counters.require_complete(counts | {counters.UPDATE_PATCHES: few}, SETTING, 30)
    del counts[counters.UPDATE_PATCHES]  # not counted at all
    with pytest.raises(RuntimeError, match="counted 0 update: patches"):
        counters.require_complete(counts, SETTING, 30)


def test_without_pictures_none_are_expected() -> None:
    counts = counters.least(replace(SETTING, pictures=0), 10)
    assert not [name for name in counts if "picture" in name or "patches" in name]


class OneLayer:
    """A contestant that is a single layer, [1024, 256], at work on its rollout."""

    has_vision = False

    def __init__(self) -> None:
        self.clock = Clock()
        self.layer = nn.Linear(256, 1024)
        self.preprocessed = 0


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> ProductCounter:
    """Return a counter of the rows that pass a single layer, not yet entered."""
    side = OneLayer()
    monkeypatch.setattr(counters, "watched_weights", lambda side: {"rows": side.layer.weight})
    return ProductCounter(side, counters.Counter())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("product", "rows"),
    [
        (lambda layer, x: layer(x), 6),  # addmm
        (lambda layer, x: x @ layer.weight.T, 6),  # mm
        (lambda layer, x: x.unsqueeze(0) @ layer.weight.T, 6),  # [1, 6, K] is one product, too
        (lambda layer, x: torch.baddbmm(layer.bias, x[None], layer.weight.T[None]), 6),
        # the slices of a vocabulary together are one row
        (lambda layer, x: [x @ part.T for part in layer.weight.split(300)], 6),
        (lambda layer, x: x @ layer.weight[:512].T, 3),  # half of the columns
        (lambda layer, x: layer.weight.sum(), 0),  # no product
        (lambda layer, x: x @ torch.zeros(256, 1024), 0),  # another weight
    ],
)
def test_each_way_to_multiply_is_counted(
    counter: ProductCounter, product: object, rows: int
) -> None:
    side = counter.side
    with torch.no_grad(), counter, side.clock.during("rollout"):
        product(side.layer, torch.ones(6, 256))  # type: ignore[operator, attr-defined]
    assert counter.counts["rollout: rows"] == rows


@repacks
def test_a_repacked_weight_is_known_as_the_weight(counter: ProductCounter) -> None:
    side = counter.side
    layer: nn.Linear = side.layer  # type: ignore[attr-defined]
    with torch.no_grad(), counter, side.clock.during("rollout"), onednn.prepacked(layer):
        layer(torch.ones(6, 256))
        layer(torch.ones(2, 3, 256))
    assert counter.counts["rollout: rows"] == 12


def test_rows_outside_of_a_phase_are_not_counted(counter: ProductCounter) -> None:
    side = counter.side
    with counter:
        side.layer(torch.ones(6, 256))  # type: ignore[attr-defined]
        with side.clock.during("forward"):
            side.layer(torch.ones(5, 256))  # type: ignore[attr-defined]
    assert counter.counts == {"update: rows": 5}
