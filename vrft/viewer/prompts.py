"""Prompts and boxes as the app shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

from vrft.boxes import Box
from vrft.types import Prompt


def prompt_parts(prompt: Prompt) -> list[dict[str, str]]:
    """Return the turns of a prompt in order, each with its role and text.

    ``<image>`` marks the place of a picture; where no turn has one, the pictures come first.
    """
    system = [{"role": "system", "text": prompt.system}] if prompt.system is not None else []
    turns = [{"role": turn.role, "text": turn.text} for turn in prompt.turns]
    last = [{"role": "raw" if prompt.raw else "user", "text": prompt.text}]
    begun = [{"role": "assistant", "text": prompt.prefill}] if prompt.prefill else []
    return [*system, *turns, *last, *begun]


def boxes_of(boxes: Iterable[Box]) -> list[list[float]]:
    """Return boxes as [x1, y1, x2, y2] in fractions of the picture, to five decimals."""
    return [[round(value, 5) for value in astuple(box)] for box in boxes]


def as_json(value: Any) -> Any:
    """Return what was read from an answer as JSON takes it: a text, a number or a list."""
    return list(value) if isinstance(value, tuple) else value
