import math
from collections import Counter

import numpy as np
import pytest

from vrft.evaluation.stats import (
    bootstrap,
    interval,
    jackknife,
    leave_out,
    majority,
    paired_difference,
    pass_at,
    ratio,
    ratio_difference,
    tango,
    wilson,
)


def test_the_bootstrap_interval_of_many_coin_throws_is_the_normal_one() -> None:
    # 200 heads of 400: standard error sqrt(0.25 / 400) = 0.025, so 0.5 -+ 1.96 * 0.025 = 0.049.
    estimate = bootstrap([0.0, 1.0] * 200)
    assert (estimate.mean, estimate.n) == (0.5, 400)
    assert estimate.low == pytest.approx(0.451, abs=0.004)
    assert estimate.high == pytest.approx(0.549, abs=0.004)


def test_the_bootstrap_interval_holds_the_true_mean_about_95_times_in_100() -> None:
    random = np.random.default_rng(0)
    held = 0
    for sample in random.uniform(0.0, 1.0, (300, 60)):
        estimate = bootstrap(sample.tolist(), resamples=1000)
        held += estimate.low <= 0.5 <= estimate.high
    # Of 300 intervals 285 should: the binomial's spread is sqrt(300 * 0.95 * 0.05) = 3.8.
    assert 270 <= held <= 297


def test_the_bootstrap_is_the_same_for_the_same_seed_and_not_for_another() -> None:
    values = np.random.default_rng(1).uniform(size=50).tolist()
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)


def test_the_draws_do_not_depend_on_the_pieces_they_come_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(2).uniform(size=1000).tolist()
    at_once = bootstrap(values)
    # 3 resamples at a time, the last one 1
    monkeypatch.setattr("vrft.evaluation.stats.INDICES_AT_ONCE", 3_500)
    pieces = bootstrap(values)
    assert (pieces.low, pieces.high) == pytest.approx((at_once.low, at_once.high), abs=1e-12)


def test_the_bootstrap_draws_what_numpy_draws_from_the_same_seed() -> None:
    values = np.random.default_rng(3).uniform(size=40)
    rows = np.random.default_rng(0).integers(0, 40, (500, 40))
    low, high = np.quantile(values[rows].mean(axis=1), [0.025, 0.975])
    estimate = bootstrap(values.tolist(), resamples=500)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 300])
def test_equal_values_are_no_certainty(n: int) -> None:
    # z^2 / (n + z^2) of the samples may have another value: 0 at the least, 1 at the most
    share = 3.841459 / (n + 3.841459)
    estimate = bootstrap([0.3] * n)
    assert (estimate.mean, estimate.n) == (pytest.approx(0.3), n)
    ends = (0.3 - 0.3 * share, 0.3 + 0.7 * share)
    assert (estimate.low, estimate.high) == pytest.approx(ends, abs=1e-6)
    for right in (0, n):
        none = bootstrap(throws(right, n))
        same = wilson(right, n)
        assert (none.low, none.high) == pytest.approx((same.low, same.high), abs=1e-9)


def test_samples_of_one_ratio_have_no_interval() -> None:
    unknown = ratio([(1.0, 4.0)] * 7), ratio_difference([(1.0, 4.0)] * 7, [(2.0, 4.0)] * 7)
    for estimate, value in zip(unknown, (0.25, 0.25), strict=True):
        assert estimate.mean == pytest.approx(value)
        assert math.isnan(estimate.low) and math.isnan(estimate.high)


def test_a_value_that_is_not_a_number_leaves_nothing_known() -> None:
    # warnings are errors here: scipy must not be asked
    estimates = [bootstrap([0.1, math.nan, 0.3]), ratio([(0.1, 1.0), (math.nan, 1.0)])]
    for unknown in estimates:
        assert all(math.isnan(value) for value in (unknown.mean, unknown.low, unknown.high))


def test_one_value_has_a_mean_and_no_interval() -> None:
    estimate = bootstrap([0.25])
    assert (estimate.mean, estimate.n) == (0.25, 1)
    assert math.isnan(estimate.low) and math.isnan(estimate.high)


def test_no_values_have_neither() -> None:
    estimate = bootstrap([])
    assert estimate.n == 0
    assert all(math.isnan(value) for value in (estimate.mean, estimate.low, estimate.high))


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),  # by hand: (0.8 + 0.19207) / 1.38415 -+ 0.22655
        (0, 10, 0.0, 0.2775),  # 3.84146 / 13.84146
        (10, 10, 0.7225, 1.0),  # its mirror image
        (1, 1, 0.2065, 1.0),  # 1 / (1 + 3.84146)
        (0, 1, 0.0, 0.7935),
    ],
)
def test_wilson(successes: int, n: int, low: float, high: float) -> None:
    estimate = wilson(successes, n)
    assert (estimate.mean, estimate.n) == (successes / n, n)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


def test_of_no_trials_nothing_is_known() -> None:
    estimate = wilson(0, 0)
    assert (estimate.low, estimate.high, estimate.n) == (0.0, 1.0, 0)
    assert math.isnan(estimate.mean)


def test_a_metric_of_zeros_and_ones_has_wilsons_interval_and_others_the_bootstraps() -> None:
    assert interval([1.0, 0.0, 0.0]) == wilson(1, 3)
    assert interval([1.0, 0.0, 0.5]) == bootstrap([1.0, 0.0, 0.5])


def test_a_paired_difference_sees_what_the_spread_of_samples_hides() -> None:
    before = np.linspace(0.0, 0.9, 200)
    gained = before + np.tile([0.04, 0.06], 100)
    estimate = paired_difference(before.tolist(), gained.tolist())
    # Every sample gains about 0.05, so there is no doubt, though the samples themselves range
    # widely: 0.05 -+ 1.96 * 0.01 / sqrt(200).
    ends = (estimate.mean, estimate.low, estimate.high)
    assert ends == pytest.approx((0.05, 0.0486, 0.0514), abs=3e-4)


@pytest.mark.parametrize(
    ("gains", "losses", "n", "low", "high"),
    [
        # nothing changed: -+ 3.841459 / (5 + 3.841459)
        (0, 0, 5, -0.43448, 0.43448),
        (0, 0, 300, -0.012643, 0.012643),
        # all became right: (5 - 3.841459) / (5 + 3.841459), or wrong
        (5, 0, 5, 0.13104, 1.0),
        (0, 5, 5, -1.0, -0.13104),
        (1, 0, 1, -0.58691, 1.0),
    ],
)
def test_differences_that_are_all_equal_are_no_certainty(
    gains: int, losses: int, n: int, low: float, high: float
) -> None:
    before = throws(losses, n)
    after = [*[0.0] * losses, *throws(gains, n - losses)]
    estimate = paired_difference(before, after)
    assert (estimate.mean, estimate.n) == ((gains - losses) / n, n)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=2e-5)


def test_answers_that_are_not_right_or_wrong_and_did_not_change_are_no_certainty() -> None:
    estimate = paired_difference([0.25, 0.5, 0.75], [0.25, 0.5, 0.75])
    share = 3.841459 / (3 + 3.841459)
    assert (estimate.low, estimate.high) == pytest.approx((-share, share), abs=1e-6)


def test_tangos_interval_holds_0_where_mcnemars_test_sees_no_difference() -> None:
    for gains in range(12):
        for losses in range(12):
            if not gains + losses:
                continue
            for n in (gains + losses, 40):
                estimate = tango(gains, losses, n)
                assert -1 <= estimate.low <= estimate.mean <= estimate.high <= 1
                # (b - c)^2 / (b + c) of McNemar against the 95 % point of chi square
                none = (gains - losses) ** 2 / (gains + losses) < 3.841459
                assert (estimate.low < 0 < estimate.high) == none, (gains, losses, n)
                turned = tango(losses, gains, n)
                assert (turned.low, turned.high) == pytest.approx(
                    (-estimate.high, -estimate.low), abs=1e-9
                )


def test_tangos_interval_holds_the_truth_about_95_times_in_100() -> None:
    """Of 12 samples a share of 0.3 becomes right and of 0.1 wrong: the truth is 0.2."""
    draws = np.random.default_rng(0).multinomial(12, [0.3, 0.1, 0.6], 2000).tolist()
    counts = Counter((gains, losses) for gains, losses, _ in draws)
    intervals = {each: (tango(*each, 12), count) for each, count in counts.items()}
    held = sum(count for i, count in intervals.values() if i.low <= 0.2 <= i.high)
    # 1900 of 2000 should, with a spread of 10; the bootstrap's hold it 1793 times
    assert 1870 <= held <= 1950


def test_many_changes_have_the_bootstraps_interval_which_is_tangos_by_then() -> None:
    before, after = throws(40, 400), [0.0] * 40 + throws(100, 360)
    estimate, exact = paired_difference(before, after), tango(100, 40, 400)
    assert estimate == bootstrap([b - a for a, b in zip(before, after, strict=True)])
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high), abs=3e-3)


def test_a_loss_is_a_negative_difference() -> None:
    assert paired_difference([1.0, 0.5], [0.5, 0.0]).mean == -0.5


def test_two_runs_over_different_numbers_of_samples_have_no_paired_difference() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_difference([1.0, 0.0], [1.0])


def throws(right: int, n: int) -> list[float]:
    """Return n answers of which so many are right."""
    return [1.0] * right + [0.0] * (n - right)


@pytest.mark.parametrize(
    ("k", "values", "best"),
    [
        # pass@1 is the mean
        (1, throws(3, 10), 0.3),
        # 1 - C(3, 2) / C(4, 2) = 1 - 3/6
        (2, throws(1, 4), 0.5),
        # 1 - C(2, 2) / C(4, 2)
        (2, throws(2, 4), 5 / 6),
        # only two are wrong: three always hold a right one
        (3, throws(2, 4), 1.0),
        (4, throws(0, 4), 0.0),
        # all of them: whether any is right
        (4, throws(1, 4), 1.0),
        (5, throws(1, 200), 0.025),
        # the better of two: 0.8, 0.8 and 0.5
        (2, [0.5, 0.8, 0.2], 0.7),
    ],
)
def test_pass_at(k: int, values: list[float], best: float) -> None:
    assert pass_at(k, values) == pytest.approx(best)


def test_pass_at_is_unbiased() -> None:
    # Of 8 answers, each right with chance 0.3, the expected estimate of pass@3 is 1 - 0.7**3.
    weights = [math.comb(8, c) * 0.3**c * 0.7 ** (8 - c) for c in range(9)]
    expected = sum(weight * pass_at(3, throws(c, 8)) for c, weight in enumerate(weights))
    assert expected == pytest.approx(1 - 0.7**3)


def test_what_always_passes_passes_exactly() -> None:
    assert [pass_at(k, throws(30, 30)) for k in (1, 7, 15, 30)] == [1.0] * 4


@pytest.mark.parametrize("k", [0, 5])
def test_more_answers_than_there_are_cannot_pass(k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} of 4"):
        pass_at(k, throws(1, 4))


@pytest.mark.parametrize(
    ("votes", "values", "mean"),
    [
        (["7", "7", "5"], [1.0, 1.0, 0.0], 1.0),
        (["7", "5", "5"], [1.0, 0.0, 0.0], 0.0),
        (["7", "5", "7", "5"], [1.0, 0.0, 1.0, 0.0], 0.5),  # a tie is shared
        (["7", "5", "3"], [1.0, 0.0, 0.0], 1 / 3),
        ([None, None, "7"], [0.0, 0.0, 1.0], 1.0),  # no answer is no vote
        ([None, None], [0.0, 0.0], 0.0),
        ([], [], 0.0),
    ],
)
def test_majority(votes: list[str | None], values: list[float], mean: float) -> None:
    assert majority(votes, values) == pytest.approx(mean)


def test_a_ratio_of_sums_is_no_mean_of_ratios() -> None:
    # (1 + 9) / (10 + 10) = 0.5; and 1/2 with 90/100 is 91/102, not the mean 0.7
    assert ratio([(1, 10), (9, 10)]).mean == pytest.approx(0.5)
    estimate = ratio([(1, 2), (90, 100)])
    assert estimate.mean == pytest.approx(91 / 102)
    # the bootstrap draws either part twice, or both: from 0.5 to 0.9
    assert (estimate.low, estimate.high, estimate.n) == (pytest.approx(0.5), pytest.approx(0.9), 2)


def test_ratios_over_equal_denominators_have_the_interval_of_their_mean() -> None:
    values = [0.1, 0.5, 0.9, 0.3, 0.8]
    estimate, expected = ratio([(value, 1.0) for value in values]), bootstrap(values)
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )


def test_a_ratio_that_is_not_defined_has_no_interval() -> None:
    undefined: list[list[tuple[float, float]]] = [[], [(0.0, 0.0)], [(0.0, 0.0), (0.0, 0.0)]]
    for parts in undefined:
        estimate = ratio(parts)
        assert math.isnan(estimate.mean) and math.isnan(estimate.low)
    assert ratio([(1, 4)]).mean == 0.25 and math.isnan(ratio([(1, 4)]).low)
    # some draws have no denominator: they are left out
    assert ratio([(0.0, 0.0), (1.0, 2.0), (1.0, 4.0)]).high == pytest.approx(0.5)


def test_the_difference_of_ratios_is_paired() -> None:
    # each sample gains 0.1 of its denominator, or 0.11: so do all draws, between the two
    before = [(1.0, 10.0), (5.0, 10.0), (3.0, 20.0)]
    after = [(2.0, 10.0), (6.0, 10.0), (5.2, 20.0)]
    estimate = ratio_difference(before, after)
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((0.105, 0.1, 0.11))
    with pytest.raises(ValueError):
        ratio_difference(before, after[:2])


def test_leaving_out_leaves_every_sample_out_once() -> None:
    others = leave_out(25)
    assert len(others) == 10
    left_out = sorted(index for part in others for index in set(range(25)) - set(part))
    assert left_out == list(range(25))
    assert leave_out(9) == [] and others == leave_out(25)


def test_the_jackknife_interval_of_a_mean_is_nearly_the_bootstraps() -> None:
    values = np.random.default_rng(1).uniform(0, 1, 400)
    # ten folds know the spread only roughly, so within half
    expected = bootstrap(values.tolist())
    estimate = jackknife(values.mean(), [values[part].mean() for part in leave_out(400)], 400)
    assert estimate.mean == expected.mean
    ratio_of_widths = (estimate.high - estimate.low) / (expected.high - expected.low)
    assert 0.5 < ratio_of_widths < 1.7


def test_the_jackknife_interval_holds_the_true_mean_about_95_times_in_100() -> None:
    held = 0
    for values in np.random.default_rng(2).uniform(0, 1, (400, 50)):
        means = [values[part].mean() for part in leave_out(50)]
        estimate = jackknife(values.mean(), means, 50)
        held += estimate.low <= 0.5 <= estimate.high
    # of 400 intervals 380 should: the spread is sqrt(400 * 0.95 * 0.05) = 4.4
    assert 364 <= held <= 396


def test_a_statistic_of_few_samples_has_no_interval() -> None:
    estimate = jackknife(0.5, [], 9)
    assert (estimate.mean, estimate.n, math.isnan(estimate.low)) == (0.5, 9, True)
    assert math.isnan(jackknife(0.5, [0.4, math.nan], 30).high)
    # ten folds without a success say nothing of the chance of one
    assert math.isnan(jackknife(0.0, [0.0] * 10, 30).high)
