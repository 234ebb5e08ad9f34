"""How the cost of a step grows: one quantity at a time, measured and as the cost model has it."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace

from benchmarks.speed.pairs import Plan, Race, race
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape

BASE = Setting("growth", "the middle of all sweeps", 85, 64, 16, 16, prompts=1)

SWEEPS = {
    "generations": [replace(BASE, generations=n) for n in (2, 4, 8, 16, 32, 64)],
    "image tokens": [replace(BASE, rows=n, columns=n) for n in (4, 8, 12, 16, 20, 24)],
    "completion tokens": [replace(BASE, completion=n) for n in (16, 32, 64, 128, 256)],
    "prompts": [replace(BASE, prompts=n) for n in (1, 2, 4, 8)],
}
"""What grows, and the settings of its sweep; TRL compares at least two completions."""


@dataclass(frozen=True)
class Sweep:
    """The races of one sweep, one after the other."""

    quantity: str
    races: tuple[Race, ...]


def sweep(pool: Executor, shape: Shape, device: str) -> tuple[Sweep, ...]:
    """Every sweep with one pair of steps at each of its settings."""
    plan = Plan(device, pairs=1, least=1, in_turns=device == "cpu")
    started = {
        quantity: [pool.submit(race, setting, shape, plan) for setting in settings]
        for quantity, settings in SWEEPS.items()
    }
    return tuple(
        Sweep(quantity, tuple(one.result() for one in races)) for quantity, races in started.items()
    )


def value(quantity: str, setting: Setting) -> int:
    """Where in its sweep a setting stands."""
    values = {
        "generations": setting.generations,
        "image tokens": setting.image_tokens,
        "completion tokens": setting.completion,
        "prompts": setting.prompts,
    }
    return values[quantity]
