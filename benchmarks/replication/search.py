"""The choice of an arm's rate by successive halving, until the best lies inside the grid.

First every rate of a short grid is tried for a third of the steps; while the best lies at the edge,
the grid grows beyond it. The best three of the neighbourhood then train to the end. The best of
these wins once both its neighbours have been tried and have done worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FACTOR = 2.0
"""Ratio of neighbouring rates."""

WIDEST = 9
"""Rates of a grid that has grown as far as it may."""

SHORT_SEED, FULL_SEED = 9001, 9002
"""Seeds of the search, which no other run has: of its short and of its full runs."""

Scores = Mapping[tuple[float, int, bool], float]
"""Scores on "val": (rate, seed, whether it took all steps) -> score."""


class Unfinished(Exception):
    """Runs that the search still needs, as (rate, seed, whether it takes all steps)."""

    def __init__(self, missing: Sequence[tuple[float, int, bool]]) -> None:
        super().__init__(f"{len(missing)} runs of the search are missing")
        self.missing = tuple(missing)


def grid_of(first: float, count: int) -> list[float]:
    """Return ``count`` rates upwards from the first, each FACTOR times the one before."""
    # Two digits: the rates are part of the rows' keys and must come out the same every time.
    return [float(f"{first * FACTOR**power:.2g}") for power in range(count)]


def best_rate(grid: Sequence[float], scores: Scores) -> float:
    """Return the best rate; raise Unfinished, with the runs that come next, while it is not known.

    ``grid`` are the rates to begin with, ascending. A grid that has grown to WIDEST grows no more:
    the best may then lie at its edge.
    """
    rates = list(grid)
    while True:
        need([(rate, SHORT_SEED, False) for rate in rates], scores)
        best = max(rates, key=lambda rate: scores[rate, SHORT_SEED, False])
        grown = extended(rates, best)
        if grown == rates:
            break
        rates = grown
    place = rates.index(best)
    finalists = rates[max(0, place - 1) : place + 2]
    while True:
        need([(rate, FULL_SEED, True) for rate in finalists], scores)
        winner = max(finalists, key=lambda rate: scores[rate, FULL_SEED, True])
        # Short runs favour high rates: over all steps a neighbour may be better still.
        grown = extended(finalists, winner)
        if grown == finalists:
            return winner
        finalists = grown


def need(runs: Sequence[tuple[float, int, bool]], scores: Scores) -> None:
    """Raise Unfinished for the runs that have no score."""
    missing = [run for run in runs if run not in scores]
    if missing:
        raise Unfinished(missing)


def extended(rates: Sequence[float], best: float) -> list[float]:
    """Return ascending rates with one more beyond the best, where it lies at their edge."""
    rates = list(rates)
    if len(rates) >= WIDEST:
        return rates
    if best == rates[0]:
        return [float(f"{best / FACTOR:.2g}"), *rates]
    if best == rates[-1]:
        return [*rates, float(f"{best * FACTOR:.2g}")]
    return rates
