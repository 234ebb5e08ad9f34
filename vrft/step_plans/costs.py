"""The costs of a step: operations, bytes moved and seconds, by part of the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vrft.step_plans.account import Place, Work
from vrft.step_plans.cards import REACHED, REACHED_BANDWIDTH, Card
from vrft.step_plans.rehearsal import Rehearsal

TERA = 1e12
GIGA = 1e9

HALVES = {"prefill": "rollout", "decode": "rollout", "forward": "update", "backward": "update"}
"""The half of a step that a phase belongs to."""


@dataclass(frozen=True)
class Cost:
    """Operations and bytes that are read or written."""

    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


def repeats(rehearsal: Rehearsal, place: Place, updates: int, references: int) -> float:
    """Return how often a phase that was rehearsed once happens in a step.

    ``updates`` are the optimizer steps of one batch; ``references`` the further forward passes,
    such as those of a reference model.
    """
    if place.phase == "prefill":
        return 1.0
    if place.phase == "decode":
        return rehearsal.decoded
    if place == Place("forward", "vision"):
        return rehearsal.passes * (updates * rehearsal.vision_again + references)
    if place.phase == "forward":
        return rehearsal.passes * (updates + references)
    return rehearsal.passes * updates


def costs(
    rehearsal: Rehearsal, updates: int = 1, references: int = 0
) -> dict[tuple[str, str], Cost]:
    """Return the costs of a step by half ("rollout", "update") and part of the model."""
    by_part: dict[tuple[str, str], Cost] = defaultdict(Cost)
    for place, work in rehearsal.work.items():
        times = repeats(rehearsal, place, updates, references)
        flops, moved = sum(item.flops for item in work), sum(item.bytes for item in work)
        by_part[HALVES[place.phase], place.part] += Cost(times * flops, times * moved)
    return dict(by_part)


def seconds(
    rehearsal: Rehearsal, card: Card, updates: int = 1, references: int = 0
) -> dict[str, float]:
    """Return the seconds of a step's rollout and update on a card.

    Each operator takes as long as its products or its bytes, whichever is slower, at the shares of
    the card's published rates that are taken to be reached. What devices exchange is left out.
    """
    taken: dict[str, float] = defaultdict(float)
    for place, work in rehearsal.work.items():
        times = repeats(rehearsal, place, updates, references)
        taken[HALVES[place.phase]] += times * sum(operator_seconds(work, card))
    return dict(taken)


def operator_seconds(work: Sequence[Work], card: Card) -> Iterator[float]:
    """Yield the seconds of each operator on a card."""
    bandwidth = REACHED_BANDWIDTH * card.bandwidth * GIGA
    for flops, moved, wide in work:
        rate = REACHED * (card.wide if wide else card.half) * TERA
        yield max(flops / rate, moved / bandwidth)
