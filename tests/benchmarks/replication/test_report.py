"""benchmarks/replication/report.py: the page says what the rows say, and nothing without rows."""

from __future__ import annotations

import dataclasses

import pytest
from fakes.replication_rows import finals, measure, row_of

from benchmarks.replication import agenda, inference, ledger, report, search
from benchmarks.replication.arms import ARMS
from benchmarks.replication.beds import BEDS, WALKS
from benchmarks.replication.ledger import Trial

SCORES = [0.50, 0.51, 0.49, 0.52, 0.48]  # mean 0.50, standard deviation sqrt(0.001 / 4) = 1.58 %


def page() -> str:
    """Return the text that is published."""
    return report.publish().read_text(encoding="utf-8")


def test_without_rows_the_page_says_so() -> None:
    assert page().count("No runs yet.") == len(BEDS)


def test_the_card_shows_start_ceiling_gain_spread_and_power() -> None:
    for row in [*finals("gpg", SCORES), row_of(agenda.ceiling(WALKS), 0.95)]:
        ledger.append(row)
    text = page()
    assert "| start | 30.0 |" in text
    assert f"| ceiling, {WALKS.ceiling_steps} steps of fine-tuning on | 95.0 |" in text
    assert f"| gpg, {WALKS.steps} steps, 5 seeds | 50.0 |" in text
    assert "| gain | +20.0 |" in text
    # the curves rise evenly: half of the gain is in the last half
    assert f"| gain of the last {WALKS.steps - WALKS.steps // 2} steps | +10.0 |" in text
    assert "| standard deviation over 5 seeds | 1.6 |" in text
    # before any pair: the deviation of two independent runs, sqrt(2) * 1.58 %
    spread, claims = (2 * 0.001 / 4) ** 0.5, 1
    alone = 100 * inference.detectable(spread, 8)
    among = 100 * inference.detectable(spread, 8, inference.LEVEL / claims)
    seen = "| difference that 8 seeds see with 80 %, "
    assert f"{seen}of the median claim alone | {alone:.1f} points |" in text
    for which in ("median", "widest"):
        assert f"{seen}of the {which} claim among {claims} | {among:.1f} points |" in text


def test_the_card_shows_the_spread_over_all_seeds_beside_that_over_its_own() -> None:
    for row in finals("gpg", [*SCORES, 0.6, 0.6]):
        ledger.append(row)
    assert "| standard deviation over 5 seeds | 1.6 |" in page()
    assert "| standard deviation over 7 seeds | 5.0 |" in page()


def test_a_study_that_has_only_begun_shows_what_there_is() -> None:
    ledger.append(row_of(agenda.ceiling(WALKS), 0.95))
    text = page()
    assert "| start | 30.0 |" in text  # the ceiling begins there too
    for missing in ("No rate has been tried", "No final run", "No claim has runs"):
        assert missing in text


def test_power_is_of_paired_differences_where_there_are_pairs() -> None:
    rows = {"grpo": finals("grpo", SCORES), "gpg": finals("gpg", [s + 0.1 for s in SCORES])}
    (spread,) = report.paired_deviations(rows, WALKS.claims)
    assert spread == pytest.approx(0, abs=1e-9)  # differences do not vary at all
    assert report.paired_deviations({}, WALKS.claims) == []


def test_claims_have_verdicts_at_both_budgets() -> None:
    for row in [*finals("grpo", SCORES), *finals("gpg", [s + 0.2 for s in SCORES], 120.0)]:
        ledger.append(row)
        measure(row)
    sampling, compute = page().split("### Claims, at ")[1:]
    (line,) = [line for line in sampling.splitlines() if "`grpo <= gpg`" in line]
    assert "| +20.0 | +20.0 to +20.0 | 5 | 0.000 |" in line and line.endswith("**agrees** |")
    # gpg takes twice the time: at grpo's it stood half-way, at (0.3 + 0.7) / 2 - 0.5 = 0
    (line,) = [line for line in compute.splitlines() if "`grpo <= gpg`" in line]
    assert "| +0.0 |" in line.replace("-0.0", "+0.0")
    assert "18 have no test yet:" in sampling and "`start < sft`" in sampling
    # told by equal sampling alone
    assert "at one budget or the other 1 of 19 claims are decided." in compute
    figure = ledger.HERE / "walks.svg"
    assert (report.DOCS / "replication-walks.svg").read_bytes() == figure.read_bytes()


def test_final_runs_at_a_rate_that_the_search_has_left_do_not_count() -> None:
    for row in finals("gpg", SCORES):
        ledger.append(row)
    assert "| `gpg` | 0.0001* | 5 |" in page()
    for rate, score in ((4e-4, 0.4), (8e-4, 0.6), (1.6e-3, 0.5)):
        for full, seed in ((False, search.SHORT_SEED), (True, search.FULL_SEED)):
            ledger.append(row_of(agenda.search_trial(WALKS, "gpg", rate, seed, full), score))
    assert "| `gpg` | 0.0001* | 5 |" not in page()


def test_the_difference_by_the_range_of_times_stands_beside_that_by_their_median() -> None:
    cheap, dear = finals("grpo", SCORES, 60.0), finals("gpg", SCORES, 120.0)
    for row in [*cheap, *dear[:-1], dataclasses.replace(dear[-1], cpu_seconds=60.0)]:
        ledger.append(row)
        measure(row)
    (line,) = [line for line in page().splitlines() if "`grpo <= gpg`" in line and " | -1" in line]
    # of gpg's run half or all, in which it rises from 0.3 to 0.5
    assert "| -10.0 | -11.0 to -9.0 | -10.0 to +0.0 |" in line.replace("-0.0 |", "+0.0 |")
    assert line.endswith("**cannot tell** |")


def test_rows_of_another_start_are_left_out_and_counted() -> None:
    ledger.append(finals("gpg", [0.5])[0])
    ledger.append(dataclasses.replace(finals("grpo", [0.5])[0], start="another"))
    text = page()
    assert "1 rows are of another start or other settings and left out." in text
    assert "`gpg`" in text and "| `grpo` |" not in text


def test_a_rate_at_the_edge_of_those_tried_is_starred() -> None:
    first = WALKS.rates(ARMS["gpg"])[1]
    rows = {
        row.trial: row
        for row in (
            dataclasses.replace(row, trial=dataclasses.replace(row.trial, rate=first))
            for row in finals("gpg", SCORES)
        )
    }
    assert "*: the rate lies at the edge" in report.arms_table(WALKS, rows)
    while (trial := agenda.next_trial(WALKS, rows, ())) and trial.stage != "final":
        rows[trial] = row_of(trial, 0.8 if trial.rate == first else 0.5)
    assert "*" not in report.arms_table(WALKS, rows)
    assert f"| `gpg` | {first:g} | 80.0 | 80.0 |" in report.search_table(WALKS, rows)


def test_every_arm_has_a_name_that_is_a_folders() -> None:
    names = [Trial("walks", "final", arm, 1e-4, 1, 10).folder for arm in ARMS]
    assert len(set(names)) == len(ARMS)
    assert not any(set(" ,/") & set(name) for name in names)
