"""benchmarks/paper/report.py: RESULTS.md shows what is kept, and every claim is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.paper_results import TRIAL, result_of

from benchmarks.paper import demo_tasks, report, trials
from benchmarks.paper.study import Arm, Claim, Plan, Study
from benchmarks.paper.trials import Trial

STUDY = Study(
    "picture", Plan("lisa_grounding", "demo_grounding", 9),
    (Arm("a", ()), Arm("b", ("algorithm=grpo",))), (Claim("a", "b"),),
    title="A title", text="A text.",
)  # fmt: skip


def test_the_page_shows_the_results_that_are_kept_and_where_they_are_from(tmp_path: Path) -> None:
    trials.write_results(demo_tasks.NAME, {TRIAL.key: result_of(TRIAL)})
    text = report.publish(tmp_path).read_text(encoding="utf-8")
    assert "| `counting` | iou | 300 | 25.0 | 1 | 37.5 | +12.5 | +10.0 to +15.0 | 11.9 |" in text
    assert "| abc | 1 | 1 | 2 | 5 | x |" in text


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ([0.1, 0.11, 0.12], "agrees"),
        ([-0.1, -0.11, -0.12], "does not agree"),
        ([0.1, -0.1, 0.0], "cannot tell"),
    ],
)
def test_a_claim_is_judged_by_runs_of_the_same_seed(gaps: list[float], said: str) -> None:
    results = []
    for seed, gap in enumerate(gaps):
        for arm, after in (("a", 0.5 + gap), ("b", 0.5)):
            trial = Trial(arm, "c", "b", seed, ("train.learning_rate=1e-4",))
            results.append(result_of(trial, after=after))
    assert report.verdicts(STUDY, results).endswith(f"3 seeds): {said}.")
    assert report.study_section(STUDY, results).startswith("## A title\n\nA text.\n\n9 steps on ")


def test_a_claim_with_one_common_seed_is_not_judged() -> None:
    results = [result_of(Trial("a", "c", "b", seed)) for seed in (1, 2)]
    results.append(result_of(Trial("b", "c", "b", 1)))
    assert report.verdicts(STUDY, results) == ""


def test_a_rate_at_the_edge_of_the_grid_is_marked() -> None:
    # the demo's rate is 1.5e-4; the grid goes from a quarter of it to twice
    rates = {"1.5e-4": "x1", "3e-4": "x2*", "3.75e-5": "x0.25*"}
    for rate, shown in rates.items():
        trial = Trial("a", "c", "b", 1, (f"train.learning_rate={rate}",))
        assert f"| `a` | {shown} | 1 |" in report.study_table(STUDY, [result_of(trial)])


def test_a_table_shows_its_own_arms_and_draws_them(tmp_path: Path) -> None:
    results = {}
    for seed in (1, 2):
        for arm in ("gpg", "gpg v1", "sft"):
            trial = Trial(arm, "demo/geoqa", "demo_geoqa", seed, ("train.learning_rate=1e-4",))
            results[trial.key] = result_of(trial)
    trials.write_results("geoqa", results)
    text = report.publish(tmp_path).read_text(encoding="utf-8")
    assert "## Tables 5 to 8: the demo of geoqa" in text
    assert "| `gpg` |" in text and "| `sft` |" in text and "| `gpg v1` |" not in text
    assert "(table5_geoqa.svg)" in text and "## Table 3" not in text and "Figure 3" not in text
    picture = (tmp_path / "table5_geoqa.svg").read_bytes()
    report.publish(tmp_path)
    assert picture.startswith(b"<?xml")
    assert (tmp_path / "table5_geoqa.svg").read_bytes() == picture
    assert (tmp_path / "table5_geoqa.png").stat().st_size > 1000


def test_the_published_page_is_made_of_the_published_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "RESULTS", trials.HERE / "results")
    published = (trials.HERE / "RESULTS.md").read_text(encoding="utf-8")
    assert report.publish(tmp_path).read_text(encoding="utf-8") == published
