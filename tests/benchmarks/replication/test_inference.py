"""benchmarks/replication/inference.py: the statistics, on numbers that are known."""

from __future__ import annotations

import pytest

from benchmarks.replication import inference

# Student's data of 1908 on two sleeping drugs, hours gained by the same ten patients
FIRST = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
SECOND = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)
SLEEP = [second - first for first, second in zip(FIRST, SECOND, strict=True)]


def test_a_paired_test_gives_the_published_values_of_students_sleep_data() -> None:
    # R: t.test(extra ~ group, paired = TRUE): t = -4.0621, p = 0.002833, 0.7001 to 2.4599
    test = inference.paired_test(SLEEP, lower=0.0, upper=5.0)
    assert test.mean == pytest.approx(1.58)
    assert test.above == pytest.approx(0.002833 / 2, abs=1e-6)  # R's is two-sided
    assert (test.low, test.high) == pytest.approx((0.7001142, 2.4598858))
    assert test.n == 10


def test_a_bound_is_tested_from_either_side() -> None:
    # error = 1.58 / 4.0621 = 0.38896; (2.5 - 1.58) / 0.38896 = 2.3653 with 9 degrees: p = 0.0211
    assert inference.paired_test(SLEEP, 0.0, 2.5).below == pytest.approx(0.0211, abs=1e-4)
    mirrored = [-difference for difference in SLEEP]
    assert inference.paired_test(mirrored, -2.5, 0.0).above == pytest.approx(0.0211, abs=1e-4)
    # the mean itself lies on the other side of the bounds: no evidence at all
    outside = inference.paired_test(SLEEP, 2.0, 1.0)
    assert outside.above > 0.8 and outside.below > 0.9


def test_equal_differences_leave_no_doubt() -> None:
    assert inference.paired_test([1.0, 1.0, 1.0], 0.0, 2.0).above == 0.0
    assert inference.paired_test([1.0, 1.0, 1.0], 0.0, 2.0).below == 0.0
    on_the_bounds = inference.paired_test([1.0, 1.0], 1.0, 1.0)
    assert (on_the_bounds.above, on_the_bounds.below) == (1.0, 1.0)


def test_holm_steps_down_and_never_lets_a_larger_p_value_have_a_smaller_adjusted_one() -> None:
    # 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not fall below the one before
    assert inference.holm([0.01, 0.04, 0.03, 0.005], 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert inference.holm([0.9, 0.8], 2) == [1.0, 1.0]
    assert inference.holm([], 0) == []


def test_hypotheses_that_exclude_each_other_are_corrected_for_as_many_as_can_be_true() -> None:
    # at most two of four: 2 * 0.005, 2 * 0.01, 2 * 0.03, then 1 * 0.04
    assert inference.holm([0.01, 0.04, 0.03, 0.005], 2) == pytest.approx([0.02, 0.06, 0.06, 0.01])


def test_power_is_that_of_the_tables() -> None:
    # G*Power's manual example of matched pairs: dz = 0.5, n = 34, two-sided at 5 %: 0.8078
    assert inference.paired_power(0.5, 1.0, 34, level=0.025) == pytest.approx(0.8078, abs=1e-4)
    # without any difference, power is the level of the test
    assert inference.paired_power(0.0, 1.0, 8) == pytest.approx(0.05)


@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_detectable_difference_is_found_with_the_stated_power(n: int) -> None:
    difference = inference.detectable(2.0, n)
    assert inference.paired_power(difference, 2.0, n) == pytest.approx(inference.POWER)


def test_more_seeds_see_smaller_differences_and_scale_with_the_deviation() -> None:
    few, many = inference.detectable(1.0, 5), inference.detectable(1.0, 8)
    assert many < few
    assert inference.detectable(3.0, 8) == pytest.approx(3 * many)
    assert inference.detectable(0.0, 8) == 0.0
