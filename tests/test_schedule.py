"""The learning rate's schedules against transformers' own."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
import torch
from transformers import get_scheduler

from vrft import schedule
from vrft.config import TrainConfig

NAMES = get_args(get_type_hints(TrainConfig)["lr_scheduler_type"])


def rates(scheduler: torch.optim.lr_scheduler.LRScheduler, steps: int) -> list[float]:
    """The learning rate of each step."""
    out = []
    for _ in range(steps):
        out += scheduler.get_last_lr()
        scheduler.optimizer.step()
        scheduler.step()
    return out


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("warmup", [0, 3, 10])
def test_a_schedule_is_that_of_transformers_to_the_last_bit(name: str, warmup: int) -> None:
    ours = schedule.scheduler(name, sgd(), warmup, 10)
    theirs = get_scheduler(name, sgd(), num_warmup_steps=warmup, num_training_steps=10)
    assert rates(ours, 11) == rates(theirs, 11)


def test_a_linear_schedule_rises_over_the_warm_up_and_falls_to_0() -> None:
    # 2 of 6 steps of warm-up: 0, 1/2, then 1 in quarters down to 0.
    shares = [schedule.share("linear", 2, 6, step) for step in range(7)]
    assert shares == [0, 0.5, 1, 0.75, 0.5, 0.25, 0]


def test_a_schedule_goes_on_from_its_saved_state() -> None:
    whole = schedule.scheduler("cosine", sgd(), 2, 8)
    expected = rates(whole, 8)
    first = schedule.scheduler("cosine", sgd(), 2, 8)
    rates(first, 5)
    again = schedule.scheduler("cosine", sgd(), 2, 8)
    again.load_state_dict(first.state_dict())
    assert rates(again, 3) == expected[5:]
