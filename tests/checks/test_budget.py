"""The memory that a device holds, by the devices of a launch."""

from __future__ import annotations

import pytest
import torch

from vrft.checks import budget, shape
from vrft.checks.account import Peak, Place
from vrft.checks.budget import Launch
from vrft.checks.rehearsal import Rehearsal
from vrft.config.schema import LoraConfig, ModelConfig

NAME = "Qwen/Qwen2-VL-2B-Instruct"
WEIGHTS = 2_208_985_600


def test_full_weights_take_sixteen_bytes_each() -> None:
    loaded = shape.build(shape.read(NAME), ModelConfig(), torch.float32)
    held = budget.states(loaded, Launch())
    # float32: the weight, its gradient and two moments
    assert (held.weights, held.gradients) == (4 * WEIGHTS, 4 * WEIGHTS)
    assert held.optimizer == 8 * WEIGHTS
    # DDP holds a second copy of the gradients, in which they are exchanged.
    assert budget.states(loaded, Launch(2)).buckets == 4 * WEIGHTS


def test_an_adapter_alone_has_gradients_and_moments() -> None:
    loaded = shape.build(shape.read(NAME), ModelConfig(lora=LoraConfig(r=16)), torch.bfloat16)
    trained = sum(weight.numel() for weight in loaded.model.parameters() if weight.requires_grad)
    held = budget.states(loaded, Launch())
    assert held.weights == 2 * WEIGHTS + 4 * trained  # peft holds adapters in float32
    assert (held.gradients, held.optimizer) == (4 * trained, 8 * trained)


@pytest.mark.parametrize(("zero", "weights", "gradients"), [(2, 2.0, 2 / 8), (3, 2 / 8, 2 / 8)])
def test_zero_divides_by_the_devices(zero: int, weights: float, gradients: float) -> None:
    loaded = shape.build(shape.read(NAME), ModelConfig(), torch.bfloat16)
    held = budget.states(loaded, Launch(8, zero), half=True)
    assert held.weights == weights * WEIGHTS
    assert held.gradients == gradients * WEIGHTS
    # A float32 copy of the share, and two moments of it: 12 bytes.
    assert held.optimizer == 12 / 8 * WEIGHTS


def test_the_peak_is_that_of_the_larger_half() -> None:
    peaks = {
        "prefill": Peak(10, {Place("prefill", "vision"): 10}),
        "decode": Peak(70, {Place("decode", "cache"): 70}),
        "backward": Peak(50, {Place("forward", "decoder"): 30, Place("backward", "gradients"): 20}),
    }
    held = budget.States(weights=100, optimizer=200, gradients=40)
    planned = budget.budget(Rehearsal(peaks, {}, 1, 1), held, Launch())
    assert sum(planned.rollout.values()) == 370
    assert sum(planned.update.values()) == 350  # more than 340, with gradients alone
    assert planned.peak == 370
