"""The training step: it learns, and its update does not depend on how the batch is cut."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from fakes.bigram import (
    CONFIG,
    Bigram,
    BigramPolicy,
    Echo,
    SameForAll,
    run,
    take_step,
    with_algorithm,
    with_train,
)
from torch import Tensor

from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.training.step import check_norm


def table(config: Config, steps: int = 1) -> torch.Tensor:
    """The bigram's table after some steps of training."""
    made = run(config)
    for _ in range(steps):
        take_step(made)
    return next(made.policy.module.parameters()).detach()


def test_gpg_learns_to_answer() -> None:
    made = run(CONFIG)
    rewards = [take_step(made)[0]["reward"] for _ in range(40)]
    assert rewards[0] < 0.35  # six letters: 1 / 6 by chance
    assert sum(rewards[-5:]) / 5 > 0.9


@pytest.mark.parametrize("token_mean", ["group", "global", "sequence"])
@pytest.mark.parametrize("f_norm", ["group_std", "none", "batch_std"])
def test_accumulating_gradients_gives_the_update_of_one_big_batch(
    token_mean: str, f_norm: str
) -> None:
    config = with_algorithm(CONFIG, token_mean=token_mean, f_norm=f_norm, alpha=True)
    whole = table(config, steps=2)
    cut = table(
        with_train(config, per_device_train_batch_size=2, gradient_accumulation_steps=3), steps=2
    )
    assert whole.abs().max() > 0.05
    assert torch.allclose(whole, cut, atol=1e-6)


def test_the_gradient_is_that_of_equation_5() -> None:
    """Against the sum written out over groups, completions and tokens."""
    made = run(with_train(CONFIG, learning_rate=0.0))
    metrics, rows = take_step(made)
    fresh = Bigram()
    loss = torch.zeros(())
    letters = "abcdef"
    groups = [rows[i : i + 4] for i in range(0, len(rows), 4)]
    samples = {sample.id: sample for sample in made.samples}
    for group in groups:
        rewards = torch.tensor([row["reward"] for row in group])
        tokens = sum(row["tokens"] for row in group)
        for row, reward in zip(group, rewards, strict=True):
            if rewards.max() == rewards.min():
                continue
            advantage = (reward - rewards.mean()) / (rewards.std() + 1e-4)
            assert row["advantage"] == pytest.approx(advantage.item(), abs=1e-5)
            ids = [letters.index(c) for c in row["text"]] + [6] * row["finished"]
            asked = letters.index(samples[row["sample_id"]].question)
            logps = fresh([asked], [[ids]])[0, 0]
            loss = loss - (logps * advantage).sum() / tokens / len(groups)
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert metrics["grad_norm"] == pytest.approx(fresh.table.grad.norm().item(), rel=1e-4)


def test_groups_without_signal_are_never_forwarded() -> None:
    made = run(CONFIG, SameForAll())
    metrics, rows = take_step(made)
    module = made.policy.module
    assert isinstance(module, Bigram)
    dead = sum(row["advantage"] == 0 for row in rows) // 4
    assert dead > 0
    assert metrics["frac_reward_zero_std"] >= 0.3
    assert module.rows == 6 - round(metrics["frac_reward_zero_std"] * 6)


def test_a_step_without_any_signal_leaves_the_weights_alone() -> None:
    made = run(CONFIG)
    for _ in range(3):
        take_step(made)  # Adam has momentum now, which must not move the weights either
    before = next(made.policy.module.parameters()).detach().clone()
    object.__setattr__(made, "task", SameForAll(dead="abcdef"))
    metrics, _ = take_step(made)
    assert metrics["loss"] == 0.0 and metrics["grad_norm"] == 0.0
    assert torch.equal(next(made.policy.module.parameters()).detach(), before)


def test_a_step_without_any_signal_asks_nothing_of_the_scaler_of_float16() -> None:
    made = run(with_train(CONFIG, lr_scheduler_type="linear"), SameForAll(dead="abcdef"))
    scaler = torch.amp.GradScaler("cpu")
    made = replace(made, optimizer=AcceleratedOptimizer(made.optimizer.optimizer, scaler=scaler))
    made.accelerator.scaler = scaler
    assert take_step(made)[0]["grad_norm"] == 0.0
    object.__setattr__(made, "task", Echo())
    metrics, _ = take_step(made)
    assert metrics["grad_norm"] > 0 and next(made.policy.module.parameters()).any()
    # The schedule has moved all the same: 39 of 40 steps are left of 0.2.
    assert metrics["learning_rate"] == pytest.approx(0.2 * 39 / 40)


class Broken(BigramPolicy):
    """A policy whose log-probabilities of some letters are multiplied by a factor."""

    def __init__(self, factor: float, letters: str = "abcdef") -> None:
        super().__init__()
        self.factor, self.letters = factor, ["abcdef".index(letter) for letter in letters]

    def logps(self, encoded: Any, groups: Any, temperature: float) -> Tensor:
        logps = super().logps(encoded, groups, temperature)
        factors = [self.factor if asked in self.letters else 1.0 for asked in encoded]
        return logps * torch.tensor(factors)[:, None, None]


@pytest.mark.parametrize("factor", [math.nan, math.inf])
@pytest.mark.parametrize("size", [6, 1])
def test_a_loss_that_is_not_finite_stops_the_run_before_the_step(factor: float, size: int) -> None:
    config = with_train(
        CONFIG, per_device_train_batch_size=size, gradient_accumulation_steps=6 // size
    )
    made = run(config, policy=Broken(factor))
    with pytest.raises(UserError, match=r"^step 1: the loss is .*sample.*train-.*; lower train"):
        take_step(made)
    assert not next(made.policy.module.parameters()).any()
    assert not made.optimizer.state  # the optimizer has seen nothing


def test_the_samples_of_a_bad_loss_are_named() -> None:
    config = with_train(CONFIG, per_device_train_batch_size=1, gradient_accumulation_steps=6)
    made = run(config, policy=Broken(math.nan, "a"))
    with pytest.raises(UserError) as caught:
        for _ in range(10):  # until a group of that letter has signal
            take_step(made)
    letters = {sample.id: sample.answer for sample in made.samples}
    named = [id for id in letters if repr(id) in str(caught.value)]
    assert named and {letters[id] for id in named} == {"a"}


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step() -> None:
    made = run(CONFIG)
    table = next(made.policy.module.parameters())
    table.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(UserError, match="step 1: the gradient's norm is nan, though the loss"):
        take_step(made)
    assert not table.any() and not made.optimizer.state


@pytest.mark.parametrize(
    ("precision", "scale", "stops"),
    [
        ("no", None, True),
        ("bf16", None, True),
        # the scaler skips this step and halves the scale
        ("fp16", 65536.0, False),
        # at a scale below 1 the gradient itself is beyond float16
        ("fp16", 0.5, True),
        # DeepSpeed's own scaler
        ("fp16", None, False),
    ],
)
def test_an_overflow_in_float16_is_the_scalers_to_handle(
    precision: str, scale: float | None, stops: bool
) -> None:
    scaler = None if scale is None else SimpleNamespace(get_scale=lambda: scale)
    made: Any = SimpleNamespace(
        accelerator=SimpleNamespace(mixed_precision=precision, scaler=scaler),
        progress=SimpleNamespace(step=0),
    )
    check_norm(made, 1.0)
    if stops:
        with pytest.raises(UserError, match="norm is inf"):
            check_norm(made, math.inf)
    else:
        check_norm(made, math.inf)
