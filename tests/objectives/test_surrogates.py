"""The loss of a token by every surrogate, its slope and its bound, against numbers by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor

from vrft.config.methods import METHODS, AlgorithmConfig, method
from vrft.objectives import surrogates
from vrft.objectives.surrogates import SURROGATES, Tokens

GPG = AlgorithmConfig()
near = pytest.approx
OLD = 0.1
"""The probability of each token under the policy that sampled it, unless another is given."""


@dataclass(frozen=True)
class Losses:
    """The loss of a completion's first token; the slope of the mean over its tokens at each."""

    loss: float
    slopes: list[float]
    clipped: list[bool]


def losses_of(
    name: str, ratios: Sequence[float], advantage: float, old: float = OLD, **settings: Any
) -> Losses:
    """The losses of one completion whose tokens have these ratios, by a method's row.

    A further token stands behind the completion's end: the mask takes it out.
    """
    config = method(name, **settings)
    before = torch.full((1, 1, len(ratios) + 1), math.log(old))
    now = (before + torch.tensor([[[*ratios, 7.0]]]).log()).requires_grad_()
    mask = torch.ones_like(before)
    mask[..., -1] = 0
    tokens = Tokens(now, before, torch.full((1, 1, 1), advantage), mask)
    losses = surrogates.surrogate(tokens, config)
    mean = (losses * mask).sum() / len(ratios)
    (slopes,) = torch.autograd.grad(mean, now)
    assert slopes[0, 0, -1] == 0
    found = SURROGATES[config.surrogate].clipped
    held = torch.zeros_like(mask) if found is None else found(fixed(tokens), config)
    every = held.expand_as(mask)[0, 0, :-1].bool().tolist()
    return Losses(losses[0, 0, 0].item(), slopes[0, 0, :-1].tolist(), every)


def fixed(tokens: Tokens) -> Tokens:
    """The tokens without a way for gradients, as the log of a step sees them."""
    return replace(tokens, logps=tokens.logps.detach())


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # within the clip: -r A, and its derivative by log r
        (1.1, 1.0, -1.1, -1.1),
        (0.9, -1.0, 0.9, 0.9),
        # a good token already pushed up by more than 1.28, a bad one down by more than 0.8: held
        (1.5, 1.0, -1.28, 0.0),
        (0.5, -1.0, 0.8, 0.0),
        # pushed the wrong way: never held
        (0.5, 1.0, -0.5, -0.5),
        (1.5, -1.0, 1.5, 1.5),
    ],
)
def test_the_clipped_surrogate(ratio: float, advantage: float, loss: float, slope: float) -> None:
    found = losses_of("dapo", [ratio], advantage)
    assert (found.loss, found.slopes) == (near(loss), [near(slope)])
    assert found.clipped == [slope == 0.0]


def test_without_a_higher_bound_the_clip_is_the_same_both_ways() -> None:
    assert losses_of("grpo", [1.5], 1.0).loss == near(-1.2)
    assert losses_of("grpo", [0.5], -1.0).loss == near(0.8)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # below the bound of 3 the clipped surrogate pays in full for a bad token pushed up
        (2.5, -1.0, 2.5, 2.5),
        (4.0, -1.0, 3.0, 0.0),  # and above it no more
        (4.0, 1.0, -1.2, 0.0),  # a good token is held at 1.2 long before
        (0.5, -1.0, 0.8, 0.0),
    ],
)
def test_the_dual_clip(ratio: float, advantage: float, loss: float, slope: float) -> None:
    found = losses_of("grpo", [ratio], advantage, delta=3.0)
    assert (found.loss, found.slopes) == (near(loss), [near(slope)])
    assert found.clipped == [slope == 0.0]


@pytest.mark.parametrize(
    ("ratios", "advantage", "loss", "slopes", "clipped"),
    [
        # s = sqrt(1.2 * 0.9) = 1.0392305, above 1.0004: held, both tokens
        ([1.2, 0.9], 1.0, -1.0004, [0.0, 0.0], True),
        # pushed the wrong way: s itself, of which every token has its half
        ([1.2, 0.9], -1.0, 1.0392305, [0.5196152, 0.5196152], False),
        # s = 1.0003 lies within [0.9997, 1.0004]
        ([1.0003, 1.0003], 1.0, -1.0003, [-0.50015, -0.50015], False),
        # s = sqrt(0.9 * 0.9) = 0.9, below 0.9997
        ([0.9, 0.9], -1.0, 0.9997, [0.0, 0.0], True),
    ],
)
def test_gspo_clips_the_geometric_mean_of_a_completion(
    ratios: list[float], advantage: float, loss: float, slopes: list[float], clipped: bool
) -> None:
    found = losses_of("gspo", ratios, advantage)
    assert (found.loss, found.slopes) == (near(loss), near(slopes, abs=1e-6))
    assert found.clipped == [clipped, clipped]


@pytest.mark.parametrize(
    ("ratio", "advantage", "slope", "clipped"),
    [
        (1.0, 1.0, -1.0, False),
        (0.5, 1.0, -0.5, False),  # no bound downwards
        (7.0, 1.0, -5.0, True),  # the weight ends at 5, the gradient does not
        (7.0, -1.0, 5.0, False),  # counted at positive advantages only, as by TRL
    ],
)
def test_cispo_weighs_log_pi_by_a_capped_constant(
    ratio: float, advantage: float, slope: float, clipped: bool
) -> None:
    found = losses_of("cispo", [ratio], advantage)
    # the loss is the slope times log pi = log(0.1 r)
    assert found.loss == near(slope * math.log(OLD * ratio))
    assert (found.slopes, found.clipped) == ([near(slope)], [clipped])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # at 1: 4 / tau * sigmoid(0) = 2 / tau, and the slope of -r A
        (1.0, 1.0, -2.0, -1.0),
        (1.0, -1.0, 1.9047619, 1.0),
        # at 2: 4 sigmoid(1) = 2.9242343; the slope 4 sigmoid'(1) r = 4 * 0.1966119 * 2
        (2.0, 1.0, -2.9242343, -1.5728955),
        # tau 1.05: 4 / 1.05 * 0.7407749; 4 * 0.7407749 * 0.2592251 * 2
        (2.0, -1.0, 2.8219996, 1.5362197),
        (2.0, 0.0, 0.0, 0.0),
    ],
)
def test_sapo_damps_the_ratio_by_a_sigmoid(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    found = losses_of("sapo", [ratio], advantage)
    assert (found.loss, found.slopes) == (near(loss, abs=1e-6), [near(slope, abs=1e-6)])


@pytest.mark.parametrize(
    ("log_ratios", "advantage", "loss", "slopes", "clipped"),
    [
        # log r = 0.6 counts as 0.4; exp((0.4 + 0.2) / 2) = 1.3498588, of which token 2 has its half
        ([0.6, 0.2], 1.0, -1.3498588, [0.0, -0.6749294], [True, False]),
        # upwards a bad completion has no bound: exp(0.4) = 1.4918247
        ([0.6, 0.2], -1.0, 1.4918247, [0.7459123, 0.7459123], [False, False]),
        # downwards it has: exp((-0.4 + 0.2) / 2) = 0.9048374
        ([-0.6, 0.2], -1.0, 0.9048374, [0.0, 0.4524187], [True, False]),
        ([-0.6, 0.2], 1.0, -0.8187308, [-0.4093654, -0.4093654], [False, False]),
    ],
)
def test_gmpo_clips_the_log_ratio_of_each_token_before_their_mean(
    log_ratios: list[float],
    advantage: float,
    loss: float,
    slopes: list[float],
    clipped: list[bool],
) -> None:
    found = losses_of("gmpo", [math.exp(value) for value in log_ratios], advantage)
    assert (found.loss, found.slopes) == (near(loss), near(slopes, abs=1e-6))
    assert found.clipped == clipped


@pytest.mark.parametrize(
    ("old", "now", "advantage", "loss"),
    [
        (0.5, 0.6, 1.0, -1.2),  # moved by 0.1
        (0.5, 0.75, 1.0, 0.0),  # by 0.25: left out
        (0.5, 0.75, -1.0, 1.5),  # to where the advantage does not push: kept
        (0.5, 0.25, -1.0, 0.0),
        (0.5, 0.25, 1.0, -0.5),
        (0.01, 0.05, 1.0, -5.0),  # five times as likely, and still by 0.04 only
    ],
)
def test_dppo_leaves_out_tokens_whose_probability_has_moved_too_far(
    old: float, now: float, advantage: float, loss: float
) -> None:
    found = losses_of("dppo", [now / old], advantage, old=old)
    # the slope of r A by log pi is r A
    assert (found.loss, found.slopes) == (near(loss), [near(loss)])
    assert found.clipped == [loss == 0.0]


@pytest.mark.parametrize(
    ("name", "upwards", "beyond", "downwards"),
    [
        # r up to 1.3 and down to 0.9
        ("grpo", 1.25, 1.35, 0.85),
        # log r up to 0.3 and down to -0.1
        ("gmpo", math.exp(0.2), math.exp(0.4), math.exp(-0.2)),
        # from 0.5 up to 0.8 and down to 0.4
        ("dppo", 1.4, 1.7, 0.7),
    ],
)
def test_the_bound_upwards_is_another_than_downwards(
    name: str, upwards: float, beyond: float, downwards: float
) -> None:
    def clipped(ratio: float, advantage: float) -> bool:
        found = losses_of(name, [ratio], advantage, old=0.5, epsilon=0.1, epsilon_high=0.3)
        assert (found.slopes == [0.0]) == found.clipped[0]
        return found.clipped[0]

    assert not clipped(upwards, 1.0) and clipped(beyond, 1.0)
    assert clipped(downwards, -1.0) and not clipped(beyond, -1.0)


# On the policy that sampled, and off it

RATIOS = [name for name in METHODS if name != "sft" and SURROGATES[method(name).surrogate].ratio]


@pytest.mark.parametrize("name", SURROGATES)
def test_settings_know_which_surrogates_compare_policies(name: Any) -> None:
    assert AlgorithmConfig(surrogate=name).compares_policies is SURROGATES[name].ratio


def gradient(name: str, advantages: Tensor, drift: float) -> Tensor:
    """The gradient of a mean over completions of lengths 1 to 4, some log-ratios off the policy."""
    random = torch.Generator().manual_seed(3)
    before = -2 * torch.rand(2, 2, 4, generator=random)
    mask = (torch.arange(4) < torch.tensor([[4, 1], [2, 3]]).unsqueeze(-1)).float()
    now = (before + drift * torch.randn(2, 2, 4, generator=random)).requires_grad_()
    losses = surrogates.surrogate(Tokens(now, before, advantages, mask), method(name))
    total = (losses * mask / mask.sum(-1, keepdim=True)).sum()
    (found,) = torch.autograd.grad(total, now)
    return found


@pytest.mark.parametrize("name", RATIOS)
def test_on_policy_every_surrogate_has_the_gradient_of_gpg(name: str) -> None:
    advantages = torch.tensor([[[1.5], [-0.5]], [[0.25], [-2.0]]])
    assert torch.allclose(gradient(name, advantages, 0.0), gradient("gpg", advantages, 0.0))


def test_off_policy_every_bound_has_a_gradient_of_its_own() -> None:
    advantages = torch.tensor([[[1.5], [-0.5]], [[0.25], [-2.0]]])
    names = ("gpg", "grpo", "gspo", "cispo", "sapo", "gmpo", "dppo")
    gradients = [gradient(name, advantages, 0.7) for name in names]
    for i, one in enumerate(gradients):
        assert not any(torch.allclose(one, other, rtol=1e-2) for other in gradients[:i])


def test_every_choice_of_surrogate_is_one_object_with_words() -> None:
    choices = get_args(get_type_hints(AlgorithmConfig)["surrogate"])
    assert list(SURROGATES) == list(choices)
    assert SURROGATES["clipped_log"].words(method("gmpo")) == "clip(log ratio, -0.4, 0.4) A"


# Completions of another policy


def test_completions_far_from_the_policy_are_left_out_if_they_were_bad() -> None:
    # log(pi_sampled / pi) of the tokens: mean 0.6 and 0.4; the third place is behind the end
    sampled = torch.tensor([[[0.9, 0.3, 5.0], [0.5, 0.3, 5.0]]])
    mask = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]])
    now = torch.zeros(1, 2, 3)

    def kept(advantage: float) -> list[float]:
        advantages = torch.full((1, 2, 1), advantage)
        found = surrogates.off_policy_mask(now, sampled, advantages, mask, 0.5)
        return [float(value) for value in found.flatten()]

    assert kept(-1.0) == [0.0, 1.0]
    assert kept(1.0) == kept(0.0) == [1.0, 1.0]
    # the distance has a sign: a policy that says it more often than the sampler is not far
    opposite = surrogates.off_policy_mask(now, -sampled, -torch.ones(1, 2, 1), mask, 0.5)
    assert opposite.flatten().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # Ratios of tokens 0.25 and 4, of the completion 1; bounds 0.5 and 3
        ("token_truncate", [[0.5, 3.0]]),
        ("token_mask", [[0.0, 0.0]]),
        ("sequence_mask", [[1.0]]),
    ],
)
def test_importance_weights_have_a_bound_downwards_too(
    mode: Any, expected: list[list[float]]
) -> None:
    config = replace(GPG, importance_sampling=mode, importance_sampling_clip_min=0.5)
    logps = torch.tensor([[[0.25, 4.0]]]).log()
    weights = surrogates.importance_weights(
        logps, torch.zeros(1, 1, 2), torch.ones(1, 1, 2), config
    )
    assert torch.allclose(weights, torch.tensor([expected]))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # Ratios of tokens 2 and 4 against a cap of 3; the third place is behind the end.
        ("token_truncate", [[2.0, 3.0, 1.0]]),
        ("token_mask", [[2.0, 0.0, 1.0]]),
        # The completion's ratio is 2 * 4 = 8.
        ("sequence_truncate", [[3.0]]),
        ("sequence_mask", [[0.0]]),
        ("auto", [[0.0]]),
        ("off", [[1.0, 1.0, 1.0]]),
    ],
)
def test_importance_weights_by_hand(mode: Any, expected: list[list[float]]) -> None:
    logps = torch.tensor([[[2.0, 4.0, 9.0]]]).log()
    mask = torch.tensor([[[1.0, 1.0, 0.0]]])
    config = replace(GPG, importance_sampling=mode)
    weights = surrogates.importance_weights(logps, torch.zeros(1, 1, 3), mask, config)
    assert torch.allclose(weights, torch.tensor([expected]))


def test_a_ratio_that_overflows_is_masked_and_not_nan() -> None:
    config = replace(GPG, importance_sampling="token_mask")
    far = torch.full((1, 1, 1), 1000.0)
    weights = surrogates.importance_weights(far, torch.zeros(1, 1, 1), torch.ones(1, 1, 1), config)
    assert weights.tolist() == [[[0.0]]]


def test_weighted_by_the_ratio_another_engines_gradient_is_the_policys_own() -> None:
    """Sum over tokens q(t) w(t) grad log pi(t) A(t), with w = pi / q, is that with pi(t) alone."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, generator=random, requires_grad=True)
    engine = torch.randn(5, generator=random).log_softmax(0)
    advantages = torch.randn(5, generator=random)
    config = replace(GPG, importance_sampling="token_truncate", importance_sampling_cap=1e6)
    logps = logits.log_softmax(0)
    weights = surrogates.importance_weights(
        logps.detach().view(1, 5, 1), engine.view(1, 5, 1), torch.ones(1, 5, 1), config
    ).flatten()
    own = (logps.exp().detach() * -logps * advantages).sum()
    theirs = (engine.exp() * weights * -logps * advantages).sum()
    uncorrected = (engine.exp() * -logps * advantages).sum()
    gradients = [
        torch.autograd.grad(loss, logits, retain_graph=True)[0]
        for loss in (own, theirs, uncorrected)
    ]
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)
    assert not torch.allclose(gradients[0], gradients[2], atol=1e-2)


def test_the_k3_estimate_by_hand() -> None:
    # d = ref - pi: exp(d) - d - 1 at d = 0 is 0, at d = ln 2 is 1 - ln 2, at d = -ln 2 ln 2 - 1/2
    logps = torch.tensor([0.0, -0.6931472, 0.6931472])
    found = surrogates.kl(logps, torch.zeros(3))
    assert torch.allclose(found, torch.tensor([0.0, 0.3068528, 0.1931472]), atol=1e-6)


@pytest.mark.parametrize(
    ("value", "old", "loss"),
    [
        (0.5, 0.5, 0.125),  # half of 0.5 squared
        (0.9, 0.5, 0.045),  # moved by 0.4, counted as if it stood at 0.7
        (0.1, 0.5, 0.405),  # moved away: its own error is the larger
    ],
)
def test_the_value_loss_is_that_of_a_value_that_moves_little(
    value: float, old: float, loss: float
) -> None:
    given = [torch.tensor([number]) for number in (value, old, 1.0)]
    assert surrogates.value_loss(given[0], given[1], given[2], 0.2).item() == pytest.approx(loss)
