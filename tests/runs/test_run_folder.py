"""A run's folder is claimed once, and held by one run at a time."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from vrft import config
from vrft.config.schema import Config, TaskConfig
from vrft.errors import UserError
from vrft.runs import run_folder


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


@pytest.mark.parametrize(
    "names",
    [
        ("checkpoint-500", "checkpoint-1000", "checkpoint-1500"),  # as transformers names them
        ("final",),
        ("config.yaml",),  # a user's own, or another tool's
        ("metrics.jsonl",),  # of another tool: without config.yaml it is no run of ours
        ("checkpoint-0", "final", "metrics.jsonl", "config.yaml"),
    ],
)
def test_a_folder_with_models_or_settings_of_another_tool_is_left_alone(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text("{}")
    with pytest.raises(UserError, match="choose another folder") as caught:
        run_folder.claim(into(tmp_path))
    assert all(name in str(caught.value) for name in names) and "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_a_refusal_counts_what_it_does_not_name(tmp_path: Path) -> None:
    for step in range(6):
        (tmp_path / f"checkpoint-{step}").mkdir()
    with pytest.raises(UserError, match="checkpoint-3 and 2 more of another tool"):
        run_folder.check_free(into(tmp_path))


def test_other_files_leave_a_folder_free(tmp_path: Path) -> None:
    for name in ("checkpoint-best", "checkpoint-8.bak", "notes.txt", "runs"):
        (tmp_path / name).mkdir()
    run_folder.check_free(into(tmp_path))


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


def test_a_folder_in_which_no_model_can_be_saved_is_refused(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")  # a name that is no text
    with pytest.raises(UserError, match="the name is not in UTF-8, and no model can be saved"):
        run_folder.check_free(config.load(None, [config.to_override("train.output_dir", folder)]))
