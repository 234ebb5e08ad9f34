"""Checkpoints of supervised fine-tuning: what transformers could not go on from is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerState

from vrft.errors import UserError
from vrft.sft import resuming
from vrft.training import trainer_state


def test_a_transformers_that_loads_checkpoints_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resuming.check_resuming()  # the one that is installed does not
    monkeypatch.delattr("transformers.Trainer._load_from_checkpoint")
    with pytest.raises(UserError, match="this transformers loads checkpoints in a way of its own"):
        resuming.check_resuming()


STATE = json.loads(
    """{
  "best_global_step": null, "best_metric": null, "best_model_checkpoint": null, "epoch": 0.5,
  "eval_steps": 500, "global_step": 2, "is_hyper_param_search": false,
  "is_local_process_zero": true, "is_world_process_zero": true, "log_history": [],
  "logging_steps": 1, "max_steps": 4, "num_input_tokens_seen": 0, "num_train_epochs": 2,
  "save_steps": 2, "stateful_callbacks": {}, "total_flos": 1e20, "train_batch_size": 4,
  "trial_name": null, "trial_params": null}"""
)
"""A state as transformers writes it."""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with a state, and without a model."""
    folder = tmp_path / "checkpoint-2"
    folder.mkdir()
    for name in ("optimizer.pt", "scheduler.pt"):
        (folder / name).touch()
    (folder / trainer_state.STATE).write_text(json.dumps(STATE))
    return folder


def test_the_state_that_transformers_writes_is_one_of_a_run(saved: Path) -> None:
    resuming.check_state(saved)
    assert {field.name for field in dataclasses.fields(TrainerState)} == STATE.keys()


@pytest.mark.parametrize(
    "change",
    [
        # each number as a text, null, below zero, too large; counts with decimals
        *(
            {name: value}
            for name in ("global_step", "max_steps", "save_steps", "num_train_epochs")
            for value in ("2", None, -1, 8.5, 10**30, True)
        ),
        *({name: value} for name in ("epoch", "total_flos") for value in ("2", None, -0.5, [])),
        {"epoch": math.inf},
        {"epoch": math.nan},
        {"total_flos": 10**400},
        # another step than in the checkpoint's name
        {"global_step": 3},
        # no list, no mapping, no truth value, a field of nobody's
        {"log_history": "none"},
        {"stateful_callbacks": []},
        {"is_world_process_zero": 1},
        {"learning_rate": 1},
    ],
)
def test_a_state_of_no_run_is_refused_in_one_line(change: dict[str, Any], saved: Path) -> None:
    (saved / trainer_state.STATE).write_text(json.dumps(STATE | change))
    with pytest.raises(UserError, match="not the state of a run") as caught:
        resuming.check_state(saved)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("lost", ["global_step", "log_history", "stateful_callbacks"])
def test_a_state_without_what_transformers_reads_is_refused(lost: str, saved: Path) -> None:
    state = {name: value for name, value in STATE.items() if name != lost}
    (saved / trainer_state.STATE).write_text(json.dumps(state))
    with pytest.raises(UserError, match="not the state of a run"):
        resuming.check_state(saved)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt"])
def test_a_checkpoint_without_an_optimizer_is_refused(name: str, saved: Path) -> None:
    """transformers would go on with a fresh one."""
    (saved / name).unlink()
    with pytest.raises(UserError, match=f"has no {name}; delete this checkpoint"):
        resuming.check_state(saved)
