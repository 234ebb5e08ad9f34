"""Paired tests over seeds, their correction for many claims, and what so many seeds can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import optimize, stats

LEVEL = 0.05
"""The chance, over a whole family of claims, that any verdict but "cannot tell" is wrong."""

POWER = 0.8


@dataclass(frozen=True)
class PairedTest:
    """Student's one-sided tests of the differences between two arms, one difference a seed.

    ``above`` is the p-value of "the mean difference is no more than the lower bound": a small one
    says that it surely lies above it. ``below`` is that of "no less than the upper bound". ``low``
    to ``high`` is the 95 % interval of the mean, without correction.
    """

    mean: float
    low: float
    high: float
    n: int
    above: float
    below: float


def paired_test(differences: Sequence[float], lower: float, upper: float) -> PairedTest:
    """Return the tests of two or more differences; equal ones leave no doubt about their mean."""
    n, mean = len(differences), fmean(differences)
    error = stdev(differences) / math.sqrt(n)
    if error == 0:
        return PairedTest(mean, mean, mean, n, float(mean <= lower), float(mean >= upper))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    above = float(stats.t.sf((mean - lower) / error, n - 1))
    below = float(stats.t.sf((upper - mean) / error, n - 1))
    return PairedTest(mean, mean - half, mean + half, n, above, below)


def holm(p_values: Sequence[float], most_true: int) -> list[float]:
    """Return p-values adjusted by Holm's step-down method, in the order in which they came.

    ``most_true`` is how many of the hypotheses can be true together; fewer than all of them where
    one excludes another (Shaffer, 1986). Those below LEVEL may be called significant together: the
    chance of any false one is LEVEL.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        factor = min(most_true, len(p_values) - rank)
        largest = max(largest, factor * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def paired_power(difference: float, deviation: float, n: int, level: float = LEVEL) -> float:
    """Return the chance that a one-sided paired t-test of n seeds finds a true difference.

    ``deviation`` is the standard deviation of the differences between seeds.
    """
    shift = difference / deviation * math.sqrt(n)
    return float(stats.nct.sf(float(stats.t.ppf(1 - level, n - 1)), n - 1, shift))


def detectable(deviation: float, n: int, level: float = LEVEL) -> float:
    """Return the smallest true difference that n paired seeds find with POWER, in its unit."""
    if deviation == 0:
        return 0.0

    def shortfall(effect: float) -> float:
        return paired_power(effect, 1.0, n, level) - POWER

    return deviation * float(optimize.brentq(shortfall, 1e-3, 100.0))
