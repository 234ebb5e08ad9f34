"""The training step: it learns, and its update does not depend on how the batch is cut."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes.bigram import CONFIG, Bigram, Echo, SameForAll, run, share, with_algorithm, with_train

from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.training import step, train
from vrft.types import Sample


def table(config: Config, steps: int = 1) -> torch.Tensor:
    """The bigram's table after some steps of training."""
    made = run(config)
    for _ in range(steps):
        step.step(made)
    return next(made.source.policy.module.parameters()).detach()


def test_gpg_learns_to_answer() -> None:
    made = run(CONFIG)
    rewards = [step.step(made)[0]["reward"] for _ in range(40)]
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
    metrics, rows = step.step(made)
    fresh = Bigram()
    loss = torch.zeros(())
    letters = "abcdef"
    groups = [rows[i : i + 4] for i in range(0, len(rows), 4)]
    samples = {sample.id: sample for sample in made.source.samples}
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
    metrics, rows = step.step(made)
    module = made.source.policy.module
    assert isinstance(module, Bigram)
    dead = sum(row["advantage"] == 0 for row in rows) // 4
    assert dead > 0
    assert metrics["frac_reward_zero_std"] >= 0.3
    assert module.rows == 6 - round(metrics["frac_reward_zero_std"] * 6)


def test_a_step_without_any_signal_leaves_the_weights_alone() -> None:
    made = run(CONFIG)
    for _ in range(3):
        step.step(made)  # Adam has momentum now, which must not move the weights either
    before = next(made.source.policy.module.parameters()).detach().clone()
    object.__setattr__(made.source, "task", SameForAll(dead="abcdef"))
    metrics, _ = step.step(made)
    assert metrics["loss"] == 0.0 and metrics["grad_norm"] == 0.0
    assert torch.equal(next(made.source.policy.module.parameters()).detach(), before)


def test_resampling_replaces_groups_without_signal() -> None:
    config = with_algorithm(CONFIG, min_informative=1.0, alpha=True)
    made = run(config, SameForAll())
    metrics, rows = step.step(made)
    assert metrics["resample_rounds"] > 1
    assert metrics["frac_reward_zero_std"] == 0.0
    assert metrics["alpha"] == 1.0  # of the groups that are kept
    assert len(rows) == 6 * 4
    assert len({row["sample_id"] for row in rows}) == 6


@pytest.mark.parametrize(
    ("on_exhausted", "moves"), [("train", True), ("skip", False), ("error", None)]
)
def test_what_happens_when_too_few_groups_have_signal(
    on_exhausted: str, moves: bool | None
) -> None:
    config = with_algorithm(
        CONFIG, min_informative=1.0, max_resample_rounds=0, on_exhausted=on_exhausted
    )
    made = run(config, SameForAll())
    if moves is None:
        with pytest.raises(UserError, match="min_informative"):
            step.step(made)
        return
    step.step(made)
    parameters = next(made.source.policy.module.parameters())
    assert bool(parameters.abs().sum() > 0) == moves


def test_every_sample_is_drawn_once_an_epoch_in_another_order() -> None:
    made = run(with_train(CONFIG, learning_rate=0.0))
    epochs = [[step.step(made)[1] for _ in range(4)] for _ in range(2)]
    drawn = [[row["sample_id"] for rows in epoch for row in rows[::4]] for epoch in epochs]
    everything = [sample.id for sample in made.source.samples]
    assert sorted(drawn[0]) == sorted(drawn[1]) == sorted(everything)
    assert drawn[0] != drawn[1]


def test_reward_weights_scale_and_unknown_ones_are_refused() -> None:
    made = run(with_algorithm(CONFIG, reward_weights={"share": 3.0}))
    metrics, _ = step.step(made)
    assert metrics["reward"] == pytest.approx(3 * metrics["rewards/share/mean"], rel=1e-5)
    with pytest.raises(UserError, match="shore: the task has no such reward"):
        train.check_method(with_algorithm(CONFIG, reward_weights={"shore": 1.0}), ["share"])


def test_a_reward_that_does_not_apply_adds_nothing() -> None:
    class Sometimes(Echo):
        def rewards(self):  # type: ignore[no-untyped-def]
            return {"share": share, "never": lambda sample, completion: None}

    metrics, rows = step.step(run(CONFIG, Sometimes()))
    assert metrics["reward"] == pytest.approx(metrics["rewards/share/mean"])
    assert rows[0]["rewards"]["never"] is None


def test_the_stream_is_the_same_on_any_number_of_devices() -> None:
    made = run(CONFIG)

    class Rank:
        def __init__(self, index: int) -> None:
            self.process_index, self.num_processes = index, 2

    from vrft.training import collect

    one = collect.next_samples(replace(made.source))
    halves: list[tuple[Sample[str], int]] = []
    for index in range(2):
        source = replace(
            made.source,
            accelerator=Rank(index),
            progress=type(made.source.progress)(),
            config=with_train(CONFIG, per_device_train_batch_size=3),
        )
        halves += collect.next_samples(source)
    assert halves == one


def test_epochs_give_the_number_of_steps() -> None:
    made = run(with_train(CONFIG, max_steps=-1, num_train_epochs=2.5))
    assert train.total_steps(made.source) == 10  # 2.5 epochs of 24 samples, 6 a step


def test_greedy_sampling_is_refused_in_training() -> None:
    config = replace(CONFIG, sampling=replace(CONFIG.sampling, temperature=0.0))
    with pytest.raises(UserError, match="alike"):
        train.check_method(config, ["share"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_generations": 1}, "num_generations=1: gpg compares the answers to one prompt"),
        ({"num_mini_batches": 7}, "num_mini_batches=7: a device has fewer prompts"),
    ],
)
def test_a_method_that_cannot_work_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train.check_method(with_algorithm(CONFIG, **settings), ["share"])
