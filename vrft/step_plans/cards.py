"""Graphics cards by name: their published rates, and the share of them that a step reaches."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vrft import paths
from vrft.errors import UserError

GIB = 2**30

REACHED = 0.5
"""The share of the published rate of products that a step is taken to reach."""

REACHED_BANDWIDTH = 0.7
"""The share of the published memory bandwidth."""

FRAGMENTS = 0.05
"""The share of a card's memory that is lost between the tensors that lie in it."""

CONTEXT = GIB
"""Bytes that CUDA's context, its kernels and cuBLAS's workspace take."""


@dataclass(frozen=True)
class Card:
    """A card as its data sheet has it, without sparsity.

    ``memory`` in GiB, ``half`` and ``wide`` in TFLOP/s of products in bfloat16 (accumulated in
    float32) and in float32, ``bandwidth`` in GB/s.
    """

    name: str
    memory: float
    half: float
    wide: float
    bandwidth: float

    @property
    def room(self) -> float:
        """Return the bytes that a step may hold."""
        return usable(self.memory)


CARDS = {
    card.name: card
    for card in (
        Card("B200", 180, 2250, 75, 7700),
        Card("H200", 141, 989, 67, 4800),
        Card("H100", 80, 989, 67, 3350),
        Card("A100", 80, 312, 19.5, 2039),
        Card("A100-40GB", 40, 312, 19.5, 1555),
        Card("RTX6000", 48, 364, 91.1, 960),
        Card("L40S", 48, 362, 91.6, 864),
        Card("A6000", 48, 155, 38.7, 768),
        Card("5090", 32, 210, 104.8, 1792),
        Card("4090", 24, 165, 82.6, 1008),
        Card("3090", 24, 71, 35.6, 936),
        Card("A10", 24, 125, 31.2, 600),
        Card("L4", 24, 121, 30.3, 300),
    )
}
"""Cards by name: the SXM form where there are several. RTX6000 is that of the Ada generation."""


def usable(memory: float) -> float:
    """Return the bytes that a step may hold in so many GiB."""
    return memory * GIB * (1 - FRAGMENTS) - CONTEXT


def read(text: str) -> tuple[float, tuple[Card, ...]]:
    """Return a memory in GiB and the cards meant by a name, or by a size such as 24GB.

    A size means every card that has it, which may be none. Raises UserError for another text.
    """
    size = re.fullmatch(r"(\d{1,4})\s?Gi?B", text, re.IGNORECASE)
    if size:
        memory = float(size[1])
        if not memory:
            raise UserError(f"--gpu {text}: a card without memory; give its size, such as 24GB")
        return memory, tuple(card for card in CARDS.values() if card.memory == memory)
    for name, card in CARDS.items():
        if name.lower() == text.lower().removeprefix("rtx").strip(" -_") or name == text.upper():
            return card.memory, (card,)
    raise UserError(f"--gpu {text}: no such card; {paths.suggest(text, [*CARDS, '24GB', '80GB'])}")
