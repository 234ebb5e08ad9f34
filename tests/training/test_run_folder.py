"""A run's folder is claimed once, and a signal asks the run to stop in order."""

from __future__ import annotations

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vrft import config
from vrft.config.schema import Config, TaskConfig
from vrft.errors import UserError
from vrft.training import run_folder
from vrft.training.run_folder import StopSignal


def into(folder: Path | str, **train: object) -> Config:
    """The default configuration with a folder to run in."""
    return replace(Config(), train=replace(Config().train, output_dir=str(folder), **train))  # type: ignore[arg-type]


def test_a_claimed_folder_holds_the_configuration(tmp_path: Path) -> None:
    claimed = run_folder.claim(into(tmp_path / "a" / "run"))
    for name in ("config.yaml", "config-1.yaml"):  # as it is now, and from the first step on
        assert config.load(str(tmp_path / "a" / "run" / name)) == claimed


def test_a_run_that_names_no_folder_gets_one_of_its_task_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    claimed = run_folder.claim(replace(into(""), task=TaskConfig("my/task_of_mine.py")))
    folder = claimed.train.output_dir
    assert re.fullmatch(r"runs/task_of_mine-\d{8}-\d{6}", folder)
    assert config.load(f"{folder}/config.yaml").train.output_dir == folder


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


def test_a_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder.write_safely(tmp_path / "config.yaml", "old")

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        run_folder.write_safely(tmp_path / "config.yaml", "new")
    assert (tmp_path / "config.yaml").read_text() == "old"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_and_the_step_goes_on(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert stop.number is None
        signal.raise_signal(number)
        assert stop.number == number
    assert signal.getsignal(number) == before


def test_a_second_interrupt_stops_at_once_and_a_second_sigterm_does_not() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.number == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


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
