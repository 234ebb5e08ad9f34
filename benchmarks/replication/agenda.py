"""The order of the study: which run comes next, given the rows that there are.

The bed's card first, as a blunt bed is worth no further run: its ceiling, then the spread of one
arm at its best rate. Then claim by claim, in the order of the bed's: the rates of its arms, and
seed by seed both of them, so that a study that is cut short has answered its first claims.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from benchmarks.replication import search
from benchmarks.replication.arms import ARMS, START, seeds_of
from benchmarks.replication.beds import Bed
from benchmarks.replication.ledger import Row, Trial

CARD_SEEDS = 5
"""Seeds of the arm by which a bed is judged."""

CARD_ARM = "gpg"

CEILING = "ceiling"
"""The name under which the long fine-tuning of the start stands in the rows."""


def seeds(count: int) -> list[int]:
    """Return the seeds of final runs: common to all arms, and none of the search."""
    return list(range(1, count + 1))


def wanted(bed: Bed, rows: Mapping[Trial, Row]) -> Iterator[Trial]:
    """Yield the trials that are still to be done, the most valuable first.

    Those of an arm whose rate is not known yet follow in a later call, when its search is done.
    """
    asked = [iter([ceiling(bed)]), arm_trials(bed, CARD_ARM, CARD_SEEDS, rows)]
    for claim in bed.claims:
        arms = [arm for arm in (claim.worse, claim.better) if arm != START]
        asked += [arm_trials(bed, arm, seeds_of(arm), rows) for arm in arms]
    given: set[Trial] = set()
    for trials in asked:
        for trial in trials:
            if trial not in rows and trial not in given:
                given.add(trial)
                yield trial


def next_trial(bed: Bed, rows: Mapping[Trial, Row], running: Collection[Trial]) -> Trial | None:
    """Return the most valuable trial that nobody is running; None if there is none at the moment.

    A search whose runs are all under way holds up what comes after it only for its own arm.
    """
    return next((trial for trial in wanted(bed, rows) if trial not in running), None)


def ceiling(bed: Bed) -> Trial:
    """Return the long fine-tuning of the start that shows how much is to be gained."""
    return Trial(bed.name, "card", CEILING, bed.lesson_rate, 1, bed.ceiling_steps)


def arm_trials(bed: Bed, arm: str, count: int, rows: Mapping[Trial, Row]) -> Iterator[Trial]:
    """Yield an arm's trials: those that its search still needs, or its final ones."""
    try:
        rate = rate_of(bed, arm, rows)
    except search.Unfinished as unfinished:
        for missing_rate, seed, full in unfinished.missing:
            yield search_trial(bed, arm, missing_rate, seed, full)
        return
    for seed in seeds(count):
        yield Trial(bed.name, "final", arm, rate, seed, bed.steps)


def search_trial(bed: Bed, arm: str, rate: float, seed: int, full: bool) -> Trial:
    """Return a trial of the search, over all steps or the third of them."""
    return Trial(bed.name, "search", arm, rate, seed, bed.steps if full else bed.steps // 3)


def rate_of(bed: Bed, arm: str, rows: Mapping[Trial, Row]) -> float:
    """Return the rate that an arm's search has chosen; raise search.Unfinished before it has."""
    scores = {
        (trial.rate, trial.seed, trial.steps == bed.steps): row.score
        for trial, row in rows.items()
        if trial.stage == "search" and trial.arm == arm
    }
    return search.best_rate(bed.rates(ARMS[arm]), scores)
