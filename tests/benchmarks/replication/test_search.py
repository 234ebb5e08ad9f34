"""benchmarks/replication/search.py: rates are halved until the best lies inside those tried."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from benchmarks.replication import search

GRID = search.grid_of(1e-4, 4)  # 1, 2, 4 and 8 times


def carry_out(
    score: Callable[[float, bool], float], grid: list[float] = GRID
) -> tuple[float, list[tuple[float, int, bool]]]:
    """Run a search whose scores depend on rate and length; return its choice and its runs."""
    scores: dict[tuple[float, int, bool], float] = {}
    while True:
        try:
            return search.best_rate(grid, scores), list(scores)
        except search.Unfinished as unfinished:
            for rate, seed, full in unfinished.missing:
                assert (rate, seed, full) not in scores
                scores[rate, seed, full] = score(rate, full)


def peak_at(best: float) -> Callable[[float, bool], float]:
    """Return scores that fall with the distance from a rate, whatever the length."""
    return lambda rate, full: 1 - abs(math.log2(rate / best)) / 20


def test_a_grid_doubles() -> None:
    assert GRID == [1e-4, 2e-4, 4e-4, 8e-4]


def test_a_rate_inside_the_grid_needs_short_runs_of_all_and_long_ones_of_three() -> None:
    best, runs = carry_out(peak_at(2e-4))
    assert best == 2e-4
    assert runs == [
        *((rate, search.SHORT_SEED, False) for rate in GRID),
        *((rate, search.FULL_SEED, True) for rate in (1e-4, 2e-4, 4e-4)),
    ]


@pytest.mark.parametrize("best", [1e-5, 2.5e-5, 1.6e-3, 3.2e-3])
def test_a_best_rate_beyond_the_grid_is_reached(best: float) -> None:
    chosen, runs = carry_out(peak_at(best))
    assert chosen == pytest.approx(best, rel=0.3)  # rates are rounded to two digits
    tried = {rate for rate, _, _ in runs}
    assert min(tried) < chosen < max(tried)


def test_a_lower_rate_that_is_better_over_all_steps_is_not_missed() -> None:
    # short runs say 8e-4, long ones 1e-4
    best, runs = carry_out(lambda rate, full: peak_at(1e-4 if full else 8e-4)(rate, full))
    assert best == 1e-4
    assert (5e-5, search.FULL_SEED, True) in runs  # its lower neighbour was tried as well


def test_scores_that_rise_for_ever_do_not_keep_the_search_going() -> None:
    best, runs = carry_out(lambda rate, full: rate)
    assert len({rate for rate, _, full in runs if not full}) == search.WIDEST
    assert best == max(rate for rate, _, full in runs if full)
