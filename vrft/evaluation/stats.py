"""Intervals, so that no score stands without its uncertainty. All of them are 95 %."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vrft.types import Interval

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""

RESAMPLES = 10_000
FOLDS = 10
T = 2.2621571627409915
"""The 97.5 % point of Student's distribution with FOLDS - 1 degrees of freedom."""

DRAWS_AT_ONCE = 1_000_000
"""How many random indices are held in memory at a time (8 MB of them)."""


def bootstrap(values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean of ``values`` with its percentile bootstrap interval; the same seed, the same ends.

    Fewer than two values have no interval: its ends are NaN, and the mean of none is NaN too.
    """
    data = np.asarray(values, dtype=np.float64)
    n = data.size
    if n < 2:
        return Interval(float(data[0]) if n else math.nan, math.nan, math.nan, n)
    means = np.concatenate([data[rows].mean(axis=1) for rows in draws(n, resamples, seed)])
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(data.mean()), float(low), float(high), n)


def draws(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices of ``n`` values drawn with replacement, ``resamples`` rows in some pieces."""
    random = np.random.default_rng(seed)
    rows = max(1, DRAWS_AT_ONCE // n)
    for start in range(0, resamples, rows):
        yield random.integers(0, n, (min(rows, resamples - start), n))


def wilson(successes: int, n: int) -> Interval:
    """The proportion ``successes / n`` with its Wilson score interval, which is never empty.

    Of no trials nothing is known: the proportion is NaN and the interval all of [0, 1].
    """
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), n)


def interval(values: Sequence[float]) -> Interval:
    """The mean of a metric in [0, 1]: Wilson's where every value is 0 or 1, else the bootstrap's.

    The bootstrap of ten failures would be the point 0, as if nothing were left to doubt.
    """
    if all(value in (0.0, 1.0) for value in values):
        return wilson(round(sum(values)), len(values))
    return bootstrap(values)


def pass_at(k: int, values: Sequence[float]) -> float:
    """The expected best of k of the values, drawn without putting back.

    Of values that are 0 or 1 it is the chance that one of k is right: the unbiased estimate of
    pass@k. Exact before it is rounded. ValueError unless 1 <= k <= their number.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n} answers")
    # The value of rank i (from 0) is the best where the others are drawn from the i below it.
    best = sum(Fraction(v) * math.comb(i, k - 1) for i, v in enumerate(sorted(values)))
    return float(best / math.comb(n, k))


def majority(votes: Sequence[Hashable], values: Sequence[float]) -> float:
    """The mean value of those who cast the most frequent vote, shared equally among equals.

    A vote of None is no vote; without any the value is 0.
    """
    counts = Counter(vote for vote in votes if vote is not None)
    most = max(counts.values(), default=0)
    won = [v for vote, v in zip(votes, values, strict=True) if counts[vote] == most > 0]
    return sum(won) / len(won) if won else 0.0


def ratio(parts: Sequence[tuple[float, float]]) -> Interval:
    """The sum of the numerators over that of the denominators, with its bootstrap interval.

    Fewer than two parts have no interval; NaN where the denominators sum to 0.
    """
    return ratio_difference([(0.0, 1.0)] * len(parts), parts)


def ratio_difference(
    before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]]
) -> Interval:
    """The ratio of ``after`` less that of ``before``, over the same samples in the same order.

    Raises ValueError if the two differ in length.
    """
    pairs = [(*old, *new) for old, new in zip(before, after, strict=True)]
    data = np.asarray(pairs, dtype=np.float64).reshape(-1, 4)
    n = len(data)
    total = data.sum(axis=0)
    if not (total[1] and total[3]):
        return Interval(math.nan, math.nan, math.nan, n)
    value = float(total[2] / total[3] - total[0] / total[1])
    if n < 2:
        return Interval(value, math.nan, math.nan, n)
    sums = np.concatenate([data[rows].sum(axis=1) for rows in draws(n, RESAMPLES, 0)])
    drawn = sums[(sums[:, 1] > 0) & (sums[:, 3] > 0)]
    low, high = np.quantile(drawn[:, 2] / drawn[:, 3] - drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return Interval(value, float(low), float(high), n)


def leave_out(n: int) -> list[list[int]]:
    """For each of FOLDS equal parts of ``n`` samples, drawn once, the indices of all others.

    None for fewer samples than folds.
    """
    order = np.random.default_rng(0).permutation(n).tolist()
    left_out = [set(order[fold::FOLDS]) for fold in range(FOLDS)] if n >= FOLDS else []
    return [[index for index in range(n) if index not in out] for out in left_out]


def jackknife(value: float, without: Sequence[float], n: int) -> Interval:
    """A statistic of ``n`` samples with its interval, from its values ``without`` each fold.

    For statistics that are no means and too slow for the bootstrap. Its ends are NaN without
    values, and where all are the same: no spread is no certainty.
    """
    if not without or np.ptp(without) < 1e-12:
        return Interval(value, math.nan, math.nan, n)
    variance = (FOLDS - 1) * float(np.var(without))
    half = T * math.sqrt(variance)
    return Interval(value, value - half, value + half, n)


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Interval:
    """The mean of ``after - before`` over the same samples in the same order.

    Raises ValueError if the two differ in length.
    """
    return bootstrap([b - a for a, b in zip(before, after, strict=True)])
