"""The measured runs of benchmarks/paper: rows are kept, and nothing is run twice or half."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.paper import demo_tasks, experiment, figure3, report, study
from benchmarks.paper.experiment import Cell, Means, Row
from benchmarks.paper.study import Arm, Claim, Plan, Study
from vrft import config
from vrft.errors import UserError

CELL = Cell("counting", "demo/lisa_grounding", "demo_grounding", 1, ("train.max_steps=1",))


def row(cell: Cell, low: float = 0.1) -> Row:
    return Row(
        key=cell.key,
        arm=cell.arm,
        seed=cell.seed,
        config=cell.config,
        benchmark=cell.benchmark,
        settings=cell.settings,
        asked=cell.asked,
        metric="iou",
        n=300,
        before=0.25,
        after=0.375,
        gain=0.125,
        low=low,
        high=0.15,
        blanked=0.119,
        epochs=2.0,
        tokens=1000,
        seconds=90.0,
        threads=1,
        commit="abc",
        versions={"vrft": "1", "torch": "2", "transformers": "5", "platform": "x"},
    )


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kept rows and the page go to a folder of the test."""
    monkeypatch.setattr(experiment, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(report, "HERE", tmp_path)
    return tmp_path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be run instead of running it; every evaluation is the same."""
    said: list[str] = []
    monkeypatch.setattr(experiment, "command", lambda argv, *_: said.append(" ".join(argv)))
    monkeypatch.setattr(experiment, "run", lambda cell, *_: said.append(cell.key) or row(cell))
    return said


def test_rows_are_kept_and_what_is_kept_is_not_run_again(
    tmp_path: Path, commands: list[str]
) -> None:
    other = dataclasses.replace(CELL, seed=2)
    assert experiment.measure("t", [CELL], Means(tmp_path)) == [row(CELL)]
    assert experiment.measure("t", [CELL, other], Means(tmp_path)) == [row(CELL), row(other)]
    assert [one for one in commands if not one.startswith("eval")] == [CELL.key, other.key]


def test_another_setting_is_another_run(tmp_path: Path, commands: list[str]) -> None:
    experiment.measure("t", [CELL], Means(tmp_path))
    changed = dataclasses.replace(CELL, settings=("train.max_steps=2",))
    assert experiment.measure("t", [changed], Means(tmp_path)) == [row(changed)]


def test_no_run_begins_after_the_budget(tmp_path: Path, commands: list[str]) -> None:
    assert experiment.measure("t", [CELL], Means(tmp_path, budget=0)) == []
    assert CELL.key not in commands


def test_the_untrained_model_is_asked_once_for_all_seeds(
    tmp_path: Path, commands: list[str]
) -> None:
    cells = [dataclasses.replace(CELL, seed=seed) for seed in (1, 2, 3)]
    experiment.measure("t", cells, Means(tmp_path))
    asked = [one for one in commands if one.startswith("eval")]
    assert len(asked) == 1 and "--benchmark demo_grounding --model demo " in asked[0]


def test_a_command_that_fails_says_what_it_said_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vrft eval failed \(2\): .*unknown name 'nobody'.*log"):
        experiment.command(["eval", "--benchmark", "nobody", "--model", "demo"], tmp_path, 1)


def test_a_begun_training_is_resumed_and_a_finished_one_left_alone(
    tmp_path: Path, commands: list[str]
) -> None:
    experiment.train(CELL, tmp_path, 1)
    (tmp_path / "config.yaml").touch()
    experiment.train(CELL, tmp_path, 1)
    (tmp_path / "final").mkdir()
    experiment.train(CELL, tmp_path, 1)
    assert commands == [
        f"train --config demo/lisa_grounding train.max_steps=1 train.seed=1 "
        f"train.output_dir={tmp_path}",
        f"train --resume {tmp_path}",
    ]


def test_the_page_shows_the_rows_that_are_kept_and_where_they_are_from(results: Path) -> None:
    experiment.write(demo_tasks.TABLE, {CELL.key: row(CELL)})
    text = report.publish().read_text(encoding="utf-8")
    assert "| `counting` | iou | 300 | 25.0 | 1 | 37.5 | +12.5 | +10.0 to +15.0 | 11.9 |" in text
    assert "| abc | 1 | 1 | 2 | 5 | x |" in text


@pytest.mark.parametrize(
    ("lows", "expected", "sentence"),
    [
        ([0.1, 0.1], 2, "In 2 of 2 runs the whole interval lies above zero."),
        ([0.1, -0.1], 2, "In 1 of 2 runs the whole interval lies above zero."),
        ([0.1], 3, "In 1 of 1 runs the whole interval lies above zero; 2 not run yet."),
    ],
)
def test_the_verdict_counts_what_is_sure(lows: list[float], expected: int, sentence: str) -> None:
    assert demo_tasks.verdict([row(CELL, low) for low in lows], expected) == sentence


# Studies

STUDY = Study(
    "picture", Plan("lisa_grounding", "demo_grounding", 9),
    (Arm("a", ()), Arm("b", ("algorithm=grpo",))), (Claim("a", "b"),),
    title="A title", text="A text.",
)  # fmt: skip


SCORES = {"a x0.25": 0.1, "a x0.5": 0.3, "a x1": 0.4, "a x2": 0.2}


def searched(scores: dict[str, float]) -> dict[str, Row]:
    """Rows of a search, by arm and factor."""
    cells = {cell.arm: cell for cell in study.search_cells(STUDY)}
    found = {arm: dataclasses.replace(row(cells[arm]), after=x) for arm, x in scores.items()}
    return {one.key: one for one in found.values()}


def test_every_arm_gets_the_rate_that_did_best_for_it() -> None:
    assert study.best_rates(STUDY, searched(SCORES)) == {"a": 1.0}
    both = SCORES | {"b x0.25": 0.0, "b x0.5": 0.1, "b x1": 0.2, "b x2": 0.3}
    assert study.best_rates(STUDY, searched(both)) == {"a": 1.0, "b": 2.0}


def test_the_search_is_on_other_questions_with_another_seed() -> None:
    cells = study.search_cells(STUDY)
    assert len(cells) == 8 and {cell.asked for cell in cells} == {("split=val",)}
    assert {cell.seed for cell in cells} == {study.SEARCH_SEED}
    # a quarter of the rate of the demo, 1.5e-4
    assert cells[0].settings == ("train.max_steps=9", "train.learning_rate=3.75e-05")


def test_final_runs_take_the_best_rate_and_the_held_out_questions() -> None:
    experiment.write(STUDY.search, searched(SCORES))
    (cell,) = study.final_cells(STUDY, 42)
    assert cell.settings == ("train.max_steps=9", "train.learning_rate=0.00015")
    assert cell.asked == ()


def test_the_interval_over_seeds_is_students() -> None:
    # mean 2, deviation 1, t(0.975, 2) = 4.303: half a width of 4.303 / sqrt(3) = 2.484
    found = study.over_seeds([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((-0.4841, 4.4841), abs=1e-3)


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ([0.1, 0.11, 0.12], "agrees"),
        ([-0.1, -0.11, -0.12], "does not agree"),
        ([0.1, -0.1, 0.0], "cannot tell"),
    ],
)
def test_a_claim_is_judged_by_runs_of_the_same_seed(gaps: list[float], said: str) -> None:
    rows = []
    for seed, gap in enumerate(gaps):
        for arm, after in (("a", 0.5 + gap), ("b", 0.5)):
            cell = Cell(arm, "c", "b", seed, ("train.learning_rate=1e-4",))
            rows.append(dataclasses.replace(row(cell), after=after))
    assert study.verdicts(STUDY, rows).endswith(f"3 seeds): {said}.")
    assert STUDY.section(rows).startswith("## A title\n\nA text.\n\n9 steps on ")


def test_every_table_has_a_picture_of_its_own_and_arms_that_can_be_configured() -> None:
    studies = [page for page in report.PAGES if isinstance(page, Study)]
    assert len({one.name for one in studies}) == len(studies) > 5
    for one in studies:
        for cell in study.search_cells(one):
            config.load(cell.config, cell.settings)


def test_an_arm_that_two_tables_show_is_the_same_run() -> None:
    settings: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for page in report.PAGES:
        for cell in study.search_cells(page) if isinstance(page, Study) else ():
            settings.setdefault((cell.config, cell.arm), set()).add(cell.settings)
    assert all(len(found) == 1 for found in settings.values())
    # four rates each: 19 arms of sums, 10 of photographs, 3 each of three other demos
    assert len(settings) == 4 * (19 + 10 + 9)


def test_a_table_shows_its_own_arms_and_draws_them(results: Path) -> None:
    rows = []
    for seed in (1, 2):
        for arm in ("gpg", "gpg v1", "sft"):
            cell = Cell(arm, "demo/geoqa", "demo_geoqa", seed, ("train.learning_rate=1e-4",))
            rows.append(row(cell))
    experiment.write("geoqa", {one.key: one for one in rows})
    text = report.publish().read_text(encoding="utf-8")
    assert "## Tables 5 to 8: the demo of geoqa" in text
    assert "| `gpg` |" in text and "| `sft` |" in text and "| `gpg v1` |" not in text
    assert "(table5_geoqa.svg)" in text and "## Table 3" not in text
    first = (results / "table5_geoqa.svg").read_bytes()
    report.publish()
    assert first.startswith(b"<?xml") and (results / "table5_geoqa.svg").read_bytes() == first
    assert (results / "table5_geoqa.png").stat().st_size > 1000


def test_runs_at_a_time_share_the_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert Means(tmp_path).each == 8 and Means(tmp_path, jobs=3).each == 2
    assert Means(tmp_path, jobs=16).each == 1 and Means(tmp_path, threads=5).each == 5


# Figure 3


def test_the_curves_of_finished_runs_are_kept_and_drawn(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure3, "RESULTS", results / "results")
    monkeypatch.setattr(figure3, "HERE", results)
    for arm, reward in (("gpg", 0.5), ("grpo", 0.25)):
        for seed in (1, 2):
            run = results / "runs" / "fewshot_classification" / arm / f"seed-{seed}" / "run"
            (run / "final").mkdir(parents=True)
            rows = [
                {"loss": 0.1 * step, "reward": reward * step, "completions/mean_length": 9.0}
                for step in range(3)
            ]
            (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (results / "runs" / "fewshot_classification" / "gpg" / "seed-3" / "run").mkdir(
        parents=True
    )  # not finished
    assert figure3.main(["--out", str(results / "runs")]) == 0
    kept = json.loads((results / "results" / "figure3.json").read_text())
    assert kept["gpg"]["reward"] == [[0.0, 0.5, 1.0]] * 2
    assert (results / "figure3.png").stat().st_size > 1000
    assert "<svg" in (results / "figure3.svg").read_text()


def test_without_runs_there_is_no_figure(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure3, "RESULTS", results / "results")
    with pytest.raises(UserError, match="run table3 first"):
        figure3.main(["--out", str(results)])


def test_a_point_is_the_mean_of_the_steps_before_it() -> None:
    assert figure3.smooth([1, 2, 3, 4, 5, 6]) == [1, 1.5, 2, 2.5, 3, 4]
