"""benchmarks/replication/arms.py: the claims are about arms that there are."""

from __future__ import annotations

from benchmarks.replication.arms import ARMS, CLAIMS, START, Claim, seeds_of


def test_claims_name_arms_and_no_arm_is_without_a_claim() -> None:
    named = {arm for claim in CLAIMS for arm in (claim.worse, claim.better)}
    assert named - {START} == set(ARMS)


def test_the_headline_claims_come_first_and_have_eight_seeds() -> None:
    assert [claim.text for claim in CLAIMS[:3]] == ["start < sft", "sft < grpo", "grpo <= gpg"]
    assert all(claim.seeds == 8 for claim in CLAIMS[:9])


def test_an_arm_has_as_many_seeds_as_its_most_demanding_claim() -> None:
    assert seeds_of("gpg") == 8
    assert seeds_of("ppo") == 5
    assert seeds_of("gpg, deviation") == 8  # five for its normalisation, eight for its KL


def test_a_claim_reads_as_a_formula() -> None:
    assert Claim("a", "b", "a table").text == "a < b"
    assert Claim("a", "b", "a table", strict=False).text == "a <= b"
