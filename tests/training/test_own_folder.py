"""The folder of a run: named once for all processes, held by one, and claimed with its data."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.bigram import CONFIG, Echo

from vrft.config.schema import TaskConfig
from vrft.errors import UserError
from vrft.runs import data_fingerprint, run_folder
from vrft.training import own_folder

ALONE = SimpleNamespace(is_main_process=True, num_processes=1, wait_for_everyone=lambda: None)


def test_a_run_that_names_no_folder_gets_one_and_a_name_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unnamed = replace(CONFIG, task=TaskConfig("echo"), train=replace(CONFIG.train, output_dir=""))
    with ExitStack() as stack:
        made = own_folder.named(unnamed, ALONE, stack)
        assert made.train.output_dir.startswith("runs/echo-")
        assert own_folder.named(made, ALONE, stack) is made
        (Path(made.train.output_dir) / "config.yaml").touch()  # or it is given up, as not begun


def test_a_folder_that_is_held_for_one_resumed_run_is_refused_to_another(tmp_path: Path) -> None:
    with ExitStack() as stack:
        assert own_folder.held_checkpoint(tmp_path, ALONE, stack) is None
        with pytest.raises(UserError, match="writes there"), ExitStack() as other:
            own_folder.held_checkpoint(tmp_path, ALONE, other)


def test_a_claimed_folder_has_settings_and_the_fingerprint_of_the_steps(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train = replace(CONFIG.train, output_dir=str(folder), per_device_train_batch_size=3)
    own_folder.claim(replace(CONFIG, train=train), Echo().samples("train"), 2)
    assert {path.name for path in folder.glob("config*")} == {"config.yaml", "config-1.yaml"}
    assert data_fingerprint.prompts_per_step(folder) == 6
    assert run_folder.resume_command(folder) == f"vrft train --resume {folder}"
