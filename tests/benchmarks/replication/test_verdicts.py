"""benchmarks/replication/verdicts.py: each claim gets its word from rows, and never another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.replication_rows import finals

from benchmarks.replication import verdicts
from benchmarks.replication.arms import START, Claim

BELOW = Claim("grpo", "gpg", "a test", "in words")
NOT_BELOW = Claim("grpo", "gpg", "a test", "in words", strict=False)
LOW = [0.50, 0.51, 0.49, 0.50, 0.52, 0.50, 0.49, 0.51]


def judge(claim: Claim, low: list[float], high: list[float]) -> verdicts.Verdict:
    """Return the verdict on one claim about grpo's and gpg's scores."""
    rows = {"grpo": finals("grpo", low), "gpg": finals("gpg", high)}
    (verdict,) = verdicts.verdicts(rows, claims=[claim])
    return verdict


def shifted(points: float) -> list[float]:
    """Return LOW some points higher, with a little luck in both directions."""
    return [score + points / 100 + (-1) ** seed / 1000 for seed, score in enumerate(LOW)]


@pytest.mark.parametrize("claim", [BELOW, NOT_BELOW])
def test_a_sure_direction_decides(claim: Claim) -> None:
    assert judge(claim, LOW, shifted(3)).word == "agrees"
    assert judge(claim, LOW, shifted(-3)).word == "does not agree"


def test_a_surely_small_gain_refutes_no_claim_and_a_surely_small_loss_does() -> None:
    # a point in either direction, with hardly any noise: both bounds are passed for sure
    assert judge(BELOW, LOW, shifted(1)).word == "agrees"
    assert judge(NOT_BELOW, LOW, shifted(-1)).word == "does not agree"


def test_a_surely_small_difference_meets_only_a_claim_that_allows_it() -> None:
    # differences alternate between +0.1 and -0.1 points: no direction, far inside two points
    assert judge(BELOW, LOW, shifted(0)).word == "does not agree"
    assert judge(NOT_BELOW, LOW, shifted(0)).word == "agrees"


def test_noise_cannot_tell() -> None:
    noise = [0.40, 0.60, 0.45, 0.58, 0.42, 0.61, 0.47, 0.55]
    for claim in (BELOW, NOT_BELOW):
        assert judge(claim, LOW, noise).word == "cannot tell"


def test_without_two_common_seeds_there_is_no_test() -> None:
    verdict = judge(BELOW, LOW, [0.9])
    assert verdict.test is None
    assert verdict.word == "cannot tell"


def test_only_common_seeds_count_and_no_more_than_the_claim_asks_for() -> None:
    assert (judge(BELOW, LOW, shifted(3)[:5]).test or pytest.fail()).n == 5
    few = Claim("grpo", "gpg", "a test", "in words", seeds=3)
    assert (judge(few, LOW, shifted(3)).test or pytest.fail()).n == 3


def test_the_start_is_the_first_point_of_the_curve() -> None:
    rows = {"sft": finals("sft", LOW)}  # their curves begin at 0.3
    (verdict,) = verdicts.verdicts(
        rows, {"sft": {"": [9.0]}}, [Claim(START, "sft", "a test", "in words")]
    )
    assert verdict.test is not None
    assert verdict.test.mean == pytest.approx(sum(LOW) / 8 - 0.3)
    assert verdict.word == "agrees"


def test_the_correction_is_over_all_claims_with_runs() -> None:
    rows = {"grpo": finals("grpo", LOW), "gpg": finals("gpg", shifted(3))}
    alone, *_ = verdicts.verdicts(rows, claims=[BELOW])
    among, *_ = verdicts.verdicts(rows, claims=[BELOW] * 10)
    assert alone.test is not None
    # of a claim's two hypotheses only one can be true
    assert alone.above == pytest.approx(alone.test.above)
    assert among.above == pytest.approx(10 * alone.test.above)
    # a claim without runs takes no part
    absent = Claim("ppo", "gpg", "a test", "in words")
    assert verdicts.verdicts(rows, claims=[BELOW, absent])[0].above == alone.above


def test_at_equal_compute_the_dearer_arm_is_looked_at_earlier() -> None:
    # both end at 0.7 and rise evenly from 0.3; gpg takes twice the time, so it stands at 0.5
    rows = {arm: finals(arm, [0.7] * 3) for arm in ("grpo", "gpg")}
    (sampling,) = verdicts.verdicts(rows, claims=[BELOW])
    (compute,) = verdicts.verdicts(rows, {"grpo": {"": [60.0]}, "gpg": {"": [120.0]}}, [BELOW])
    assert sampling.test is not None and compute.test is not None
    assert sampling.test.mean == pytest.approx(0)
    assert compute.test.mean == pytest.approx(-0.2)


def test_at_equal_sampling_the_arm_that_draws_more_is_looked_at_earlier() -> None:
    rows = {arm: finals(arm, [0.7] * 3) for arm in ("dapo", "gpg")}
    twice = [replace(row, completions=2 * row.completions) for row in rows["dapo"]]
    claim = Claim("dapo", "gpg", "a test", "in words")
    (verdict,) = verdicts.verdicts({**rows, "dapo": twice}, claims=[claim])
    assert verdict.test is not None and verdict.test.mean == pytest.approx(0.2)
    # where the size of groups is the question, prompts are equal
    same = replace(claim, equal_prompts=True)
    (verdict,) = verdicts.verdicts({**rows, "dapo": twice}, claims=[same])
    assert verdict.test is not None and verdict.test.mean == pytest.approx(0)


def test_an_arm_that_samples_nothing_is_compared_at_its_end() -> None:
    taught = [replace(row, completions=0) for row in finals("sft", [0.7] * 3)]
    rows = {"sft": taught, "grpo": finals("grpo", [0.6] * 3)}
    (verdict,) = verdicts.verdicts(rows, claims=[Claim("sft", "grpo", "a test", "in words")])
    assert verdict.test is not None and verdict.test.mean == pytest.approx(-0.1)


def test_a_verdict_holds_over_the_range_of_what_was_measured_or_is_none() -> None:
    rows = {"grpo": finals("grpo", LOW), "gpg": finals("gpg", shifted(3))}
    sure = {"grpo": {"": [60.0, 61.0]}, "gpg": {"": [60.0, 61.0]}}
    (verdict,) = verdicts.verdicts(rows, sure, [BELOW])
    assert len(verdict.tests) == 3 and verdict.word == "agrees"
    worst, best = (verdict.tests[turn].mean for turn in (1, 2))
    assert worst < best
    # gpg may have taken half as long again: then it stood lower than grpo
    unsure = {"grpo": {"": [60.0]}, "gpg": {"": [60.0, 60.0, 90.0]}}
    (verdict,) = verdicts.verdicts(rows, unsure, [BELOW])
    assert verdict.test is not None and verdict.test.mean == pytest.approx(0.03, abs=1e-3)
    assert verdict.word == "cannot tell"


def test_times_of_different_occasions_are_not_compared() -> None:
    rows = {"grpo": finals("grpo", LOW), "gpg": finals("gpg", shifted(3))}
    # the second machine is slower by half, for both arms alike
    spent = {"grpo": {"one": [60.0], "two": [90.0]}, "gpg": {"one": [60.0], "two": [90.0]}}
    (verdict,) = verdicts.verdicts(rows, spent, [BELOW])
    assert len(verdict.tests) == 1 and verdict.word == "agrees"
    # an occasion that only one arm has says nothing of both
    (verdict,) = verdicts.verdicts(rows, {**spent, "gpg": {"one": [60.0], "three": [9.0]}}, [BELOW])
    assert len(verdict.tests) == 1 and verdict.word == "agrees"


def test_without_times_of_one_occasion_there_is_no_test_at_equal_compute() -> None:
    rows = {"grpo": finals("grpo", LOW), "gpg": finals("gpg", shifted(3))}
    for grpo in ({}, {"two": [60.0]}):
        (verdict,) = verdicts.verdicts(rows, {"grpo": grpo, "gpg": {"one": [60.0]}}, [BELOW])
        assert verdict.test is None and verdict.word == "cannot tell"
