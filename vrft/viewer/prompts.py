"""Prompts, boxes and shapes as the app shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

from PIL import Image

from vrft.boxes import Box
from vrft.errors import PictureError
from vrft.images import image_size
from vrft.masks import Polygon, Region
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


def shapes_of(
    region: Region | None, picture: Path | Image.Image | None
) -> dict[str, list[list[list[float]]]]:
    """Return the polygons of a region in a picture, ``true`` and ``ignored``: points in fractions.

    {} without a region, and where the picture cannot be read: the picture's own sheet says so.
    """
    if region is None or picture is None:
        return {}
    try:
        width, height = image_size(picture)
    except PictureError:
        return {}

    def fractions(polygons: Iterable[Polygon]) -> list[list[list[float]]]:
        return [[[round(x / width, 5), round(y / height, 5)] for x, y in p] for p in polygons]

    return {"true": fractions(region.wanted), "ignored": fractions(region.ignored)}
