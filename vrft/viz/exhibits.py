"""The nouns of looking: a box to be drawn, an answer, and a sample with its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vrft.boxes import Box
from vrft.viz.palette import PREDICTED, TRUTH

TRUE = "true"
"""The label of true boxes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A box with its label and colour."""

    box: Box
    label: str
    colour: str

    @property
    def is_true(self) -> bool:
        """Return whether this is a true box, which its label "true" says."""
        return self.label == TRUE


@dataclass(frozen=True, slots=True)
class Answer:
    """The raw text of an answer to be shown, with its metrics in [0, 1] and its boxes."""

    name: str
    """The giver of the answer: "answer", or "before" and "after" in a comparison."""
    text: str
    metrics: Mapping[str, float]
    readable: bool
    colour: str = PREDICTED
    boxes: tuple[Box, ...] = ()
    """The boxes that were read from the text; () for a task that is not about boxes."""

    @property
    def caption(self) -> str:
        """Return the metrics in percent, after a word on an answer that is unreadable."""
        shown = " · ".join(f"{name} {100 * value:.1f}" for name, value in self.metrics.items())
        return shown if self.readable else f"unreadable · {shown}"


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A sample ready to be shown: its id, question and picture, the true boxes and the answers."""

    name: str
    question: str
    answers: tuple[Answer, ...]
    image: Path | Image.Image | None = None
    truth: tuple[Box, ...] = ()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Return the marks of all boxes, the true ones first, so that answers lie on top."""
        answered = [Mark(box, a.name, a.colour) for a in self.answers for box in a.boxes]
        return (*(Mark(box, TRUE, TRUTH) for box in self.truth), *answered)
