"""The measured runs of benchmarks/paper: rows are kept, and nothing is run twice or half."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.paper import demo_tasks, experiment, report
from benchmarks.paper.experiment import Cell, Row
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
        metric="iou",
        n=300,
        before=0.25,
        after=0.375,
        gain=0.125,
        low=low,
        high=0.15,
        blanked=0.119,
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
    assert experiment.measure("t", [CELL], tmp_path) == [row(CELL)]
    assert experiment.measure("t", [CELL, other], tmp_path) == [row(CELL), row(other)]
    assert [one for one in commands if not one.startswith("eval")] == [CELL.key, other.key]


def test_another_setting_is_another_run(tmp_path: Path, commands: list[str]) -> None:
    experiment.measure("t", [CELL], tmp_path)
    changed = dataclasses.replace(CELL, settings=("train.max_steps=2",))
    assert experiment.measure("t", [changed], tmp_path) == [row(changed)]


def test_no_run_begins_after_the_budget(tmp_path: Path, commands: list[str]) -> None:
    assert experiment.measure("t", [CELL], tmp_path, budget=0) == []
    assert CELL.key not in commands


def test_the_untrained_model_is_asked_once_for_all_seeds(
    tmp_path: Path, commands: list[str]
) -> None:
    cells = [dataclasses.replace(CELL, seed=seed) for seed in (1, 2, 3)]
    experiment.measure("t", cells, tmp_path)
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
