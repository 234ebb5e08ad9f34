"""The watch over TRL's trainer; tests/sft/test_fine_tune.py follows it through whole runs."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState

from vrft import config
from vrft.errors import UserError
from vrft.sft import watch


def test_the_mean_loss_of_a_resumed_run_is_that_of_all_its_steps() -> None:
    state = TrainerState()
    # (2 * 3 + 2 * 1 + 1 * 7) / 5, rows of two, two and one step
    state.log_history = [
        {"step": 2, "loss": 3.0}, {"step": 2, "eval_loss": 9.0}, {"step": 4, "loss": 1.0},
        {"step": 5, "loss": 7.0},
    ]  # fmt: skip
    assert watch.mean_loss(state) == 3.0


def watching(module: torch.nn.Module, *settings: str) -> watch.RunCallback:
    """Return the watch over a module's steps, of a process that has no log."""
    learner: Any = SimpleNamespace(module=module)
    nothing: Any = None
    made = config.load(None, ["algorithm=sft", *settings])
    return watch.RunCallback(made, nothing, learner, nothing, nothing, nothing)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_step_is_taken_on_a_gradient_that_is_not_finite(value: float) -> None:
    module = torch.nn.ParameterList([torch.zeros(2), torch.zeros(1)])  # the second was not reached
    module[0].grad = torch.tensor([1.0, 2.0])
    state, control = TrainerState(global_step=4), TrainerControl()
    arguments: Any = None
    made = watching(module)
    made.on_pre_optimizer_step(arguments, state, control)
    module[0].grad[1] = value
    with pytest.raises(UserError, match="step 5: the gradient's norm is"):
        made.on_pre_optimizer_step(arguments, state, control)


def test_a_resumed_run_has_the_rates_of_this_start() -> None:
    """The schedule is linear from 0.5 at step 0 to 0 at step 4: 0.25 after two steps."""
    module = torch.nn.ParameterList([torch.zeros(2), torch.zeros(1)])
    optimizer = torch.optim.AdamW([{"params": [weight]} for weight in module], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 4)
    made = watching(
        module, "train.learning_rate=0.5", "train.weight_decay=0.1", "train.adam_beta2=0.5"
    )
    made.renew(optimizer, scheduler, 2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert all(group["betas"][1] == 0.5 for group in optimizer.param_groups)
