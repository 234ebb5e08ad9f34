"""What a plan says of a step and of each card, in words and in plain values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CardPlan:
    """The verdict on a card: whether a step fits it, and by which settings.

    ``peak`` is the step's peak in GiB, ``room`` what the card can hold. ``settings`` are those that
    have to be turned, empty where it fits as it is, None where none of those tried is enough.
    """

    name: str
    peak: float
    room: float
    settings: tuple[str, ...] | None
    line: str


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The plan of a training step: its facts in lines, and each card that was asked for."""

    facts: str
    cards: tuple[CardPlan, ...]

    @property
    def fits(self) -> dict[str, bool]:
        """Return card -> whether a step fits it, with other settings if need be."""
        return {card.name: card.settings is not None for card in self.cards}

    def to_json(self) -> dict[str, Any]:
        """Return the facts as lines, and the cards with their peak and room in GiB."""
        return {
            "facts": self.facts.splitlines(),
            "cards": [dataclasses.asdict(card) for card in self.cards],
        }

    def __str__(self) -> str:
        """Return the lines that ``vrft plan`` prints."""
        return "\n".join([self.facts, *(card.line for card in self.cards)])
