"""The entropy bonus: entropies of a model, the weight's control, and runs that have either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from fakes.bigram import (
    CONFIG,
    END,
    Bigram,
    BigramPolicy,
    SameForAll,
    run,
    take_step,
    with_algorithm,
)
from torch import Tensor, nn

from vrft import policy
from vrft.config.methods import AlgorithmConfig, method
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.objectives import entropy
from vrft.policy import logprobs
from vrft.training import checkpoint, trainer_state
from vrft.training.trainer_state import Progress
from vrft.types import Completion, Prompt, Rollout

ADAPTIVE = AlgorithmConfig(
    use_adaptive_entropy=True,
    entropy_coef=0.1,
    entropy_coef_delta=0.25,
    entropy_coef_max=0.5,
    entropy_target=1.0,
)


class BigramEntropies(Bigram):
    """The bigram table, with the entropy of every distribution that a token was drawn from."""

    def forward(self, prompts: Sequence[int], completions: list[list[list[int]]]) -> Any:
        logps = super().forward(prompts, completions)
        entropies = torch.zeros_like(logps)
        for b, (asked, group) in enumerate(zip(prompts, completions, strict=True)):
            for g, tokens in enumerate(group):
                before = torch.tensor([END, *tokens[:-1]])
                every = self.table[asked][before].log_softmax(-1)
                entropies[b, g, : len(tokens)] = -(every.exp() * every).sum(-1)
        return logps, entropies


class BigramEntropyPolicy(BigramPolicy):
    """The policy protocol, with entropies."""

    def __init__(self) -> None:
        self.module: nn.Module = BigramEntropies()

    def logps_entropies(
        self, encoded: Sequence[int], rollouts: Sequence[Sequence[Rollout]], temperature: float
    ) -> tuple[Tensor, Tensor]:
        tokens = [[rollout.tokens for rollout in group] for group in rollouts]
        found: tuple[Tensor, Tensor] = self.module(encoded, tokens)
        return found

    def logps(self, encoded: Sequence[int], rollouts: Any, temperature: float) -> Tensor:
        return self.logps_entropies(encoded, rollouts, temperature)[0]


def steps(count: int, **settings: Any) -> list[dict[str, float]]:
    """The metrics of steps of the bigram policy under a bonus."""
    made = run(with_algorithm(CONFIG, **settings), policy=BigramEntropyPolicy())
    return [take_step(made)[0] for _ in range(count)]


def test_the_weight_grows_while_entropy_is_scarce_and_acts_only_then() -> None:
    done = Progress()
    seen = []
    for mean in (2.0, 0.9, 1.0, 1.1, 0.5):
        applied = entropy.coefficient(ADAPTIVE, done)
        entropy.control(ADAPTIVE, done, {"entropy": mean})
        seen.append((applied, done.entropy_coef))
    assert seen == [
        (0.0, 0.0),  # nothing is known before the first update; 0.1 - 0.25 ends at 0
        (0.0, 0.25),  # the update before had enough
        (0.25, 0.5),  # 1.0 is not above the target
        (0.5, 0.25),
        (0.0, 0.5),
    ]
    entropy.control(ADAPTIVE, done, {})  # an update without tokens
    assert (done.entropy, done.entropy_coef) == (0.5, 0.5)


def test_a_fixed_weight_never_moves() -> None:
    done, config = Progress(), AlgorithmConfig(entropy_coef=0.3)
    entropy.control(config, done, {"entropy": 0.0})
    assert (entropy.coefficient(config, done), done) == (0.3, Progress())
    assert entropy.metrics(config, done) == {"entropy_coef": 0.3}
    assert entropy.metrics(AlgorithmConfig(), done) == {}


def test_a_bonus_holds_the_entropy_up() -> None:
    without, with_bonus = steps(30, entropy_coef=1e-9), steps(30, entropy_coef=0.5)
    assert without[0]["entropy"] == pytest.approx(torch.tensor(7.0).log().item())  # of 7 tokens
    assert with_bonus[-1]["entropy"] > without[-1]["entropy"] + 0.3
    assert with_bonus[-1]["entropy_coef"] == 0.5


@pytest.mark.parametrize(("weight", "forwarded"), [(0.1, 6), (0.0, 0)])
def test_groups_without_signal_are_forwarded_for_their_entropy_alone(
    weight: float, forwarded: int
) -> None:
    config = with_algorithm(CONFIG, entropy_coef=weight)
    made = run(config, SameForAll(dead="abcdef"), policy=BigramEntropyPolicy())
    assert take_step(made)[0]["frac_reward_zero_std"] == 1.0
    module = made.policy.module
    assert isinstance(module, BigramEntropies)
    assert module.rows == forwarded


def test_a_bonus_of_next_to_nothing_leaves_the_policy_where_it_goes_without() -> None:
    plain = run(CONFIG)
    tiny = run(with_algorithm(CONFIG, entropy_coef=1e-12), policy=BigramEntropyPolicy())
    for made in (plain, tiny):
        take_step(made)
    tables = [next(made.policy.module.parameters()) for made in (plain, tiny)]
    assert torch.allclose(tables[0], tables[1], atol=1e-5) and tables[0].abs().max() > 0.1


def test_the_control_of_a_run_begins_when_entropy_has_fallen_to_its_target() -> None:
    seen = steps(
        12, use_adaptive_entropy=True, entropy_coef_delta=0.05, entropy_target=1.6, num_iterations=2
    )
    scarce = [row["entropy"] <= 1.6 for row in seen]
    assert not scarce[0] and any(scarce)
    weights = [row["entropy_coef"] for row in seen]
    assert weights[0] == 0.0 and max(weights) > 0.05


def test_a_run_goes_on_with_the_weight_it_had(tmp_path: Path) -> None:
    done = Progress(3, 24, 500, entropy_coef=0.15, entropy=0.7)
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    trainer_state.write(folder, done, Accelerator(cpu=True))
    assert checkpoint.read_progress(folder) == done
    plain = replace(done, entropy_coef=None, entropy=None)
    trainer_state.write(folder, plain, Accelerator(cpu=True))
    assert checkpoint.read_progress(folder) == plain
    text = (folder / trainer_state.STATE).read_text()
    (folder / trainer_state.STATE).write_text(text.replace('"entropy": null', '"entropy": NaN'))
    with pytest.raises(UserError, match="entropy is NaN"):
        checkpoint.read_progress(folder)


# A model's entropies

PROMPTS = [Prompt("Find it."), Prompt("What is above the owl?")]
ROLLOUTS = [
    (Rollout(Completion("a"), (5, 6, 7), True), Rollout(Completion("b"), (8,), True)),
    (Rollout(Completion("c"), (9, 4), True), Rollout(Completion("d"), (3, 2), True)),
]


def test_entropies_come_with_the_log_probabilities_of_one_forward() -> None:
    actor = policy.load(ModelConfig(name="demo", dtype="float32"), train=True)
    made = entropy.with_entropies(actor, AlgorithmConfig(entropy_coef=0.1))
    assert isinstance(made, entropy.ModelEntropyPolicy)
    encoded = made.encode(PROMPTS)
    logps, entropies = made.logps_entropies(encoded, ROLLOUTS, 0.7)
    plain = logprobs.GroupLogps(actor.loaded)
    tokens = [[rollout.tokens for rollout in group] for group in ROLLOUTS]
    assert torch.allclose(logps, plain(encoded, tokens, 0.7), atol=1e-5)
    assert torch.equal(made.logps(encoded, ROLLOUTS, 0.7), logps)
    hidden, _, mask = plain.predictions(encoded, tokens)
    head = actor.loaded.core.get_output_embeddings()
    expected = torch.distributions.Categorical(logits=head(hidden) / 0.7).entropy()
    assert torch.allclose(entropies[mask], expected, atol=1e-4)
    assert not entropies[~mask].any()


def test_a_policy_has_entropies_only_where_the_loss_asks_for_them() -> None:
    actor = policy.load(ModelConfig(name="demo", dtype="float32"), train=True)
    assert entropy.with_entropies(actor, AlgorithmConfig()) is actor
    # one with a critic has them anyway
    assert entropy.with_entropies(actor, method("ppo", entropy_coef=0.1)) is actor
