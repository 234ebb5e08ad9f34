"""Decoding and update in half precision, on a CPU: the types, the values and the captured step.

A GPU trains float32 weights under bfloat16's autocast, and its caches and graphs are met by nobody
who has none. The CPU's autocast casts the same products, and ``tape`` replays a step as a graph
does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from fakes import tape
from PIL import Image

from vrft.config.rollout import SamplingConfig
from vrft.diagnosis import decoding_logps as diagnosis
from vrft.models import encoding
from vrft.models.encoding import Encoded, collate
from vrft.models.loaded import LoadedModel
from vrft.policy import sampling
from vrft.policy.decode_step import STRATEGIES, DecodeStrategy, Decoding
from vrft.policy.logprobs import GroupLogps
from vrft.types import Prompt

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "qwen2")

COMPLETIONS = [[[5, 6, 7, 8, 9], [8]], [[9, 10], [11, 12, 13, 14]]]

SAMPLING = SamplingConfig(max_completion_length=24, temperature=50.0)
"""A temperature at which most tokens are about as likely: a row ends at one in 35 of them."""

PROBE = """
import torch
with torch.autocast("cpu", torch.bfloat16):
    layer = torch.nn.Linear(64, 64)
    states = layer(torch.ones(5, 64)).view(1, 1, 5, 64)
    torch.nn.functional.scaled_dot_product_attention(states, states, states).sum().backward()
"""


@pytest.fixture(scope="module", autouse=True)
def _half_precision_computes() -> None:
    """Skip where the processor dies of products in bfloat16, which another process finds out."""
    tried = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, timeout=120)
    if tried.returncode < 0:  # killed by a signal: an instruction that it has not
        pytest.skip("this processor has no products in bfloat16")
    assert tried.returncode == 0, tried.stderr.decode()


@pytest.fixture
def autocast() -> Iterator[None]:
    """Compute as training on a GPU does: float32 weights, products in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.fixture
def encoded(picture: Callable[..., Image.Image]) -> Callable[[LoadedModel], list[Encoded]]:
    """Encode two prompts of other lengths, with a picture each where the model reads any."""

    def encode(loaded: LoadedModel) -> list[Encoded]:
        prompts = [Prompt("Where is the key?"), Prompt("Find the owl, or the cat, in this.")]
        if loaded.family.has_vision:
            prompts = [replace(prompt, images=(picture(56, 84),)) for prompt in prompts]
        return [encoding.encode(loaded, prompt) for prompt in prompts]

    return encode


@pytest.mark.usefixtures("autocast")
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_keys_and_values_are_held_in_half_precision(
    family: str,
    load_tiny: Callable[..., LoadedModel],
    encoded: Callable[[LoadedModel], list[Encoded]],
) -> None:
    loaded = load_tiny(family, train=True)
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}
    batch = collate(encoded(loaded), loaded.device)
    strategy = replace(STRATEGIES["cuda"], capture=tape.record, cache_block=4)
    decoding = Decoding(loaded, batch, 2, strategy)
    for _ in range(6):  # room grows once
        decoding.advance(torch.tensor([5, 6, 7, 8]))
        cache = decoding.cache
        held = [*cache.prompt_states.values(), *cache.completion_states.values()]
        assert {states.dtype for pair in held for states in pair} == {torch.bfloat16}
        assert decoding.logits.dtype == torch.bfloat16 and decoding.logits.isfinite().all()
    # What linear attention remembers is summed up over all tokens.
    assert {memory.dtype for _, memory in cache.delta_states.values()} <= {torch.float32}


@pytest.mark.usefixtures("autocast")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_replayed_step_draws_the_tokens_of_the_plain_one(
    family: str,
    load_tiny: Callable[..., LoadedModel],
    encoded: Callable[[LoadedModel], list[Encoded]],
) -> None:
    loaded = load_tiny(family, train=True)
    loaded.end_ids = frozenset(range(300, 320))
    prompts = encoded(loaded)

    def sampled(strategy: DecodeStrategy) -> list[list[list[int]]]:
        return sampling.sample(loaded, prompts, 4, SAMPLING, [3, 4], strategy)

    captured = DecodeStrategy(7, 0.5, cache_block=8, capture=tape.record)
    # Without a capture, in the same batches: products of other sizes round otherwise.
    plain = replace(captured, capture=lambda step: step)
    assert sampled(captured) == sampled(plain)
    assert len({len(row) for group in sampled(plain) for row in group}) > 3


@pytest.mark.parametrize("family", FAMILIES)
def test_rollout_and_update_agree_within_rounding(
    family: str,
    load_tiny: Callable[..., LoadedModel],
    encoded: Callable[[LoadedModel], list[Encoded]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = load_tiny(family, train=True)
    prompts, module = encoded(loaded), GroupLogps(loaded)
    mask = torch.tensor([[5, 1], [2, 4]]).unsqueeze(-1) > torch.arange(5)
    exact = module(prompts, COMPLETIONS)[mask]
    wanted = gradients(loaded, exact.mean())
    captured = replace(STRATEGIES["cuda"], capture=tape.record)
    monkeypatch.setattr(diagnosis, "strategy_for", lambda loaded, graphs: captured)
    with torch.autocast("cpu", torch.bfloat16):
        update = module(prompts, COMPLETIONS)[mask]
        rollout = diagnosis.decoding_logps(loaded, prompts, COMPLETIONS, 1.0, 5)[mask]
    assert update.dtype == rollout.dtype == torch.float32
    # Log-probabilities are about -6, and logits are of 8 bits.
    assert 1e-4 < float((update - exact).detach().abs().mean()) < 0.03
    assert 1e-4 < float((rollout - update).detach().abs().mean()) < 0.02
    ours = gradients(loaded, update.mean())
    assert ours.dtype == torch.float32
    assert 1e-3 < float((ours - wanted).norm() / wanted.norm()) < 0.04


def gradients(loaded: LoadedModel, objective: torch.Tensor) -> torch.Tensor:
    """Return the gradient of all weights in one row, and clear it."""
    loaded.model.zero_grad()
    objective.backward()
    weights = [weight for weight in loaded.model.parameters() if weight.grad is not None]
    assert len(weights) > 20
    return torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None])
