"""benchmarks/replication/arms.py: the claims are about arms that there are."""

from __future__ import annotations

from benchmarks.replication.arms import ARMS, CLAIMS, START, Claim, seeds_of


def test_claims_name_arms_and_no_arm_is_without_a_claim() -> None:
    named = {arm for claim in CLAIMS for arm in (claim.worse, claim.better)}
    assert named - {START} == set(ARMS)


def test_the_headline_claims_come_first() -> None:
    assert [claim.text for claim in CLAIMS[:3]] == ["start < sft", "sft < grpo", "grpo <= gpg"]


def test_every_claim_is_judged_by_eight_seeds() -> None:
    assert {claim.seeds for claim in CLAIMS} == {8}
    assert {seeds_of(arm) for arm in ARMS} == {8}


def test_a_claim_reads_as_a_formula() -> None:
    assert Claim("a", "b", "a table", "in words").text == "a < b"
    assert Claim("a", "b", "a table", "in words", strict=False).text == "a <= b"
