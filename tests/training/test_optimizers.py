"""Optimizers by name: their groups, the size of their state, and what is refused."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn

from vrft.config.schema import TrainConfig
from vrft.errors import UserError
from vrft.step_plans import budget
from vrft.training import optimizers

SETTINGS = TrainConfig(learning_rate=0.01, weight_decay=0.1)
EIGHT_BITS = replace(SETTINGS, optim="adamw_bnb_8bit")


def learn(module: nn.Module, optimizer: Any, steps: int) -> float:
    """Fit a map of fixed random numbers; return the last squared error."""
    random = torch.Generator().manual_seed(1)
    given, wanted = torch.randn(2, 64, 128, generator=random)
    for _ in range(steps):
        loss = (module(given) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.detach())


def layer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(128, 128)


@pytest.mark.parametrize("settings", [SETTINGS, EIGHT_BITS], ids=["torch", "bitsandbytes"])
def test_biases_are_not_decayed_and_the_error_falls(settings: TrainConfig) -> None:
    if settings.optim != "adamw_torch":
        pytest.importorskip("bitsandbytes")
    module = layer()
    optimizer = optimizers.adamw(settings, module.parameters())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert [p.ndim for group in optimizer.param_groups for p in group["params"]] == [2, 1]
    assert learn(module, optimizer, 40) < 0.7 * learn(layer(), optimizers.adamw(settings, []), 1)


def test_moments_of_eight_bits_take_the_bytes_that_a_plan_counts_and_go_on_bit_by_bit() -> None:
    pytest.importorskip("bitsandbytes")
    module = layer()
    optimizer = optimizers.adamw(EIGHT_BITS, module.parameters())
    learn(module, optimizer, 3)
    state = optimizer.state[next(iter(module.parameters()))]
    own = sum(state[name].nbytes for name in ("state1", "state2", "absmax1", "absmax2"))
    assert own == budget.STATE_BYTES["adamw_bnb_8bit"] * 128 * 128
    # As a checkpoint does it: to a file, and into an optimizer that has taken no step.
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    again = copy.deepcopy(module)
    resumed = optimizers.adamw(EIGHT_BITS, again.parameters())
    resumed.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    assert learn(module, optimizer, 3) == learn(again, resumed, 3)
    assert torch.equal(*(part.weight for part in (module, again)))  # type: ignore[arg-type]


def test_an_optimizer_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package bitsandbytes; pip install 'vrft\["):
        optimizers.check(EIGHT_BITS)
    optimizers.check(SETTINGS)


def test_eight_bits_are_refused_where_devices_hold_parts() -> None:
    sharded: Any = SimpleNamespace(distributed_type=DistributedType.FSDP)
    with pytest.raises(UserError, match="leave it out there, or launch without them"):
        optimizers.check_launch(EIGHT_BITS, sharded)
    optimizers.check_launch(SETTINGS, sharded)
    optimizers.check_launch(EIGHT_BITS, Accelerator(cpu=True))


@pytest.mark.parametrize("name", ["adam_beta1", "adam_beta2"])
def test_a_beta_of_one_is_refused_before_the_run(name: str) -> None:
    with pytest.raises(UserError, match=rf"^train\.{name}=1: .*; give less than 1$"):
        optimizers.check(TrainConfig(**{name: 1.0}))  # type: ignore[arg-type]
    optimizers.check(TrainConfig(**{name: 0.0}))  # type: ignore[arg-type]
