"""Decoding at any pace: recorded or not, with rows that leave at once, late or never."""

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

from vrft.config.schema import SamplingConfig
from vrft.models import encoding, flash
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.policy import decode_step, sampling
from vrft.policy.decode_step import STRATEGIES, DecodeStrategy, as_it_is
from vrft.policy.logprobs import GroupLogps
from vrft.types import Prompt

SAMPLING = SamplingConfig(max_completion_length=60, temperature=50.0, repetition_penalty=1.1)
ENDS = frozenset(range(300, 320))
"""At such a temperature all of some 700 tokens are about as likely: a row is over in one of 35."""

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen2")


def encoded(loaded: LoadedModel, picture: Callable[..., Image.Image]) -> list[Encoded]:
    """Prompts of other lengths, with a picture each where the model reads any."""
    prompts = [Prompt("Where is the key?"), Prompt("Find the owl, or the cat, in this.")]
    if loaded.family.space:
        prompts = [replace(one, images=(picture(56, 84),)) for one in prompts]
    return [encoding.encode(loaded, one) for one in prompts]


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_the_pace_nor_a_recording_changes_a_token(
    family: str, load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny(family)
    vars(loaded)["end_ids"] = ENDS
    prompts = encoded(loaded, picture)
    recorded: list[int] = []

    def record(step: decode_step.Step) -> decode_step.Step:
        recorded.append(1)
        return tape.record(step)

    def sampled(pace: DecodeStrategy) -> list[list[list[int]]]:
        recorded.clear()
        return sampling.sample(loaded, prompts, 8, SAMPLING, [3, 4], pace)

    expected = sampled(STRATEGIES["cpu"])
    lengths = sorted(len(row) for group in expected for row in group)
    assert lengths[0] < 10 and lengths[-1] == 60 and len(set(lengths)) > 6
    assert sampled(DecodeStrategy(look=100, idle=0.0, block=64, record=record)) == expected
    assert sum(recorded) == 1  # nothing leaves and no room grows: recorded once, replayed 58 times
    assert sampled(DecodeStrategy(look=7, idle=0.5, block=16, record=record)) == expected
    assert 4 <= sum(recorded) < 10  # room grows four times, and half of the rows leave
    assert sampled(DecodeStrategy(look=3, idle=0.0, block=64, record=as_it_is)) == expected


def test_graphs_are_for_a_gpu_that_holds_all_weights(
    load_tiny: Callable[..., LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("qwen2_vl")
    assert decode_step.strategy_for(loaded, graphs=True) is STRATEGIES["cpu"]
    monkeypatch.setitem(decode_step.STRATEGIES, "cpu", STRATEGIES["cuda"])
    assert decode_step.strategy_for(loaded, graphs=True).record is decode_step.cuda_graph
    assert decode_step.strategy_for(loaded, graphs=False).record is as_it_is
    next(loaded.model.parameters()).ds_id = 0  # as DeepSpeed marks what it has shared out
    assert decode_step.strategy_for(loaded, graphs=True).record is as_it_is


@pytest.mark.parametrize("family", FAMILIES)
def test_host_and_device_never_wait_for_each_other_within_a_pass(
    family: str,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a device whose tensors have no numbers: to read one is an error, as is to copy from it.

    The kernel is CUDA's, by torch's account of what it takes and gives.
    """
    monkeypatch.setattr(flash, "fits_flash", lambda query: True)
    loaded = load_tiny(family, train=True)
    prompts = encoded(loaded, picture)
    on_meta(loaded.model)
    with pytest.raises(NotImplementedError, match="no data"):
        torch.zeros(1, device=loaded.device).tolist()

    with Sent() as sent:
        logps = GroupLogps(loaded)(prompts, [[[5, 6, 7], [8]], [[9, 10], [11, 12, 13]]])
    assert logps.shape == (2, 2, 3)
    assert len(sent.waited) >= 6 and not any(sent.waited)
    logps.sum().backward()
    assert all(weight.grad is not None for weight in loaded.model.parameters())

    unasked = replace(STRATEGIES["cpu"], look=100)
    tokens = sampling.decode(loaded, prompts, 4, replace(SAMPLING, top_k=5), [3, 4], unasked)
    assert tokens.shape == (8, 60)


class Sent(TorchDispatchMode):
    """Notes of every tensor that is sent to the device whether the host waits for it."""

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
    """The model in half precision on a device without numbers."""
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
