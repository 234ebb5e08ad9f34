"""What the rows say of each claim: agrees, does not agree, or cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.replication.arms import CLAIMS, START, Claim
from benchmarks.replication.inference import LEVEL, PairedTest, holm, paired_test
from benchmarks.replication.ledger import Row

MARGIN = 0.02
"""The difference that is too small to matter: two points, fixed before any run."""

Word = Literal["agrees", "does not agree", "cannot tell"]

Budget = Literal["sampling", "compute"]
"""What two arms have equally: completions, or the processor time of the cheaper one."""

Finals = Mapping[str, Sequence[Row]]
"""The final runs of every arm, by its name."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim, with its test and both p-values after correction.

    ``test`` is None where fewer than two seeds are common to both arms.
    """

    claim: Claim
    test: PairedTest | None
    above: float
    below: float
    word: Word


def bounds(claim: Claim) -> tuple[float, float]:
    """Return the differences, better - worse, above which a claim is true and below which false.

    A claim "below" is true above 0 and false under MARGIN; "not below" is true above -MARGIN and
    false under 0.
    """
    return (0.0, MARGIN) if claim.strict else (-MARGIN, 0.0)


def verdicts(
    finals: Finals, costs: Mapping[str, float] | None = None, claims: Sequence[Claim] = CLAIMS
) -> list[Verdict]:
    """Return the verdict on every claim, corrected together, those without runs left out.

    It is that at equal sampling, or with ``costs``, the processor seconds of a run of every arm,
    that at equal compute.

    A claim is two hypotheses, "no more than the lower bound" and "no less than the upper one". They
    exclude each other, so that no more of them can be true than there are claims.
    """
    tests = [claim_test(claim, finals, costs) for claim in claims]
    tested = [test for test in tests if test is not None]
    adjusted = holm([p for test in tested for p in (test.above, test.below)], len(tested))
    pairs = iter(zip(adjusted[::2], adjusted[1::2], strict=True))
    results = []
    for claim, test in zip(claims, tests, strict=True):
        above, below = (1.0, 1.0) if test is None else next(pairs)
        results.append(Verdict(claim, test, above, below, word(claim, above, below)))
    return results


def word(claim: Claim, above: float, below: float) -> Word:
    """Return the verdict's word from both p-values after correction."""
    # Where both are sure, the bound at 0 decides: the lower one of "below", the upper of the other.
    if above < LEVEL and (claim.strict or below >= LEVEL):
        return "agrees"
    return "does not agree" if below < LEVEL else "cannot tell"


def claim_test(
    claim: Claim, finals: Finals, costs: Mapping[str, float] | None
) -> PairedTest | None:
    """Return the test of better - worse over common seeds; None with fewer than two."""
    better, worse = scores(claim.better, claim, finals, costs), None
    if claim.worse != START:
        worse = scores(claim.worse, claim, finals, costs)
    common = sorted(better if worse is None else better.keys() & worse.keys())[: claim.seeds]
    if len(common) < 2:
        return None
    first = {row.trial.seed: row.curve[0][1] for row in finals.get(claim.better, ())}
    return paired_test([better[seed] - (worse or first)[seed] for seed in common], *bounds(claim))


def scores(
    arm: str, claim: Claim, finals: Finals, costs: Mapping[str, float] | None
) -> dict[int, float]:
    """Return the score of every seed of an arm, at equal sampling or at equal processor time."""
    rows, both = finals.get(arm, ()), (claim.worse, claim.better)
    if costs is None or START in both:
        return {row.trial.seed: row.score for row in rows}
    if not all(name in costs for name in both):
        return {}
    share = min(costs[name] for name in both) / costs[arm]
    # The rate is constant, so that a run's score at a step is that of a run which ended there.
    return {row.trial.seed: row.score_at(row.trial.steps * share) for row in rows}
