"""PPO: advantages and losses by hand, a critic that learns, and the one on a real backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.bigram import (
    CONFIG,
    END,
    LETTERS,
    Bigram,
    BigramPolicy,
    mean_reward,
    run,
    take_step,
    with_train,
)
from torch import Tensor, nn

from vrft import policy
from vrft.config.methods import CriticConfig, method
from vrft.config.schema import Config, ModelConfig
from vrft.objectives import ppo
from vrft.objectives.objective import make_experience
from vrft.policy import logprobs
from vrft.training import plan
from vrft.training.collect import collect
from vrft.training.run import Run
from vrft.types import Completion, Prompt, Rollout


class BigramCritic(Bigram):
    """The bigram table with a value for every letter asked and last token."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(len(LETTERS), len(LETTERS) + 1))

    def forward(self, prompts: Sequence[int], completions: list[list[list[int]]]) -> Any:
        logps = super().forward(prompts, completions)
        values, entropies = torch.zeros_like(logps), torch.zeros_like(logps)
        for b, (asked, group) in enumerate(zip(prompts, completions, strict=True)):
            for g, tokens in enumerate(group):
                before = torch.tensor([END, *tokens[:-1]])
                values[b, g, : len(tokens)] = self.values[asked][before]
        return logps, values, entropies


class BigramCriticPolicy(BigramPolicy):
    """The policy protocol, with values."""

    def __init__(self) -> None:
        self.module: nn.Module = BigramCritic()

    def logps_values_entropies(
        self, encoded: Sequence[int], rollouts: Sequence[Sequence[Rollout]], temperature: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        tokens = [[list(rollout.tokens) for rollout in group] for group in rollouts]
        found: tuple[Tensor, Tensor, Tensor] = self.module(encoded, tokens)
        return found

    def logps(self, encoded: Sequence[int], rollouts: Any, temperature: float) -> Tensor:
        return self.logps_values_entropies(encoded, rollouts, temperature)[0]


def ppo_run(config: Config) -> Run:
    return run(config, policy=BigramCriticPolicy(), reference=BigramPolicy())


def test_ppo_learns_and_its_critic_with_it() -> None:
    algorithm = method("ppo", num_generations=4)
    made = ppo_run(with_train(replace(CONFIG, algorithm=algorithm), learning_rate=0.05))
    before, losses = mean_reward(made), []
    for _ in range(40):
        losses.append(take_step(made)[0]["value_loss"])
    assert before < 0.35
    assert mean_reward(made) > 0.8
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_with_lambda_1_a_value_should_have_been_the_reward_that_came() -> None:
    algorithm = method("ppo", num_generations=4, beta=0.0, critic=CriticConfig(lam=1.0))
    made = ppo_run(replace(CONFIG, algorithm=algorithm))
    module = made.policy.module
    assert isinstance(module, BigramCritic)
    nn.init.normal_(module.values)
    batch = collect(made)
    signal = make_experience(made, batch)
    assert signal.old_logps is not None and made.config.algorithm.needs_old_logps
    mask = batch.mask.bool()
    assert signal.returns is not None and signal.values is not None
    expected = batch.rewards.unsqueeze(-1).expand_as(mask)
    assert torch.allclose(signal.returns[mask], expected[mask], atol=1e-5)
    assert signal.values[mask].abs().max() > 0.1


def test_one_completion_of_each_prompt_is_enough_for_a_critic() -> None:
    config = replace(CONFIG, algorithm=method("ppo", num_generations=1))
    plan.check_settings(config, {"share": None})
    metrics, rows = take_step(ppo_run(config))
    assert len(rows) == 6 and metrics["reward_std"] == 0.0


PROMPTS = [Prompt("Find it."), Prompt("What is above the owl?")]
ROLLOUTS = [
    (Rollout(Completion("a"), (5, 6, 7), True), Rollout(Completion("b"), (8,), True)),
    (Rollout(Completion("c"), (9, 4), True), Rollout(Completion("d"), (3, 2), True)),
]


@pytest.fixture(scope="module")
def critical() -> ppo.ActorCriticPolicy:
    return ppo.ActorCriticPolicy(policy.load(ModelConfig(name="demo", dtype="float32"), train=True))


def test_the_critic_shares_the_forward_of_the_log_probabilities(
    critical: ppo.ActorCriticPolicy,
) -> None:
    nn.init.ones_(critical.critic.weight)
    encoded = critical.encode(PROMPTS)
    logps, values, entropies = critical.logps_values_entropies(encoded, ROLLOUTS, 1.0)
    plain = logprobs.GroupLogps(critical.loaded)
    tokens = [[rollout.tokens for rollout in group] for group in ROLLOUTS]
    assert torch.allclose(logps, plain(encoded, tokens), atol=1e-6)
    hidden, _, mask = plain.predictions(encoded, tokens)
    assert torch.allclose(values[mask], hidden.sum(-1), atol=1e-4)
    assert not values[~mask].any() and not entropies[~mask].any()
    head = critical.loaded.core.get_output_embeddings()
    expected = torch.distributions.Categorical(logits=head(hidden)).entropy()
    assert torch.allclose(entropies[mask], expected, atol=1e-4)


def test_a_critic_is_saved_and_found_again(critical: ppo.ActorCriticPolicy, tmp_path: Path) -> None:
    nn.init.normal_(critical.critic.weight)
    critical.save(tmp_path)
    again = ppo.ActorCriticPolicy(
        policy.load(ModelConfig(name=str(tmp_path)), train=True), tmp_path
    )
    assert torch.equal(again.critic.weight, critical.critic.weight)
    assert not torch.equal(again.critic.weight, torch.zeros_like(again.critic.weight))
