"""benchmarks/paper/study.py: a learning rate for every arm, searched where no table is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.paper_results import result_of

from benchmarks.paper import experiment, study, trials
from benchmarks.paper.experiment import Resources
from benchmarks.paper.study import Arm, Claim, Plan, Study
from benchmarks.paper.trials import Result

STUDY = Study(
    "picture", Plan("lisa_grounding", "demo_grounding", 9),
    (Arm("a", ()), Arm("b", ("algorithm=grpo",))), (Claim("a", "b"),),
    title="A title", text="A text.",
)  # fmt: skip

# scores on "val"; the grid is 0.25, 0.5, 1, 2
SCORES = {"a x0.25": 0.1, "a x0.5": 0.3, "a x1": 0.4, "a x2": 0.2}
OF_B = {"b x0.25": 0.0, "b x0.5": 0.1, "b x1": 0.2, "b x2": 0.3}


def searched(scores: dict[str, float]) -> dict[str, Result]:
    """Return results of the search with these scores, by their keys."""
    by_arm = {trial.arm: trial for trial in study.search_trials(STUDY)}
    results = [result_of(by_arm[arm], after=score) for arm, score in scores.items()]
    return {result.key: result for result in results}


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        (SCORES, {"a": 1.0}),  # of b nothing was tried
        (SCORES | OF_B, {"a": 1.0, "b": 2.0}),
        (SCORES | {"b x0.25": 0.9}, {"a": 1.0}),  # of b only one rate was tried
        (SCORES | {"a x0.25": 0.4}, {"a": 0.25}),  # of equal scores the smallest rate
    ],
)
def test_every_arm_gets_the_rate_that_did_best_for_it(
    scores: dict[str, float], best: dict[str, float]
) -> None:
    assert study.best_rates(STUDY, searched(scores)) == best


def test_the_search_is_on_other_questions_with_another_seed() -> None:
    cells = study.search_trials(STUDY)
    assert len(cells) == 8 and {trial.asked for trial in cells} == {("split=val",)}
    assert {trial.seed for trial in cells} == {study.SEARCH_SEED}
    # a quarter of the rate of the demo, 1.5e-4
    assert cells[0].settings == ("train.max_steps=9", "train.learning_rate=3.75e-05")


def test_final_runs_take_the_best_rate_and_the_held_out_questions() -> None:
    trials.write_results(STUDY.plan.search, searched(SCORES))
    (trial,) = study.final_trials(STUDY, 42)
    assert trial.settings == ("train.max_steps=9", "train.learning_rate=0.00015")
    assert trial.asked == ()


def test_a_study_searches_first_and_then_runs_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = SCORES | OF_B
    monkeypatch.setattr(experiment, "command", lambda *_: None)
    monkeypatch.setattr(
        experiment, "run", lambda trial, *_: result_of(trial, after=scores.get(trial.arm, 0.5))
    )
    results = study.run(STUDY, [1, 2], Resources(tmp_path))
    assert [(r.arm, r.seed) for r in results] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert [r.settings[-1] for r in results[:2]] == [
        "train.learning_rate=0.00015",  # 1 x 1.5e-4
        "train.learning_rate=0.0003",  # 2 x 1.5e-4
    ]
