"""The optimizer of a run: torch's AdamW, or bitsandbytes' with its moments in eight bits."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from vrft.config.schema import TrainConfig
from vrft.errors import UserError
from vrft.processes import shards


def check(train: TrainConfig) -> None:
    """Raise UserError for an optimizer without its package, and for a beta that torch refuses."""
    for name in ("adam_beta1", "adam_beta2"):
        if getattr(train, name) == 1:
            raise UserError(
                f"train.{name}=1: a mean that keeps all of itself never takes a gradient; give "
                "less than 1"
            )
    if train.optim == "adamw_bnb_8bit" and find_spec("bitsandbytes") is None:
        raise UserError(
            f"train.optim={train.optim} needs the package bitsandbytes; "
            "pip install 'vrft[bitsandbytes]', or leave it out"
        )


def check_launch(train: TrainConfig, accelerator: Accelerator) -> None:
    """Raise UserError for an optimizer that cannot run as the processes are launched."""
    if train.optim == "adamw_bnb_8bit" and shards.shards_optimizer(accelerator):
        raise UserError(
            f"train.optim={train.optim} keeps its state on each device, and DeepSpeed and FSDP cut "
            "it into parts; leave it out there, or launch without them"
        )


def adamw(train: TrainConfig, trained: Iterable[nn.Parameter]) -> Any:
    """Return AdamW over the trained parameters, as ``train.optim`` names it.

    Biases and norms are not decayed, as in transformers' trainer. Moments of eight bits take two
    bytes a weight instead of eight; those of tensors of less than 4,096 weights stay in float32.
    """
    parameters = list(trained)
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "weight_decay": train.weight_decay,
        },
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    settings: dict[str, Any] = {
        "lr": train.learning_rate,
        "betas": (train.adam_beta1, train.adam_beta2),
        "eps": train.adam_epsilon,
    }
    if train.optim == "adamw_bnb_8bit":
        # A second of imports, for those who ask for it.
        return import_module("bitsandbytes.optim").AdamW8bit(groups, **settings)
    return torch.optim.AdamW(groups, **settings, fused=True)
