"""benchmarks/replication/agenda.py: the study's order, and that it comes to an end."""

from __future__ import annotations

from fakes.replication_rows import row_of

from benchmarks.replication import agenda, search
from benchmarks.replication.arms import ARMS, CLAIMS, START, seeds_of
from benchmarks.replication.beds import WALKS
from benchmarks.replication.ledger import Row, Trial


def carry_out(limit: int) -> list[Trial]:
    """Return the first trials of a study, whose scores are best at the second rate of a grid."""
    rows: dict[Trial, Row] = {}
    while len(rows) < limit and (trial := agenda.next_trial(WALKS, rows, ())):
        arm = ARMS.get(trial.arm, ARMS["gpg"])
        grid = WALKS.rates(arm)
        rows[trial] = row_of(trial, 0.8 if trial.rate == grid[1] else 0.5)
    return list(rows)


def test_the_card_comes_first_then_the_headline_claims() -> None:
    trials = carry_out(60)
    assert trials[0] == agenda.ceiling(WALKS)
    search_of_gpg, finals, rest = trials[1:7], trials[7:12], trials[12:]
    assert all(t.stage == "search" and t.arm == "gpg" for t in search_of_gpg)
    assert [(t.stage, t.arm, t.seed) for t in finals] == [
        ("final", "gpg", seed) for seed in range(1, agenda.CARD_SEEDS + 1)
    ]
    assert [t.arm for t in rest][:14] == ["sft"] * 14


def test_the_study_ends_with_every_seed_of_every_arm() -> None:
    trials = carry_out(10_000)
    assert len(trials) < 10_000
    assert len(set(trials)) == len(trials)
    for claim in CLAIMS:
        for arm in {claim.worse, claim.better} - {START}:
            seeds = {t.seed for t in trials if t.stage == "final" and t.arm == arm}
            assert seeds == set(range(1, seeds_of(arm) + 1))


def test_searches_and_finals_share_no_seed() -> None:
    assert not {t.seed for t in carry_out(10_000) if t.stage != "search"} & {
        search.SHORT_SEED,
        search.FULL_SEED,
    }


def test_what_runs_already_is_not_given_out_again() -> None:
    first = agenda.next_trial(WALKS, {}, ())
    assert first is not None
    second = agenda.next_trial(WALKS, {}, [first])
    assert second is not None and second != first


def test_a_search_under_way_does_not_hold_up_what_needs_it_not() -> None:
    waiting = [t for t in agenda.wanted(WALKS, {}) if t.arm in (agenda.CEILING, "gpg")]
    following = agenda.next_trial(WALKS, {}, waiting)
    assert following is not None and following.arm == "sft"


def test_the_rate_of_an_arm_is_its_searchs_best() -> None:
    rows: dict[Trial, Row] = {}
    while (trial := agenda.next_trial(WALKS, rows, ())) and trial.stage != "final":
        rows[trial] = row_of(trial, 0.8 if trial.rate == WALKS.rates(ARMS["gpg"])[2] else 0.5)
    assert agenda.rate_of(WALKS, "gpg", rows) == WALKS.rates(ARMS["gpg"])[2]
