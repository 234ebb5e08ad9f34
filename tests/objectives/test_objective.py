"""Every method's whole loss and gradient: by hand, against TRL's own code, and learning."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from fakes.bigram import (
    CONFIG,
    Bigram,
    Echo,
    SameForAll,
    mean_reward,
    run,
    take_step,
    with_algorithm,
    with_train,
)
from torch import Tensor, nn
from trl import GRPOTrainer
from trl.experimental.gmpo import GMPOTrainer

from vrft import policy
from vrft.config.methods import METHODS, AlgorithmConfig, method
from vrft.config.schema import Config, LoraConfig, ModelConfig
from vrft.objectives import algorithms, entropy, objective
from vrft.objectives.types import Batch, RewardedGroup, TokenStats
from vrft.step_plans import step_plan
from vrft.task import Reward
from vrft.training import step as step_module
from vrft.training.collect import collect
from vrft.training.run import Run
from vrft.training.trainer_state import Progress
from vrft.types import Completion, Group, Prompt, Rollout, Sample

B, G, C, LIMIT = 3, 4, 6, 9


class Tensors:
    """A policy whose log-probabilities are given: those of a batch of three groups of four."""

    def __init__(self, logps: Tensor, entropies: Tensor | None = None) -> None:
        self.values, self.module, self.entropies = logps, nn.Identity(), entropies

    def logps(self, encoded: Sequence[int], rollouts: Any, temperature: float) -> Tensor:
        longest = max(len(r.tokens) for group in rollouts for r in group)
        return self.values[list(encoded), :, :longest]

    def logps_entropies(
        self, encoded: Sequence[int], rollouts: Any, temperature: float
    ) -> tuple[Tensor, Tensor]:
        logps = self.logps(encoded, rollouts, temperature)
        assert self.entropies is not None
        return logps, self.entropies[list(encoded), :, : logps.shape[2]]


class Setting:
    """Random rewards, lengths and log-probabilities, now, before and of the reference.

    ``sampled`` are those of another engine, where one has sampled; no completion is ``truncated``.
    """

    stats: TokenStats

    def __init__(self, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.lengths = torch.randint(1, C + 1, (B, G), generator=random)
        self.lengths[0, 0] = C
        self.mask = (torch.arange(C) < self.lengths.unsqueeze(-1)).float()
        self.rewards = torch.rand(B, G, generator=random)
        self.old = (-2 * torch.rand(B, G, C, generator=random)) * self.mask
        noise = torch.randn(2, B, G, C, generator=random) * self.mask
        self.logps = (self.old + 0.3 * noise[0]).requires_grad_()
        self.reference = self.old + 0.3 * noise[1]
        self.entropies = torch.rand(B, G, C, generator=random).requires_grad_()
        self.truncated = torch.zeros(B, G)
        self.sampled: Tensor | None = None
        self.progress = Progress()

    def batch(self) -> Batch:
        found = []
        for b in range(B):
            rollouts = tuple(
                Rollout(Completion("a"), tuple(range(int(n))), not cut)
                for n, cut in zip(self.lengths[b], self.truncated[b], strict=True)
            )
            group = Group(Sample(str(b), "?", None), Prompt("?"), rollouts)
            signal = bool(algorithms.has_signal(self.rewards[b : b + 1]))
            found.append(RewardedGroup(group, b, {"r": []}, self.rewards[b], signal))
        return replace(Batch.of(found), sampled_logps=self.sampled)

    def loss(self, config: AlgorithmConfig, *, old: bool) -> Tensor:
        """Our loss of the whole batch; before the first update ``old`` is what the policy says."""
        sampling = replace(CONFIG.sampling, max_completion_length=LIMIT)
        base = with_train(CONFIG, per_device_train_batch_size=B)
        whole = replace(base, algorithm=config, sampling=sampling)
        policies: Any = Tensors(self.old, self.entropies), Tensors(self.reference)
        made = replace(run(whole), policy=policies[0], reference=policies[1])
        made = replace(made, progress=self.progress)
        batch = self.batch()
        experience = objective.make_experience(made, batch)
        if not old:
            experience = replace(experience, old_logps=None)
        now: Any = Tensors(self.logps, self.entropies)
        made = replace(made, policy=now)
        weights = step_module.token_weights(made, batch, range(B))
        bonus = step_module.bonus_weights(made, batch, range(B))
        loss, self.stats = objective.loss(made, batch, experience, range(B), weights, bonus)
        return loss


def trl_trainer(setting: Setting, loss_type: str, settings: dict[str, Any]) -> SimpleNamespace:
    """What TRL's loss reads of its trainer, which gives it the tensors of a setting."""
    rows = (B * G, -1)
    arguments = {
        "delta": None,
        "sapo_temperature_pos": 1.0,
        "sapo_temperature_neg": 1.05,
        "use_bias_correction_kl": False,
        "steps_per_generation": 1,
        "entropy_target": 0.2,
        "entropy_coef_min": 0.0,
        "entropy_coef_max": 1.0,
        "entropy_coef_delta": 0.005,
    }
    bonus = settings.get("entropy_coef", 0.0), settings.get("use_adaptive_entropy", False)
    return SimpleNamespace(
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=settings.get("off_policy_mask_threshold"),
        get_off_policy_mask=GRPOTrainer.get_off_policy_mask,
        importance_sampling_level=settings.get("importance_sampling_level", "token"),
        use_vllm=setting.sampled is not None,
        vllm_importance_sampling_correction=True,
        tools=None,
        beta=settings.get("beta", 0.0),
        epsilon_low=settings.get("epsilon", 0.2),
        epsilon_high=settings.get("epsilon_high", settings.get("epsilon", 0.2)),
        args=SimpleNamespace(**arguments | {k: settings[k] for k in settings if k in arguments}),
        loss_type=loss_type,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        max_completion_length=LIMIT,
        accelerator=Accelerator(cpu=True),
        _entropy_bonus_enabled=any(bonus),
        entropy_coef=bonus[0],
        use_adaptive_entropy=bonus[1],
        _last_world_entropy=float("inf"),
        _entropy_window_stats=None,
        _metrics={"train": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *_, **__: (
            setting.logps.reshape(rows),
            setting.entropies.reshape(rows),
            None,
        ),
    )


def trl_loss(
    setting: Setting,
    loss_type: str,
    advantages: Tensor,
    trainer: SimpleNamespace | None = None,
    **settings: Any,
) -> Tensor:
    """The loss that TRL's trainer computes of the same tensors."""
    rows = (B * G, -1)
    trainer = trainer or trl_trainer(setting, loss_type, settings)
    mask = setting.mask * (1 - setting.truncated).unsqueeze(-1)
    inputs = {
        "prompt_ids": torch.zeros(B * G, 1, dtype=torch.long),
        "prompt_mask": torch.ones(B * G, 1, dtype=torch.long),
        "completion_ids": torch.zeros(B * G, C, dtype=torch.long),
        "completion_mask": mask.reshape(rows),
        "advantages": advantages.reshape(-1),
        "old_per_token_logps": setting.old.reshape(rows),
        "ref_per_token_logps": setting.reference.reshape(rows),
        "num_items_in_batch": mask.sum(),
    }
    if setting.sampled is not None:
        inputs["sampling_per_token_logps"] = setting.sampled.reshape(rows)
        ratio = ((setting.old - setting.sampled) * mask).reshape(rows).exp()
        inputs["importance_sampling_ratio"] = ratio.clamp(max=1.1)
    kind = GMPOTrainer if loss_type == "gmpo" else GRPOTrainer
    found: Tensor = kind._compute_loss(trainer, None, inputs)
    return found


def group_advantages(rewards: Tensor, scale: bool) -> Tensor:
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + 1e-4) if scale else centred


GSPO = {"importance_sampling_level": "sequence", "epsilon": 0.1, "epsilon_high": 0.05}
NARROW = {"epsilon": 3e-4, "epsilon_high": 4e-4}
CISPO = {"importance_sampling_level": "sequence", "epsilon_high": 1.05}
TEMPERATURES = {"sapo_temperature_pos": 2.0, "sapo_temperature_neg": 0.5}
GMPO = {"epsilon": 0.1, "epsilon_high": 0.2}
OPSM = {"off_policy_mask_threshold": 0.05}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("config", "loss_type", "settings"),
    [
        (method("grpo", beta=0.0), "grpo", {}),
        (method("grpo"), "grpo", {"beta": 0.04}),
        (method("dr_grpo"), "dr_grpo", {}),
        (method("dapo", overlong_cache=0.0), "dapo", {"epsilon_high": 0.28}),
        (method("grpo", beta=0.0, token_mean="global"), "bnpo", {}),
        (method("dapo", overlong_cache=0.0, beta=0.1), "dapo", {"epsilon_high": 0.28, "beta": 0.1}),
        # TRL's name of GSPO's mean is grpo; its bounds are too near for such a drift
        (method("gspo", epsilon=0.1, epsilon_high=0.05), "grpo", GSPO),
        (method("gspo", beta=0.1), "grpo", GSPO | NARROW | {"beta": 0.1}),
        (method("cispo", epsilon_high=1.2), "cispo", {"epsilon_high": 1.2}),
        (method("cispo", importance_sampling_level="sequence", epsilon_high=1.05), "cispo", CISPO),
        (method("sapo"), "sapo", {}),
        (method("sapo", **TEMPERATURES), "sapo", TEMPERATURES),
        (method("gmpo"), "gmpo", {"epsilon": 0.4}),
        (method("gmpo", epsilon=0.1, epsilon_high=0.2), "gmpo", GMPO),
        (method("grpo", beta=0.0, delta=1.25), "grpo", {"delta": 1.25}),
        (method("grpo", beta=0.0, off_policy_mask_threshold=0.05), "grpo", OPSM),
    ],
    ids=[
        *("grpo", "grpo with KL", "dr_grpo", "dapo", "bnpo", "dapo with KL", "gspo"),
        *("gspo with KL", "cispo", "cispo of completions", "sapo", "sapo with temperatures"),
        *("gmpo", "gmpo with two bounds", "dual clip", "OPSM"),
    ],
)
def test_loss_and_gradient_are_those_of_trl(
    config: AlgorithmConfig, loss_type: str, settings: dict[str, Any], seed: int
) -> None:
    setting = Setting(seed)
    several = replace(config, num_iterations=2)  # so that the policy has moved
    ours = setting.loss(several, old=True)
    advantages = group_advantages(setting.rewards, config.f_norm == "group_std")
    theirs = trl_loss(setting, loss_type, advantages, **settings)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    (mine,) = torch.autograd.grad(ours, setting.logps)
    (other,) = torch.autograd.grad(theirs, setting.logps)
    assert torch.allclose(mine, other, atol=1e-5)
    assert mine.abs().max() > 1e-3


FIVE = {"gspo": "grpo", "cispo": "cispo", "sapo": "sapo", "gmpo": "gmpo"}
"""The newer rows that TRL has, by the name of its loss."""


def agree(ours: Tensor, theirs: Tensor, *inputs: Tensor) -> None:
    """Assert that two losses and their gradients are the same, and that these are not 0."""
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    for tensor in inputs:
        (mine,) = torch.autograd.grad(ours, tensor, retain_graph=True)
        (other,) = torch.autograd.grad(theirs, tensor, retain_graph=True)
        assert torch.allclose(mine, other, atol=1e-5)
        assert mine.abs().max() > 1e-3


def of_trl(name: str) -> dict[str, Any]:
    """The settings of a row that TRL's trainer has under the same names."""
    row = method(name)
    shared = ("importance_sampling_level", "epsilon", "epsilon_high")
    return {key: getattr(row, key) for key in shared if getattr(row, key) is not None}


@pytest.mark.parametrize("name", [*FIVE, "grpo", "dr_grpo", "dapo"])
def test_completions_that_were_cut_are_left_out_as_by_trl(name: str) -> None:
    setting = Setting(8)
    setting.truncated[0, 1] = setting.truncated[1, :] = 1.0
    config = method(
        name, beta=0.0, overlong_cache=0.0, num_iterations=2, mask_truncated_completions=True
    )
    ours = setting.loss(config, old=True)
    advantages = group_advantages(setting.rewards, config.f_norm == "group_std")
    theirs = trl_loss(setting, FIVE.get(name, name), advantages, **of_trl(name))
    if name == "gmpo":  # TRL's loses -A at a completion without tokens: a constant
        theirs = theirs + (advantages * setting.truncated).mean()
    agree(ours, theirs, setting.logps)
    (mine,) = torch.autograd.grad(ours, setting.logps)
    assert not mine[1].any() and not mine[0, 1].any() and mine[0, 0].any()
    assert setting.stats.sums["tokens"] == (setting.mask * (1 - setting.truncated[..., None])).sum()


# Of TRL's trainer of GMPO neither is read.
@pytest.mark.parametrize("name", ["grpo", "dapo", "gspo", "cispo", "sapo"])
def test_another_engines_completions_weigh_and_are_left_out_as_by_trl(name: str) -> None:
    setting = Setting(9)
    noise = 0.6 * torch.randn(B, G, C, generator=torch.Generator().manual_seed(7))
    setting.sampled = (setting.old + noise) * setting.mask
    # Completions are far from the engine that sampled them, not from the policy of before.
    far = [
        ((before - setting.logps) * setting.mask).sum(-1) / setting.lengths > 0.02
        for before in (setting.old, setting.sampled)
    ]
    bad = group_advantages(setting.rewards, scale=False) < 0
    assert not torch.equal(far[0] & bad, far[1] & bad)
    config = method(
        name,
        beta=0.0,
        overlong_cache=0.0,
        num_iterations=2,
        importance_sampling="token_truncate",
        importance_sampling_cap=1.1,
        off_policy_mask_threshold=0.02,
    )
    ours = setting.loss(config, old=True)
    advantages = group_advantages(setting.rewards, config.f_norm == "group_std")
    settings = of_trl(name) | {"off_policy_mask_threshold": 0.02}
    theirs = trl_loss(setting, FIVE.get(name, name), advantages, **settings)
    agree(ours, theirs, setting.logps)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo"])
def test_an_entropy_bonus_is_the_mean_of_all_tokens_as_in_trl(name: str) -> None:
    setting = Setting(10)
    setting.rewards[1] = 0.5  # a group without signal owes its entropy too
    setting.truncated[2, 0] = 1.0
    config = method(name, beta=0.0, overlong_cache=0.0, num_iterations=2, entropy_coef=0.3)
    config = replace(config, mask_truncated_completions=True)
    ours = setting.loss(config, old=True)
    advantages = algorithms.advantages(setting.rewards, config)
    settings = of_trl(name) | {"entropy_coef": 0.3}
    agree(ours, trl_loss(setting, FIVE.get(name, name), advantages, **settings),
          setting.logps, setting.entropies)  # fmt: skip
    tokens = (setting.mask * (1 - setting.truncated.unsqueeze(-1))).bool()
    mean = setting.stats.sums["entropy"] / setting.stats.sums["tokens"]
    assert mean.item() == pytest.approx(setting.entropies[tokens].mean().item())


def test_the_weight_of_the_bonus_moves_as_in_trl() -> None:
    """Updates whose mean entropy is about 0.5, far below, at once above, and below the target."""
    settings = {"entropy_coef": 0.1, "use_adaptive_entropy": True, "entropy_target": 0.3}
    settings |= {"entropy_coef_delta": 0.15, "entropy_coef_max": 0.2}
    setting = Setting(11)
    trainer = trl_trainer(setting, "sapo", settings)
    config = method("sapo", num_iterations=2, **settings)
    advantages = group_advantages(setting.rewards, scale=True)
    even, weights = setting.entropies.detach().clone(), []
    for scale in (1.0, 0.2, 0.2, 0.2, 3.0, 0.2, 0.2):
        setting.entropies = (scale * even).requires_grad_()
        ours = setting.loss(config, old=True)
        theirs = trl_loss(setting, "sapo", advantages, trainer)
        agree(ours, theirs, setting.logps)
        (bonus,) = torch.autograd.grad(ours, setting.entropies)
        (other,) = torch.autograd.grad(theirs, setting.entropies, allow_unused=True)
        assert torch.allclose(bonus, other)
        mean = setting.stats.sums["entropy"] / setting.stats.sums["tokens"]
        entropy.control(config, setting.progress, {"entropy": mean.item()})
        weights.append(setting.progress.entropy_coef)
        assert weights[-1] == pytest.approx(trainer.entropy_coef)
    # down to the least, up twice to the most, no further, down once, up again
    assert weights == pytest.approx([0.0, 0.15, 0.2, 0.2, 0.05, 0.2, 0.2])


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo", *FIVE, "dppo"])
def test_on_policy_the_gradient_is_that_of_gpg_with_the_same_advantage_and_mean(name: str) -> None:
    setting = Setting(3)
    clipped = method(name, beta=0.0, overlong_cache=0.0)
    plain = replace(clipped, surrogate="policy_gradient", importance_sampling_level="token")
    gradients = [
        torch.autograd.grad(setting.loss(config, old=False), setting.logps)[0]
        for config in (clipped, plain)
    ]
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)
    assert gradients[0].abs().max() > 1e-3


def test_another_engines_tokens_weigh_by_their_ratio_and_its_distance_is_measured() -> None:
    setting = Setting(6)
    config = AlgorithmConfig(importance_sampling="token_truncate", importance_sampling_cap=1.1)
    noise = 0.2 * torch.randn(B, G, C, generator=torch.Generator().manual_seed(7)) * setting.mask
    sampled = setting.logps.detach() + noise
    batch = replace(setting.batch(), sampled_logps=sampled)
    policies: Any = Tensors(setting.logps)
    made = replace(
        run(replace(with_train(CONFIG, per_device_train_batch_size=B), algorithm=config)),
        policy=policies,
    )
    experience = objective.make_experience(made, batch)
    weights = algorithms.token_weights(batch.lengths, config, LIMIT)
    loss, stats = objective.loss(made, batch, experience, range(B), weights)
    ratio = (-noise).exp().clamp(max=1.1)
    by_hand = -setting.logps * ratio * group_advantages(setting.rewards, scale=True).unsqueeze(-1)
    expected = (by_hand * setting.mask * weights.unsqueeze(-1)).sum()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    (mine,) = torch.autograd.grad(loss, setting.logps)
    (other,) = torch.autograd.grad(expected, setting.logps)  # no gradient passes the ratio
    assert torch.allclose(mine, other, atol=1e-6)
    name = objective.LOGP_DIFFERENCE
    assert stats.largest[f"{name}/max"].item() == pytest.approx(noise.abs().max().item(), abs=1e-6)
    mean = stats.sums[f"{name}/mean"] / stats.sums["tokens"]
    assert mean.item() == pytest.approx((noise.abs().sum() / setting.mask.sum()).item(), abs=1e-6)


def test_rloo_takes_the_kl_off_the_reward_before_it_compares() -> None:
    setting = Setting(4)
    loss = setting.loss(method("rloo", beta=0.5), old=True)
    total = setting.rewards - 0.5 * ((setting.old - setting.reference) * setting.mask).sum(-1)
    others = (total.sum(1, keepdim=True) - total) / (G - 1)
    by_hand = -((total - others).unsqueeze(-1) * setting.logps * setting.mask).sum() / (B * G)
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_reinforce_pp_normalises_rewards_to_go_over_all_tokens_of_the_batch() -> None:
    setting = Setting(5)
    loss = setting.loss(method("reinforce_pp", beta=0.5), old=True)
    cost = 0.5 * (setting.old - setting.reference) * setting.mask
    to_go = torch.stack([setting.rewards - cost[..., t:].sum(-1) for t in range(C)], dim=-1)
    tokens = to_go[setting.mask.bool()]
    advantages = (to_go - tokens.mean()) / (tokens.std() + 1e-4)
    ratio = (setting.logps - setting.old).exp()
    losses = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    by_hand = (losses * setting.mask).sum() / setting.mask.sum()
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-5)


class TwoRewards(Echo):
    """The echo task with a further reward of another size, for short answers."""

    def rewards(self) -> dict[str, Reward[str]]:
        return {
            **super().rewards(),
            "brief": lambda sample, completion: -10.0 * len(completion.text),
        }


def test_gdpo_normalises_rewards_in_their_group_and_their_sum_over_the_batch() -> None:
    settings = {"multi_objective_aggregation": "normalize_then_sum", "f_norm": "batch_std"}
    weights = {"brief": 0.5}
    made = run(with_algorithm(CONFIG, reward_weights=weights, **settings), TwoRewards())
    batch = collect(made)
    given = {
        name: torch.tensor([group.rewards[name] for group in batch.groups])
        for name in ("share", "brief")
    }
    total = group_advantages(given["share"], scale=True)
    total = total + 0.5 * group_advantages(given["brief"], scale=True)
    expected = (total - total.mean()) / (total.std() + 1e-4)
    experience = objective.make_experience(made, batch)
    assert torch.allclose(experience.advantages.squeeze(-1), expected, atol=1e-4)
    # What is logged stays the sum of the rewards as they were given.
    assert torch.allclose(batch.rewards, given["share"] + 0.5 * given["brief"])
    assert [group.has_signal for group in batch.groups] == (total.std(1) > 1e-3).tolist()
    assert not torch.allclose(expected, group_advantages(batch.rewards, scale=True), atol=0.1)


class Opposed(Echo):
    """The echo task with a further reward that takes back, by its size, what the first gives."""

    def rewards(self) -> dict[str, Reward[str]]:
        right = super().rewards()["share"]

        def wrong(sample: Sample[str], completion: Completion) -> float:
            return 2 - 2 * (right(sample, completion) or 0.0)

        return {"share": right, "wrong": wrong}


def test_rewards_that_cancel_by_their_sizes_teach_by_gdpo() -> None:
    """share + 0.5 * (2 - 2 share) is 1 for all; normalised, the first has twice the say."""
    settings = {"multi_objective_aggregation": "normalize_then_sum", "f_norm": "batch_std"}
    plain = collect(run(with_algorithm(CONFIG, reward_weights={"wrong": 0.5}), Opposed()))
    assert not any(group.has_signal for group in plain.groups)
    made = run(with_algorithm(CONFIG, reward_weights={"wrong": 0.5}, **settings), Opposed())
    batch = collect(made)
    assert any(group.has_signal for group in batch.groups)
    shares = torch.tensor([group.rewards["share"] for group in batch.groups])
    advantages = objective.make_experience(made, batch).advantages.squeeze(-1)
    assert torch.equal(advantages > 0.01, shares > shares.mean(1, keepdim=True) + 1e-3)
    assert take_step(made)[0]["frac_reward_zero_std"] < 1


def with_reference(config: Config) -> Run:
    """A run of the bigram policy that remembers what it began as."""
    made = run(config)
    reference: Any = copy.deepcopy(made.policy)
    return replace(made, reference=reference)


def with_descent(made: Run) -> Run:
    """The run with plain gradient descent: Adam blows differences by rounding up."""
    optimizer = torch.optim.SGD(made.policy.module.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return replace(made, optimizer=optimizer, scheduler=scheduler)


LEARNING = [name for name in METHODS if name not in ("ppo", "sft")]
"""The methods without a critic; tests/objectives/test_ppo.py has the other."""


@pytest.mark.parametrize("name", LEARNING)
def test_every_method_learns(name: str) -> None:
    config = replace(CONFIG, algorithm=method(name, num_generations=4))
    if name == "dr_grpo":
        config = with_train(config, learning_rate=0.3)
    made = with_reference(config)
    before = mean_reward(made)
    for _ in range(40):
        take_step(made)
    assert before < 0.35  # six letters: 1 / 6 by chance
    assert mean_reward(made) > 0.8


def test_several_iterations_use_a_batch_several_times() -> None:
    once = with_reference(replace(CONFIG, algorithm=method("grpo", num_generations=4)))
    several = with_reference(
        replace(CONFIG, algorithm=method("grpo", num_generations=4, num_iterations=4))
    )
    metrics = [take_step(made)[0] for made in (once, several)]
    assert metrics[0]["reward"] == metrics[1]["reward"]  # the same answers
    moved = [next(m.policy.module.parameters()).abs().max() for m in (once, several)]
    assert moved[1] > 1.5 * moved[0]
    assert metrics[0]["clip_ratio"] == 0.0 and metrics[1]["clip_ratio"] > 0.0
    assert metrics[1]["kl"] > metrics[0]["kl"] == 0.0


def test_mini_batches_are_updates_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first moves what half of the prompts ask for, the second what the other half does."""
    made = with_descent(run(with_algorithm(CONFIG, num_mini_batches=2)))
    seen = [torch.zeros_like(next(made.policy.module.parameters()))]
    plain = step_module.update

    def watch(made: Run, *rest: Any) -> dict[str, float]:
        metrics = plain(made, *rest)
        seen.append(next(made.policy.module.parameters()).detach().clone())
        return metrics

    monkeypatch.setattr(step_module, "update", watch)
    _, rows = take_step(made)
    letters = [int(row["sample_id"].removeprefix("train-")) % 6 for row in rows]
    teaches = [row["advantage"] != 0 for row in rows]
    assert len(seen) == 3
    for part, (old, new) in enumerate(pairwise(seen)):
        half = slice(12 * part, 12 * part + 12)  # of 6 prompts with 4 completions each
        asked = {one for one, tells in zip(letters[half], teaches[half], strict=True) if tells}
        assert {int(i) for i in (new - old).abs().sum((1, 2)).nonzero()} == asked


@pytest.mark.parametrize("name", ["gpg", "grpo", "dapo", "rloo", "reinforce_pp", "remax"])
def test_cutting_the_batch_into_micro_batches_changes_nothing(name: str) -> None:
    algorithm = method(name, num_generations=4, num_iterations=2, min_informative=0.0)
    tables = []
    for size, steps in ((6, 1), (2, 3)):
        config = with_train(
            replace(CONFIG, algorithm=algorithm),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
        )
        made = with_descent(with_reference(config))
        for _ in range(2):
            take_step(made)
        tables.append(next(made.policy.module.parameters()).detach())
    assert tables[0].abs().max() > 0.01
    assert torch.allclose(tables[0], tables[1], atol=1e-6)


def test_a_kl_in_the_loss_is_owed_by_groups_without_signal_too() -> None:
    setting = Setting(6)
    setting.rewards = torch.full((B, G), 0.5)
    loss = setting.loss(method("grpo", num_iterations=2), old=True)
    kl = (setting.reference - setting.logps).exp() - (setting.reference - setting.logps) - 1
    by_hand = 0.04 * ((kl * setting.mask).sum(-1) / setting.lengths).mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-4)


@pytest.mark.parametrize(("name", "forwarded"), [("grpo", 6), ("dr_grpo", 0)])
def test_only_a_kl_in_the_loss_has_groups_without_signal_forwarded(
    name: str, forwarded: int
) -> None:
    made = with_reference(replace(CONFIG, algorithm=method(name, num_generations=4)))
    made = replace(made, task=SameForAll(dead="abcdef"))
    metrics, _ = take_step(made)
    module = made.policy.module
    assert isinstance(module, Bigram)
    assert metrics["frac_reward_zero_std"] == 1.0
    # grpo: once for the loss; the reference is another module
    assert module.rows == forwarded


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("sft", "ppo")])
def test_a_plan_counts_the_passes_without_gradient_that_a_step_makes(
    name: str, updates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, counted = Setting(0), []
    plain = objective.without_gradient
    monkeypatch.setattr(
        objective, "without_gradient", lambda *given: counted.append(given) or plain(*given)
    )
    for beta in (0.0, 0.1):
        counted.clear()
        config = replace(CONFIG, algorithm=method(name, beta=beta, num_iterations=updates))
        given: Any = Tensors(setting.old), Tensors(setting.reference)
        made = replace(run(config), policy=given[0], reference=given[1])
        batch = replace(setting.batch(), greedy=torch.zeros(B))
        objective.make_experience(made, batch)
        assert len(counted) == step_plan.references(config)


def test_verls_alpha_counts_rewards_and_not_what_is_made_of_them() -> None:
    setting = Setting(0)
    setting.rewards[:, 0] = 0.0  # 9 of 12 are not 0, less their KL all are
    algorithm = method("rloo", alpha=True, alpha_counts="nonzero_rewards")
    given: Any = Tensors(setting.old), Tensors(setting.reference)
    made = replace(run(replace(CONFIG, algorithm=algorithm)), policy=given[0], reference=given[1])
    assert objective.make_experience(made, setting.batch()).alpha == pytest.approx(12 / 9)


def test_alpha_makes_the_update_larger_by_the_groups_that_teach_nothing() -> None:
    moved = []
    for alpha in (False, True):
        made = with_descent(run(with_algorithm(CONFIG, alpha=alpha), SameForAll()))
        metrics, _ = take_step(made)
        moved.append(next(made.policy.module.parameters()).detach().clone())
    assert metrics["alpha"] > 1
    assert torch.allclose(moved[1], metrics["alpha"] * moved[0], atol=1e-6)
    assert moved[0].abs().max() > 1e-3


def test_under_lora_the_reference_is_the_model_without_its_adapter() -> None:
    plain = policy.load(ModelConfig(name="demo", dtype="float32"))
    adapted = policy.load(
        ModelConfig(name="demo", dtype="float32", lora=LoraConfig(r=4)), train=True
    )
    for name, parameter in adapted.module.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    reference = policy.reference(adapted, ModelConfig(name="demo"), "cpu")
    assert reference.loaded is adapted.loaded  # no second copy
    encoded = plain.encode([Prompt("Find it.")])
    rollouts = [(Rollout(Completion("a"), (5, 6, 7), True),)]
    with torch.no_grad():
        base, off, on = (one.logps(encoded, rollouts, 1.0) for one in (plain, reference, adapted))
    assert torch.allclose(off, base, atol=1e-6)
    assert (on - base).abs().max() > 0.01  # and the adapter is on again
