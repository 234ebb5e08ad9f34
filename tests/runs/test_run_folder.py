"""A run's folder is claimed once, and a signal asks the run to stop in order."""

from __future__ import annotations

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vrft import config
from vrft.config.schema import Config, TaskConfig
from vrft.errors import UserError
from vrft.runs import run_folder
from vrft.runs.run_folder import StopSignal


def into(folder: Path | str, **train: object) -> Config:
    """The default configuration with a folder to run in."""
    return replace(Config(), train=replace(Config().train, output_dir=str(folder), **train))  # type: ignore[arg-type]


def test_a_claimed_folder_holds_the_configuration(tmp_path: Path) -> None:
    claimed = into(tmp_path / "a" / "run")
    run_folder.claim(claimed)
    for name in ("config.yaml", "config-1.yaml"):  # as it is now, and from the first step on
        assert config.load(str(tmp_path / "a" / "run" / name)) == claimed


def test_a_run_that_names_no_folder_gets_one_of_its_task_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run_folder.default_folder(replace(into(""), task=TaskConfig("my/task_of_mine.py")))
    assert re.fullmatch(r"runs/task_of_mine-\d{8}-\d{6}", folder)
    assert Path(folder).is_dir()


def test_unnamed_runs_of_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "20260102-030405")
    config = replace(into(""), task=TaskConfig("vqa"))
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(run_folder.default_folder, [config] * 8))
    first = "runs/vqa-20260102-030405"
    assert sorted(names) == [first, *(f"{first}-{number}" for number in range(2, 9))]
    assert all(Path(name).is_dir() for name in names)


def test_a_file_in_the_place_of_all_runs_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").touch()
    with pytest.raises(UserError, match=r"^runs/vqa-\S+: cannot be made \(.+ by train.output_dir$"):
        run_folder.default_folder(replace(into(""), task=TaskConfig("vqa")))


def test_the_folder_of_another_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("task: other\n")
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="holds another run; go on with `vrft train --resume"):
        run_folder.claim(into(tmp_path))
    assert (tmp_path / "config.yaml").read_text() == "task: other\n"


def test_a_run_that_failed_before_its_first_record_leaves_its_folder_free(tmp_path: Path) -> None:
    run_folder.claim(into(tmp_path, seed=1))
    run_folder.claim(into(tmp_path, seed=2))
    assert config.load(str(tmp_path / "config.yaml")).train.seed == 2


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be made .* choose another folder") as caught:
        run_folder.claim(into(tmp_path / "file" / "run"))
    assert "\n" not in str(caught.value)


def test_no_folder_is_made_for_a_tracker_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown tracker 'tensorbord'; did you mean"):
        run_folder.claim(into(tmp_path / "run", report_to=("tensorbord",)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", run_folder.STOPPING)
def test_a_signal_is_remembered_and_the_step_goes_on(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert stop.number is None
        signal.raise_signal(number)
        assert stop.number == number
    assert signal.getsignal(number) == before


def test_a_second_interrupt_stops_at_once_after_whatever_signal() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.number == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("number", [n for n in run_folder.STOPPING if n != signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.0, 0.9, 1.1, 60.0])
def test_a_second_signal_stops_at_once_unless_a_launcher_has_passed_on_the_first(
    number: signal.Signals, seconds: float
) -> None:
    clock = iter([100.0, 100.0 + seconds])
    at_once = False
    with suppress(SystemExit), StopSignal(lambda: next(clock)) as stop:
        signal.raise_signal(signal.SIGTERM)
        at_once = True
        signal.raise_signal(number)
        at_once = False
    assert at_once == (seconds >= 1)
    assert stop.number == signal.SIGTERM


@pytest.mark.parametrize("number", run_folder.STOPPING)
def test_a_hang_up_stays_ignored_where_the_run_was_started_so(number: signal.Signals) -> None:
    """By nohup; Ctrl-C and SIGTERM save even where a shell's background job ignores them."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert (stop.number is None) == (number in (signal.SIGHUP, signal.SIGQUIT))


def test_what_killed_runs_have_left_is_swept_and_strangers_are_left_alone(tmp_path: Path) -> None:
    strangers = ("checkpoint-best", ".checkpoint-8.bak", ".mine", ".finally", "checkpoint-3")
    for name in (*strangers, ".checkpoint-4", ".final", ".checkpoint-3.former", ".final.former"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    for name in (".config.yaml", ".config-4.yaml", ".wandb.json", ".metrics.jsonl", ".gitignore"):
        (tmp_path / name).touch()
    with run_folder.held(tmp_path):
        names = {path.name for path in tmp_path.iterdir()}
    # the former final is put back, as a kill came before the new one had taken its place
    assert names == {*strangers, "final", ".gitignore", ".lock"}
    assert (tmp_path / "final" / ".final.former").is_file()
    assert not (tmp_path / ".lock").exists()


def test_two_runs_cannot_hold_one_folder(tmp_path: Path) -> None:
    with run_folder.held(tmp_path):
        (tmp_path / ".checkpoint-4").mkdir()  # the first is writing it
        with (
            pytest.raises(UserError, match="a training writes there at this moment"),
            run_folder.held(tmp_path),
        ):
            pass
        assert (tmp_path / ".checkpoint-4").is_dir()


def test_a_thread_beside_the_main_one_goes_on_without_handlers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def step() -> tuple[int | None, list[Any]]:
        with StopSignal() as stop:
            return stop.number, [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(step).result() == (None, before)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert capsys.readouterr().err.count("Ctrl-C and SIGTERM cannot be awaited") == 1
