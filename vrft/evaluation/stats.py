"""The uncertainty of a score: 95 % intervals of means, proportions, ratios and other statistics.

The resampling and the distributions are scipy's; this module says what happens at the edges: to
fewer than two values, to values that are all equal, and to ratios whose denominators are zero.
scipy.stats takes a second to import, so that each function imports it when it is called.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrft.types import Interval

RESAMPLES = 10_000
FOLDS = 10
"""Parts of the samples that the jackknife leaves out in turn."""
POINT = 1e-12
"""A spread of values in [0, 1] that is none but for rounding."""
TAILS = (0.025, 0.975)
"""Both ends of a 95 % interval, as quantiles."""

FEW_CHANGES = 30
"""Samples that changed between right and wrong below which their difference has Tango's interval:
of fewer the bootstrap sees too little of what might have been, of more the two agree."""

INDICES_AT_ONCE = 250_000
"""How many random indices the bootstrap draws at a time: 2 MB, and as much for their values.

The draws are the same whatever this number is; larger pieces leave the processor's cache.
"""


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of a metric in [0, 1] with its interval.

    The interval is Wilson's where every value is 0 or 1, else the bootstrap's.
    """
    # Resampling ten failures gives ten failures: the bootstrap would be certain of the mean 0.
    if all(value in (0.0, 1.0) for value in values):
        return wilson(round(sum(values)), len(values))
    return bootstrap(values)


def bootstrap(
    values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0, least: float = 0.0
) -> Interval:
    """Return the mean of ``values`` in [``least``, 1] with its percentile bootstrap interval.

    The same seed gives the same ends. Fewer than two values have no interval: its ends are NaN,
    and the mean of no values is NaN too. Values that are all equal have that of ``equal``.
    """
    data = np.asarray(values, dtype=np.float64)
    n = data.size
    if n < 2:
        return Interval(float(data[0]) if n else math.nan, math.nan, math.nan, n)
    mean = float(data.mean())
    if math.isnan(mean):
        # Checked here because scipy warns of a NaN among the resampled means.
        return Interval(mean, math.nan, math.nan, n)
    if np.ptp(data) < POINT:
        return equal(mean, n, least)
    low, high = resample(data, np.mean, resamples, seed).confidence_interval
    return Interval(mean, float(low), float(high), n)


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Return the mean of ``after - before`` over the same samples in the same order.

    Its interval is the bootstrap's, or Tango's where few answers became right or wrong. Raises
    ValueError if the two differ in length.
    """
    differences = [b - a for a, b in zip(before, after, strict=True)]
    gains, losses = differences.count(1.0), differences.count(-1.0)
    ternary = gains + losses + differences.count(0.0) == len(differences) > 0
    if ternary and gains + losses < FEW_CHANGES:
        return tango(gains, losses, len(differences))
    return bootstrap(differences, least=-1.0)


def equal(value: float, n: int, least: float) -> Interval:
    """Return the mean of ``n`` values in [``least``, 1] that all equal ``value``, and its interval.

    Resampling finds no spread in them and would be certain. By Wilson's interval of none in n, a
    share of z^2 / (n + z^2) of all samples may have another value, at worst the least or the
    greatest. For a metric of 0 or 1 this is Wilson's own interval, for its differences Tango's.
    """
    share = wilson(0, n).high
    return Interval(value, value + share * (least - value), value + share * (1.0 - value), n)


def tango(gains: int, losses: int, n: int) -> Interval:
    """Return (gains - losses) / n, a difference of paired proportions, with Tango's score interval.

    Of ``n`` samples so many became right and so many wrong. The interval holds 0 exactly where
    McNemar's test sees no difference (Tango, Statistics in Medicine 17, 1998, 891-908).
    """
    from scipy import optimize, stats

    estimate, z = (gains - losses) / n, float(stats.norm.ppf(TAILS[1]))

    def score(difference: float) -> float:
        """Return the deviation from a supposed difference in standard errors."""
        # The likeliest share of losses, if the difference of the shares is the supposed one.
        b = (2 * n - gains + losses) * difference - gains - losses
        c = -losses * difference * (1 - difference)
        share = (math.sqrt(b * b - 8 * n * c) - b) / (4 * n)
        variance = 2 * share + difference * (1 - difference)
        deviation = math.sqrt(n) * (estimate - difference)
        return deviation / math.sqrt(max(variance, POINT**2)) if deviation else 0.0

    def end(edge: float, sign: float) -> float:
        """Return where the score is z standard errors, between the estimate and an edge."""
        return float(optimize.brentq(lambda d: score(d) - sign * z, *sorted((edge, estimate))))

    low = end(-1.0, 1.0) if estimate > -1 else -1.0
    high = end(1.0, -1.0) if estimate < 1 else 1.0
    return Interval(estimate, low, high, n)


def wilson(successes: int, n: int) -> Interval:
    """Return the proportion ``successes / n`` with its Wilson score interval.

    The interval is never a single point. Without trials the proportion is NaN and the interval
    all of [0, 1].
    """
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    from scipy import stats

    low, high = stats.binomtest(successes, n).proportion_ci(method="wilson")
    return Interval(successes / n, float(low), float(high), n)


def ratio(parts: Sequence[tuple[float, float]]) -> Interval:
    """Return the sum of the numerators over that of the denominators, with its bootstrap interval.

    ``parts`` holds (numerator, denominator) of every sample. Fewer than two samples have no
    interval, nor have samples that all have the same ratio; the ratio is NaN where the denominators
    sum to 0.
    """
    # The difference from 0 / n is the ratio itself.
    return ratio_difference([(0.0, 1.0)] * len(parts), parts)


def ratio_difference(
    before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]]
) -> Interval:
    """Return the ratio of ``after`` less that of ``before``, over the same samples in one order.

    Raises ValueError if the two differ in length.
    """
    pairs = [(*old, *new) for old, new in zip(before, after, strict=True)]
    # [n, 4]: numerator and denominator before, then after
    data = np.asarray(pairs, dtype=np.float64).reshape(-1, 4)
    n = len(data)
    total = data.sum(axis=0)
    if not (total[1] and total[3]):
        return Interval(math.nan, math.nan, math.nan, n)
    value = float(total[2] / total[3] - total[0] / total[1])
    if n < 2 or math.isnan(value):
        return Interval(value, math.nan, math.nan, n)
    # One draw of samples serves all four columns, so that numerators stay with their denominators.
    sums = resample(data.T, np.sum, RESAMPLES, 0).bootstrap_distribution  # [4, RESAMPLES]
    # A draw of samples that all have the denominator 0 has no ratio, and is left out.
    sums = sums[:, (sums[1] > 0) & (sums[3] > 0)]
    drawn = sums[2] / sums[3] - sums[0] / sums[1]
    if np.ptp(drawn) < POINT:  # equal ratios are no certainty
        return Interval(value, math.nan, math.nan, n)
    low, high = np.quantile(drawn, TAILS)
    return Interval(value, float(low), float(high), n)


def resample(
    data: NDArray[np.float64], statistic: Callable[..., Any], resamples: int, seed: int
) -> Any:
    """Return scipy's percentile bootstrap of a statistic along the last axis of ``data`` [..., n].

    All rows of ``data`` are drawn with the same indices. Needs n >= 2 and no NaN.
    """
    from scipy import stats

    return stats.bootstrap(
        (data,),
        statistic,
        axis=-1,
        n_resamples=resamples,
        # Drawing [resamples, n] at once would take 400 MB for 5,000 samples.
        batch=max(1, INDICES_AT_ONCE // data.shape[-1]),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )


def leave_out(n: int) -> list[list[int]]:
    """Return, for each of FOLDS equal parts of ``n`` samples, the indices of all other samples.

    The parts are drawn once, with a fixed seed. There are none for fewer samples than FOLDS.
    """
    order = np.random.default_rng(0).permutation(n).tolist()
    folds = [set(order[fold::FOLDS]) for fold in range(FOLDS)] if n >= FOLDS else []
    return [[index for index in range(n) if index not in fold] for fold in folds]


def jackknife(value: float, without: Sequence[float], n: int) -> Interval:
    """Return a statistic of ``n`` samples with its interval, from its values without each fold.

    It is for statistics that are no means and too slow for 10,000 resamples, such as mAP. The
    variance is (FOLDS - 1) times that of the values ``without`` a fold, and the interval is
    Student's with FOLDS - 1 degrees of freedom. The ends are NaN where ``without`` is empty.
    """
    # Equal values are no certainty: a mAP of 0 stays 0 whichever samples are left out.
    if not without or np.ptp(without) < POINT:
        return Interval(value, math.nan, math.nan, n)
    from scipy import stats

    variance = (FOLDS - 1) * float(np.var(without))
    half = float(stats.t.ppf(TAILS[1], FOLDS - 1)) * math.sqrt(variance)
    return Interval(value, value - half, value + half, n)


def pass_at(k: int, values: Sequence[float]) -> float:
    """Return the expected best of k of the values, drawn without putting back.

    Of values that are 0 or 1 it is the chance that one of k is right: the unbiased estimate of
    pass@k. Raises ValueError unless 1 <= k <= their number.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n} answers")
    # The value of rank i (from 0) is the best where the others are drawn from the i below it.
    # Fractions keep the sum exact, so that answers that are all right pass with exactly 1.
    best = sum(Fraction(v) * math.comb(i, k - 1) for i, v in enumerate(sorted(values)))
    return float(best / math.comb(n, k))


def majority(votes: Sequence[Hashable], values: Sequence[float]) -> float:
    """Return the mean value of those who cast the most frequent vote.

    Votes that are equally frequent share the win. A vote of None is no vote; without any vote the
    value is 0.
    """
    counts = Counter(vote for vote in votes if vote is not None)
    most = max(counts.values(), default=0)
    # A Counter has 0 for None and 0 without votes: 0 == most is no win.
    won = [v for vote, v in zip(votes, values, strict=True) if counts[vote] == most > 0]
    return sum(won) / len(won) if won else 0.0
