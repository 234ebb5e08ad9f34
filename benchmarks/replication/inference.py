"""Paired tests over seeds, Holm's correction, and the difference that so many seeds can show."""

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
    """Student's tests of the differences between two arms, one difference a seed.

    ``differs`` is the two-sided p-value of a mean difference of 0, ``equals`` that of a mean
    difference of ``margin`` or more in either direction (two one-sided tests). ``low`` to ``high``
    is the 95 % interval of the mean, without correction.
    """

    mean: float
    low: float
    high: float
    n: int
    differs: float
    equals: float


def paired_test(differences: Sequence[float], margin: float) -> PairedTest:
    """Return the tests of two or more differences; equal ones leave no doubt about their mean."""
    n, mean = len(differences), fmean(differences)
    error = stdev(differences) / math.sqrt(n)
    if error == 0:
        inside = float(abs(mean) >= margin)
        return PairedTest(mean, mean, mean, n, float(mean == 0), inside)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    differs = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    # The nearer bound decides, as both one-sided tests must succeed.
    equals = float(stats.t.sf((margin - abs(mean)) / error, n - 1))
    return PairedTest(mean, mean - half, mean + half, n, differs, equals)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down method, in the order in which they came.

    Those below LEVEL may be called significant together: the chance of any false one is LEVEL.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def paired_power(difference: float, deviation: float, n: int, level: float = LEVEL) -> float:
    """Return the chance that a two-sided paired t-test of n seeds finds a true difference.

    ``deviation`` is the standard deviation of the differences between seeds.
    """
    critical = float(stats.t.ppf(1 - level / 2, n - 1))
    shift = difference / deviation * math.sqrt(n)
    upper, lower = stats.nct.sf(critical, n - 1, shift), stats.nct.cdf(-critical, n - 1, shift)
    # The far tail of the non-central t may be NaN where it is practically 0.
    return float(upper) + (0.0 if math.isnan(lower) else float(lower))


def detectable(deviation: float, n: int, level: float = LEVEL) -> float:
    """Return the smallest true difference that n paired seeds find with POWER, in its unit."""
    if deviation == 0:
        return 0.0

    def shortfall(effect: float) -> float:
        return paired_power(effect, 1.0, n, level) - POWER

    return deviation * float(optimize.brentq(shortfall, 1e-3, 100.0))
