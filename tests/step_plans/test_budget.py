"""The memory that a device holds, by the devices of a launch."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from fakes.folders import ROOT

from vrft.config.schema import LoraConfig, ModelConfig
from vrft.models import quantization
from vrft.step_plans import budget, shape
from vrft.step_plans.account import Peak, Place
from vrft.step_plans.budget import Devices
from vrft.step_plans.rehearsal import Rehearsal

NAME = "Qwen/Qwen2-VL-2B-Instruct"
WEIGHTS = 2_208_985_600


def test_full_weights_take_sixteen_bytes_each() -> None:
    loaded = shape.build(shape.read(NAME), ModelConfig(), torch.float32)
    held = budget.states(loaded.model.parameters(), Devices())
    # float32: the weight, its gradient and two moments
    assert (held.weights, held.gradients) == (4 * WEIGHTS, 4 * WEIGHTS)
    assert held.optimizer == 8 * WEIGHTS
    # DDP holds a second copy of the gradients, in which they are exchanged.
    assert budget.states(loaded.model.parameters(), Devices(2)).buckets == 4 * WEIGHTS


def test_an_adapter_alone_has_gradients_and_moments() -> None:
    loaded = shape.build(shape.read(NAME), ModelConfig(lora=LoraConfig(r=16)), torch.bfloat16)
    trained = sum(weight.numel() for weight in loaded.model.parameters() if weight.requires_grad)
    held = budget.states(loaded.model.parameters(), Devices())
    assert held.weights == 2 * WEIGHTS + 4 * trained  # peft holds adapters in float32
    assert (held.gradients, held.optimizer) == (4 * trained, 8 * trained)


@pytest.mark.parametrize(("zero", "weights", "gradients"), [(2, 2.0, 4 / 8), (3, 2 / 8, 4 / 8)])
def test_zero_divides_by_the_devices(zero: int, weights: float, gradients: float) -> None:
    loaded = shape.build(shape.read(NAME), ModelConfig(), torch.bfloat16)
    held = budget.states(loaded.model.parameters(), Devices(8, zero), half=True)
    assert held.weights == weights * WEIGHTS
    # Added up in float32, of the 2 bytes that a pass makes of each.
    assert held.gradients == gradients * WEIGHTS
    assert held.gradient_share == gradients / 2
    # A float32 copy of the share, and two moments of it: 12 bytes.
    assert held.optimizer == 12 / 8 * WEIGHTS


@pytest.mark.parametrize(
    ("launch", "on_the_device", "on_the_machine"),
    [
        # an eighth of a float32 copy and two moments of every weight, at 12 bytes, moves
        (Devices(8, 2, offload=True), 2 + 4 / 8, 12 / 8),
        # and with ZeRO-3 the share of the weights, at 2 bytes
        (Devices(8, 3, offload=True), 4 / 8, 12 / 8 + 2 / 8),
    ],
)
def test_what_is_offloaded_lies_in_the_machines_memory(
    launch: Devices, on_the_device: float, on_the_machine: float
) -> None:
    loaded = shape.build(shape.read(NAME), ModelConfig(), torch.bfloat16)
    held = budget.states(loaded.model.parameters(), launch, half=True)
    assert (held.total, held.host) == (on_the_device * WEIGHTS, on_the_machine * WEIGHTS)


@pytest.mark.parametrize(
    ("launch", "half", "buckets", "live"),
    [
        (Devices(8, 2), True, 2 * 2 * 50e6, 0.0),  # two of 2-byte numbers
        (Devices(8, 2), False, 2 * 4 * 50e6, 0.0),
        (Devices(8, 3), True, 2 * 50e6, 2 * 200e6),  # one
    ],
)
def test_deepspeeds_own_buffers_are_counted(
    launch: Devices, half: bool, buckets: float, live: float
) -> None:
    loaded = shape.build(shape.read(NAME), ModelConfig(), torch.bfloat16 if half else torch.float32)
    held = budget.states(loaded.model.parameters(), launch, half=half)
    assert (held.buckets, held.live) == (buckets, live)
    planned = budget.budget(Rehearsal({}, {}, 1, 1), held, launch)
    assert planned.update["exchange of gradients"] == buckets
    assert planned.update.get("gathered weights", 0.0) == live


def test_a_small_model_is_whole_before_zero3_has_as_many_weights_as_it_may() -> None:
    held = budget.states([torch.zeros(1000, requires_grad=True)], Devices(2, 3))
    assert held.live == 4 * 1000


@pytest.mark.parametrize("name", ["zero2", "zero2_offload", "zero3", "zero3_offload"])
def test_the_shipped_configurations_of_deepspeed_are_those_that_are_planned(name: str) -> None:
    settings = json.loads((ROOT / f"configs/deepspeed/{name}.json").read_text())
    # Without it a step's gradients would be added up in half precision, pass after pass.
    assert settings["data_types"]["grad_accum_dtype"] == "fp32"
    zero = settings["zero_optimization"]
    assert zero["overlap_comm"] and zero["contiguous_gradients"]  # two buckets, or one
    assert zero["reduce_bucket_size"] == budget.BUCKET
    assert zero.get("stage3_max_live_parameters", budget.LIVE) == budget.LIVE
    assert ("stage3_max_live_parameters" in zero) == (zero["stage"] == 3)


def test_gradients_of_a_pass_count_as_the_share_that_is_added_up_in_float32() -> None:
    peak = Peak(20, {Place("backward", "gradients"): 20})
    held = budget.States(weights=0, optimizer=0, gradients=5, gradient_share=2 / 8)
    planned = budget.budget(Rehearsal({"backward": peak}, {}, 1, 1), held, Devices(8, 2))
    assert planned.update["gradients"] == 20 * 2 / 8


def test_fsdp_keeps_no_copy_beside_its_parts() -> None:
    loaded = shape.build(shape.read(NAME), ModelConfig(), torch.float32)
    held = budget.states(loaded.model.parameters(), Devices(4, fsdp=True))
    assert held.total == 16 / 4 * WEIGHTS  # weight, gradient and two moments in float32
    assert held.buckets == 0


def test_moments_of_eight_bits_are_those_of_large_weights_alone() -> None:
    small, large = (torch.zeros(n, requires_grad=True) for n in (4095, 4096))
    held = budget.states([small, large], Devices(), "adamw_bnb_8bit")
    assert held.optimizer == 8 * 4095 + (2 + 2 / 64) * 4096


def test_weights_of_four_bits_take_the_bytes_that_bitsandbytes_takes() -> None:
    lora = ModelConfig(lora=LoraConfig(r=16))
    whole, quantized = (
        budget.states(
            shape.build(shape.read(NAME), settings, torch.bfloat16).model.parameters(), Devices()
        )
        for settings in (lora, replace(lora, quantization="nf4"))
    )
    # Qwen2-VL-2B has 28 layers: q and o of 1536 x 1536, k and v of 256, three of 8960 in the MLP.
    sizes = [1536 * n for n in (1536, 1536, 256, 256, 8960, 8960, 8960)]
    saved = 28 * sum(2 * n - quantization.nf4_bytes(n) for n in sizes)
    assert whole.weights - quantized.weights == saved
    assert (whole.gradients, whole.optimizer) == (quantized.gradients, quantized.optimizer)


def test_the_peak_is_that_of_the_larger_half() -> None:
    peaks = {
        "prefill": Peak(10, {Place("prefill", "vision"): 10}),
        "decode": Peak(70, {Place("decode", "cache"): 70}),
        "backward": Peak(50, {Place("forward", "decoder"): 30, Place("backward", "gradients"): 20}),
    }
    held = budget.States(weights=100, optimizer=200, gradients=40)
    planned = budget.budget(Rehearsal(peaks, {}, 1, 1), held, Devices())
    assert sum(planned.rollout.values()) == 370
    assert sum(planned.update.values()) == 350  # more than 340, with gradients alone
    assert planned.peak == 370
