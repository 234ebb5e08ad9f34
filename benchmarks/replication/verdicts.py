"""What the rows say of each claim: agrees, does not agree, or cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Literal

from benchmarks.replication.arms import CLAIMS, START, Claim
from benchmarks.replication.inference import LEVEL, PairedTest, holm, paired_test
from benchmarks.replication.ledger import Row

MARGIN = 0.02
"""The difference that is too small to matter: two points, fixed before any run."""

TURNS = 3
"""Tests of a claim: by the median of what was measured, and by both ends of its range."""

Word = Literal["agrees", "does not agree", "cannot tell"]

Budget = Literal["sampling", "compute"]
"""What two arms have equally: completions or processor time, those of the one that takes less."""

Finals = Mapping[str, Sequence[Row]]
"""The final runs of every arm, by its name."""

Spent = Mapping[str, Mapping[str, Sequence[float]]]
"""What a run of each arm takes of a budget: its measurements by the occasion of each.

Measurements of different occasions are not compared.
"""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim, with its tests and the first one's p-values after correction.

    The first test is that at the median of what was measured of a budget. Where that varies, a
    second and a third follow, at the ends of its range that are worst and best for the better arm.
    None where fewer than two seeds are common to both arms, or no occasion of a measurement.
    """

    claim: Claim
    tests: tuple[PairedTest, ...]
    above: float
    below: float
    word: Word

    @property
    def test(self) -> PairedTest | None:
        """Return the first test; None without any."""
        return self.tests[0] if self.tests else None


def bounds(claim: Claim) -> tuple[float, float]:
    """Return the differences, better - worse, above which a claim is true and below which false.

    A claim "below" is true above 0 and false under MARGIN; "not below" is true above -MARGIN and
    false under 0.
    """
    return (0.0, MARGIN) if claim.strict else (-MARGIN, 0.0)


def verdicts(
    finals: Finals, costs: Spent | None = None, claims: Sequence[Claim] = CLAIMS
) -> list[Verdict]:
    """Return the verdict on every claim, corrected together.

    It is that at equal sampling, or with ``costs``, the processor seconds of runs of every arm,
    that at equal compute.
    """
    return judged([(claim, claim_tests(claim, finals, costs)) for claim in claims])


def judged(tested: Sequence[tuple[Claim, tuple[PairedTest, ...]]]) -> list[Verdict]:
    """Return the verdicts on claims by their tests, corrected together.

    Claims without tests take no part. Where what was spent varies, the word is one that holds at
    its median and at both ends of its range, each corrected by itself; else it is "cannot tell".
    """
    rounds = [
        corrected([tests[min(turn, len(tests) - 1)] if tests else None for _, tests in tested])
        for turn in range(TURNS)
    ]
    verdicts = []
    for number, (claim, tests) in enumerate(tested):
        pairs = [turn[number] for turn in rounds]
        words = {word(claim, *pair) for pair in pairs}
        said = words.pop() if len(words) == 1 else "cannot tell"
        above, below = pairs[0]
        verdicts.append(Verdict(claim, tests, above, below, said))
    return verdicts


def corrected(tests: Sequence[PairedTest | None]) -> list[tuple[float, float]]:
    """Return both p-values of each test after the correction for all; (1, 1) in place of None.

    A claim is two hypotheses, "no more than the lower bound" and "no less than the upper one". They
    exclude each other, so that no more of them can be true than there are claims.
    """
    made = [test for test in tests if test is not None]
    adjusted = holm([p for test in made for p in (test.above, test.below)], len(made))
    pairs = iter(zip(adjusted[::2], adjusted[1::2], strict=True))
    return [(1.0, 1.0) if test is None else next(pairs) for test in tests]


def word(claim: Claim, above: float, below: float) -> Word:
    """Return the verdict's word from both p-values after correction."""
    # Where both are sure, the bound at 0 decides: the lower one of "below", the upper of the other.
    if above < LEVEL and (claim.strict or below >= LEVEL):
        return "agrees"
    return "does not agree" if below < LEVEL else "cannot tell"


def claim_tests(claim: Claim, finals: Finals, costs: Spent | None) -> tuple[PairedTest, ...]:
    """Return the tests of better - worse over common seeds.

    There are none with fewer than two of them, or where nothing tells what both arms spend.
    """
    tests = []
    for shares in shares_of(claim, finals, costs):
        better, worse = (scores(finals.get(arm, ()), shares.get(arm, 1.0))
                         for arm in (claim.better, claim.worse))  # fmt: skip
        if claim.worse == START:
            worse = {row.trial.seed: row.curve[0][1] for row in finals.get(claim.better, ())}
        common = sorted(better.keys() & worse.keys())[: claim.seeds]
        if len(common) < 2:
            return ()
        tests.append(paired_test([better[seed] - worse[seed] for seed in common], *bounds(claim)))
    return tuple(tests)


def shares_of(claim: Claim, finals: Finals, costs: Spent | None) -> list[Mapping[str, float]]:
    """Return which share of their runs both arms are compared after, by the arm.

    That is all of it for the arm that takes less of the budget, and for both where nothing is to be
    shared: of the start, of an arm that samples nothing, of groups of another size at equal
    prompts. First the shares by the median of what was measured of both on one occasion; then,
    where it varies, those that are worst for the better arm, and those that are best. Nothing where
    both were never measured on one occasion.
    """
    if claim.worse == START or not all(finals.get(arm) for arm in (claim.worse, claim.better)):
        return [{}]
    if costs is None and claim.equal_prompts:
        return [{}]
    spent = completions(finals) if costs is None else costs
    pairs = [
        (better, worse)
        for occasion, values in spent[claim.better].items()
        for better, worse in product(values, spent[claim.worse].get(occasion, ()))
    ]
    if any(0 in pair for pair in pairs):
        return [{}]
    ratios = [better / worse for better, worse in pairs]
    if not ratios:
        return []
    tried = [median(ratios)]
    if min(ratios) < max(ratios):
        tried += [max(ratios), min(ratios)]
    return [{claim.better: min(1.0, 1 / ratio), claim.worse: min(1.0, ratio)} for ratio in tried]


def completions(finals: Finals) -> Spent:
    """Return how many completions a run of every arm has drawn, the median of its runs."""
    return {arm: {"": [median(row.completions for row in rows)]} for arm, rows in finals.items()}


def scores(rows: Sequence[Row], share: float) -> dict[int, float]:
    """Return the score of every seed after a share of its run.

    The rate is constant, so that a run's score at a step is that of a run which ended there.
    """
    return {row.trial.seed: row.score_at(row.trial.steps * share) for row in rows}
