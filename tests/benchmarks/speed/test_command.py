"""benchmarks/speed/command.py and __main__.py: the options, and the work that follows from them."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.race import SMALL, compared, measured

from benchmarks.lifeline import Lanes
from benchmarks.speed import __main__ as entry
from benchmarks.speed import (
    command,
    growth,
    kernels,
    learning,
    levers,
    measurement,
    memory,
    operators,
    prefixes,
    report,
)
from benchmarks.speed.operators import Profile
from benchmarks.speed.prefixes import Update
from benchmarks.speed.race import Plan, Race
from benchmarks.speed.settings import QUICK, SETTINGS, Setting
from benchmarks.speed.shapes import SHAPES


class Here(Executor):
    """An executor that runs a task at once, in this process."""

    def submit(self, function, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        future: Future[object] = Future()
        future.set_result(function(*args, **kwargs))
        return future


@pytest.fixture
def raced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Setting, str, Plan]]:
    """Note the races that would be run, in their order; all have the same outcome."""
    begun: list[tuple[Setting, str, Plan]] = []

    def race(setting: Setting, shape: object, plan: Plan, *, checkpointing: bool) -> Race:
        assert not checkpointing
        begun.append((setting, shape.name, plan))  # type: ignore[attr-defined]
        return measured().races[0]

    monkeypatch.setattr(command, "race", race)
    monkeypatch.setattr(command, "lanes", lambda *_, **__: Here())
    monkeypatch.setattr(memory, "measure_alone", lambda *_: measured().memory["ours"])
    kept = replace(compared(5.0), clock=learning.CLOCK)
    monkeypatch.setattr(learning, "compare", lambda *_: kept)
    monkeypatch.setattr(measurement, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "write", lambda _: [tmp_path / "RESULTS.md"])
    return begun


def test_the_longest_race_begins_first_and_gets_time_like_its_work(
    raced: list[tuple[Setting, str, Plan]], tmp_path: Path
) -> None:
    assert entry.main(["--quick", "--device", "cpu"]) == 0
    assert {setting.name for setting, _, _ in raced} == set(QUICK)
    assert raced[0][0].name == "lisa" and {name for _, name, _ in raced} == {"cpu-third"}
    seconds = [plan.seconds for _, _, plan in raced]
    assert seconds == sorted(seconds, reverse=True)
    lanes = command.lane_count("cpu")
    assert sum(seconds) == pytest.approx(lanes * command.RACE_SECONDS)
    assert (tmp_path / "cpu-quick.json").is_file()


def test_some_settings_and_another_shape_can_be_asked_for(
    raced: list[tuple[Setting, str, Plan]], tmp_path: Path
) -> None:
    assert entry.main(["--settings", "geoqa", "--pairs", "1", "--shape", "test"]) == 0
    ((setting, shape, plan),) = raced
    assert (setting.name, setting.prompts, shape) == ("geoqa", 2, "test")
    assert (plan.pairs, plan.least) == (1, 1)
    assert (tmp_path / "cpu-quick-test.json").is_file()


def test_learning_is_kept_by_itself(raced: list[tuple[Setting, str, Plan]], tmp_path: Path) -> None:
    assert entry.main(["--learning", "--seeds", "1"]) == 0
    (kept,) = measurement.read_all(tmp_path)
    assert kept.mode == "learning" and not raced
    assert kept.learning == (replace(compared(5.0), clock=learning.CLOCK),)


def test_a_seed_that_is_kept_is_not_learnt_again(
    raced: list[tuple[Setting, str, Plan]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entry.main(["--learning", "--bed", "walks", "--seeds", "1"]) == 0
    monkeypatch.setattr(learning, "compare", lambda *_: pytest.fail("learnt again"))
    assert entry.main(["--learning", "--bed", "walks", "--seeds", "1"]) == 0
    (kept,) = measurement.read_all(tmp_path)
    assert (kept.name, kept.bed) == ("cpu-learning-walks", "walks")


def test_ties_are_raced_by_themselves(
    raced: list[tuple[Setting, str, Plan]], tmp_path: Path
) -> None:
    assert entry.main(["--tied", "--pairs", "1"]) == 0
    assert [setting.name for setting, _, _ in raced] == ["tied"]
    assert (tmp_path / "cpu-tied.json").is_file()
    (kept,) = measurement.read_all(tmp_path)
    assert kept.mode == "tied" and not kept.memory


@pytest.mark.parametrize("mode", ["levers", "growth", "prefixes", "profile"])
def test_each_further_mode_is_kept_by_itself(
    raced: list[tuple[Setting, str, Plan]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    monkeypatch.setattr(levers, "measure", lambda *_: ())
    monkeypatch.setattr(growth, "measure_all", lambda *_: ())
    monkeypatch.setattr(kernels, "measure_all", lambda *_: ())
    monkeypatch.setattr(operators, "measure", lambda setting, *_: Profile(setting, SMALL, (), 1.0))
    update = Update(SMALL, 10, 2, 4, (1.0,), (2.0,), 0.0)
    monkeypatch.setattr(prefixes, "measure", lambda *_: update)
    assert entry.main([f"--{mode}"]) == 0
    (kept,) = measurement.read_all(tmp_path)
    assert kept.name == f"cpu-{mode}" and len(kept.prefixes) == 4 * (mode == "prefixes")


def test_a_device_that_is_not_there_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert entry.main(["--device", "cuda"]) == 2
    assert "error: --device cuda: there is no CUDA device" in capsys.readouterr().err


def test_every_shape_and_setting_can_be_named() -> None:
    choices = {action.dest: action.choices for action in entry.arguments()._actions}
    assert set(choices["shape"] or ()) == set(SHAPES)
    assert choices["settings"] is SETTINGS


def test_lanes_end_with_the_command() -> None:
    assert isinstance(command.lanes("cpu"), Lanes)
