"""The demos' pictures: drawn objects on photographs, composed from a seed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vrft.demo.instructions import CLASSES
from vrft.demo.sprites import Point, Sprite, photograph, sprite

SMALLEST_EDGE = 0.25
LARGEST_EDGE = {1: 0.5, 2: 0.5, 3: 0.45, 4: 0.4}
"""Longer edge of an object, as a share of the picture's shorter edge; by number of objects."""


@dataclass(frozen=True, slots=True)
class Style:
    """What scenes are made of: ``size`` is (width, height) in pixels, ``count`` (fewest, most).

    ``edges`` is (smallest, largest) longer edge of an object, as a share of the picture's shorter
    edge; None for SMALLEST_EDGE and LARGEST_EDGE, which are for 1 to 4 objects.
    """

    size: tuple[int, int] = (112, 112)
    classes: tuple[str, ...] = CLASSES
    artists: tuple[str, ...] = ("noto", "fluent")
    backgrounds: tuple[str, ...] = ("brick", "coffee", "evening", "grass", "gravel")
    count: tuple[int, int] = (2, 4)
    edges: tuple[float, float] | None = None


SEEN = Style()
"""The style of train, val and test."""

UNSEEN = Style(artists=("twemoji",), backgrounds=("park", "stars"))
"""An artist and backgrounds that no other split shows."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object of a scene; nothing covers it.

    ``box`` is (x1, y1, x2, y2) in pixels, x2 and y2 exclusive: the tight box of ``polygon``, the
    convex hull of its opaque pixels. ``salience`` is the number of those pixels.
    """

    name: str
    artist: str
    box: tuple[int, int, int, int]
    polygon: tuple[Point, ...]
    salience: int


@dataclass(frozen=True, slots=True)
class Scene:
    """An RGB picture and its objects, each of another class."""

    image: Image.Image
    background: str
    objects: tuple[Thing, ...]

    @property
    def most_salient(self) -> int:
        """The index of the largest object."""
        return max(range(len(self.objects)), key=lambda i: self.objects[i].salience)

    @property
    def composition(self) -> tuple[str, ...]:
        """What pictures of two splits never share: background, and classes from left to right."""
        ordered = sorted(self.objects, key=lambda thing: thing.box[0] + thing.box[2])
        return (self.background, *(thing.name for thing in ordered))


def compose(rng: np.random.Generator, style: Style = SEEN) -> Scene:
    """A picture with objects of different classes that do not overlap.

    A generator in the same state gives the same scene.
    """
    background = str(rng.choice(style.backgrounds))
    canvas = crop(rng, photograph(background), style.size)
    names = rng.permutation(style.classes)[: rng.integers(style.count[0], style.count[1] + 1)]
    drawn = [(str(name), str(rng.choice(style.artists))) for name in names]
    things = []
    edges = style.edges or (SMALLEST_EDGE, LARGEST_EDGE[len(drawn)])
    placed = arrange(rng, drawn, style.size, edges)
    for (name, artist), (piece, (x, y)) in zip(drawn, placed, strict=True):
        canvas.paste(piece.image, (x, y), piece.image)
        box = (x, y, x + piece.image.width, y + piece.image.height)
        polygon = tuple((x + px, y + py) for px, py in piece.polygon)
        things.append(Thing(name, artist, box, polygon, piece.area))
    return Scene(canvas, background, tuple(things))


def crop(rng: np.random.Generator, picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A random part of a picture, at least half as wide as could be, resized to ``size``."""
    largest = min(picture.width / size[0], picture.height / size[1])
    scale = largest * rng.uniform(0.5, 1.0)
    width, height = scale * size[0], scale * size[1]
    x, y = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    return picture.resize(size, Image.Resampling.BILINEAR, box=(x, y, x + width, y + height))


def arrange(
    rng: np.random.Generator,
    drawn: Sequence[tuple[str, str]],
    size: tuple[int, int],
    edges: tuple[float, float],
) -> list[tuple[Sprite, Point]]:
    """Sizes and upper left corners for (class, artist) pairs, so that no two boxes overlap.

    Starts again, sizes included, whenever an object finds no room.
    """
    low, high = (round(edge * min(size)) for edge in edges)
    while True:
        placed: list[tuple[Sprite, Point]] = []
        for name, artist in drawn:
            piece = sprite(name, artist, int(rng.integers(low, high + 1)))
            room = np.array(size) - piece.image.size + 1
            corners = (rng.random((20, 2)) * room).astype(int).tolist()
            free = ((x, y) for x, y in corners if is_free(piece, (x, y), placed))
            corner = next(free, None)
            if corner is None:
                break
            placed.append((piece, corner))
        else:
            return placed


def is_free(new: Sprite, corner: Point, placed: Sequence[tuple[Sprite, Point]]) -> bool:
    """Whether a sprite with its upper left corner there stays clear of those already placed."""
    x, y = corner
    return all(
        x >= left + old.image.width
        or left >= x + new.image.width
        or y >= top + old.image.height
        or top >= y + new.image.height
        for old, (left, top) in placed
    )


def owner(scene: Scene) -> str:
    """The split that a scene's composition belongs to, whatever the seed: train, val or test."""
    content = zlib.crc32(" ".join(scene.composition).encode()) % 10
    return {0: "val", 1: "test", 2: "test"}.get(content, "train")
