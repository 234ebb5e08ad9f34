"""Decoding by any strategy: captured or not, with rows that leave at once, late or never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes import tape
from PIL import Image
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vrft.attention import cuda_flash
from vrft.config.rollout import SamplingConfig
from vrft.models import encoding
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.policy import decode_step, sampling
from vrft.policy.decode_step import STRATEGIES, DecodeStep, DecodeStrategy
from vrft.policy.logprobs import GroupLogps
from vrft.types import Prompt

SAMPLING = SamplingConfig(max_completion_length=60, temperature=50.0, repetition_penalty=1.1)
ENDS = frozenset(range(300, 320))
"""At a temperature of 50 some 700 tokens are about as likely: a row ends at one token in 35."""

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_5", "qwen2")


def encoded(loaded: LoadedModel, picture: Callable[..., Image.Image]) -> list[Encoded]:
    """Encode prompts of other lengths, with a picture each where the model reads any."""
    prompts = [Prompt("Where is the key?"), Prompt("Find the owl, or the cat, in this.")]
    if loaded.family.has_vision:
        prompts = [replace(prompt, images=(picture(56, 84),)) for prompt in prompts]
    return [encoding.encode(loaded, prompt) for prompt in prompts]


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_the_strategy_nor_a_capture_changes_a_token(
    family: str, load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny(family)
    loaded.end_ids = ENDS
    prompts = encoded(loaded, picture)
    captures: list[DecodeStep] = []

    def capture(step: DecodeStep) -> DecodeStep:
        captures.append(step)
        return tape.record(step)

    def sampled(strategy: DecodeStrategy) -> list[list[list[int]]]:
        captures.clear()
        return sampling.sample(loaded, prompts, 8, SAMPLING, [3, 4], strategy)

    # rows leave at once, and nothing is captured: the reference for all others
    expected = sampled(STRATEGIES["cpu"])
    lengths = sorted(len(row) for group in expected for row in group)
    assert lengths[0] < 10 and lengths[-1] == 60 and len(set(lengths)) > 6
    # no row leaves and no room grows: captured once, replayed 58 times
    assert sampled(DecodeStrategy(100, 0.0, cache_block=64, capture=capture)) == expected
    assert len(captures) == 1
    # room grows four times, and half of the rows leave
    assert sampled(DecodeStrategy(7, 0.5, cache_block=16, capture=capture)) == expected
    assert 4 <= len(captures) < 10
    # rows leave up to three tokens late, and nothing is captured
    assert sampled(DecodeStrategy(3, 0.0, cache_block=64)) == expected
    assert captures == []


def test_graphs_are_for_a_gpu_that_holds_all_weights(
    load_tiny: Callable[..., LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("qwen2_vl")
    assert decode_step.strategy_for(loaded, graphs=True) is STRATEGIES["cpu"]
    monkeypatch.setitem(decode_step.STRATEGIES, "cpu", STRATEGIES["cuda"])
    assert decode_step.strategy_for(loaded, graphs=True).capture is decode_step.cuda_graph
    assert decode_step.strategy_for(loaded, graphs=False).capture is None
    next(loaded.model.parameters()).ds_id = 0  # as DeepSpeed marks the weights that it shards
    assert decode_step.strategy_for(loaded, graphs=True).capture is None


@pytest.mark.parametrize("family", FAMILIES)
def test_host_and_device_never_wait_for_each_other_within_a_pass(
    family: str,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Compute on a device whose tensors have no numbers: to read or to copy one is an error.

    The kernel is CUDA's, by torch's account of what it takes and gives.
    """
    monkeypatch.setattr(cuda_flash, "serves", lambda query: True)
    loaded = load_tiny(family, train=True)
    prompts = encoded(loaded, picture)
    on_meta(loaded.model)
    # the device is as strict as the test needs it
    with pytest.raises(NotImplementedError, match="no data"):
        torch.zeros(1, device=loaded.device).tolist()

    with Sent() as sent:
        logps = GroupLogps(loaded)(prompts, [[[5, 6, 7], [8]], [[9, 10], [11, 12, 13]]])
    assert logps.shape == (2, 2, 3)
    assert len(sent.waited) >= 6 and not any(sent.waited)
    logps.sum().backward()
    assert all(weight.grad is not None for weight in loaded.model.parameters())

    # asking which rows have ended is the one thing for which the host must wait
    unchecked = replace(STRATEGIES["cpu"], check_every=100)
    five = replace(SAMPLING, top_k=5)
    tokens = sampling.sample_tokens(loaded, prompts, 4, five, [3, 4], unchecked)
    assert tokens.shape == (8, 60)


class Sent(TorchDispatchMode):
    """A note of every tensor that is sent to the device: whether the host waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        copied = func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu"
        if copied and out.device.type == "meta":
            self.waited.append(not kwargs.get("non_blocking"))
        return out


def on_meta(model: nn.Module) -> None:
    """Put the model in half precision on a device without numbers."""
    model.to("meta").to(torch.bfloat16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_cuda_graph_decodes_as_the_plain_step_does(
    family: str, load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny(family)
    loaded.model.to("cuda")
    prompts = encoded(loaded, picture)
    plain = sampling.sample(loaded, prompts, 8, replace(SAMPLING, cuda_graphs=False), [3, 4])
    assert sampling.sample(loaded, prompts, 8, SAMPLING, [3, 4]) == plain
