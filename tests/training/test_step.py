"""The training step: it learns, and its update does not depend on how the batch is cut."""

from __future__ import annotations

import pytest
import torch
from fakes.bigram import CONFIG, Bigram, SameForAll, run, take_step, with_algorithm, with_train

from vrft.config.schema import Config


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
