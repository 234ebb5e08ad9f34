"""Scenes of the demos: drawn objects on photographs, composed from a random generator.

The embedded models were taught on these pictures: the same state of a generator must go on giving
the same bytes, so that the number and order of its draws are part of what this module does.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from vrft.demo.instructions import CLASSES
from vrft.demo.splits import split_by_hash
from vrft.demo.sprites import Point, Sprite, photograph, sprite

Corners = tuple[int, int, int, int]
"""Box (x1, y1, x2, y2) in pixels, x2 and y2 exclusive."""

SMALLEST_EDGE = 0.25
"""Smallest longer edge of an object, as a share of the picture's shorter edge."""

LARGEST_EDGE = {1: 0.5, 2: 0.5, 3: 0.45, 4: 0.4}
"""Number of objects -> largest longer edge of each, as a share of the picture's shorter edge."""


@dataclass(frozen=True, slots=True)
class Style:
    """A style of scenes: ``size`` is (width, height) in pixels, ``count`` (fewest, most) objects.

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
"""Style of train, val and test."""

UNSEEN = Style(artists=("twemoji",), backgrounds=("park", "stars"))
"""Style with an artist and backgrounds that no other split shows."""


@dataclass(frozen=True, slots=True)
class SceneObject:
    """An object of a scene, covered by no other.

    ``box`` is the tight box of ``polygon``, the convex hull of the object's opaque pixels.
    ``salience`` is the number of these pixels.
    """

    name: str
    box: Corners
    polygon: tuple[Point, ...]
    salience: int


@dataclass(frozen=True)
class Canvas:
    """A picture of ``size`` (width, height) that is painted when it is first looked at.

    Most scenes are drawn only to be refused, by their objects alone. ``part`` is what is shown of
    the photograph: a box (x1, y1, x2, y2) in its pixels, which may end between two of them.
    """

    photograph: Image.Image
    part: tuple[float, float, float, float]
    size: tuple[int, int]
    pieces: list[tuple[Image.Image, tuple[int, int]]] = field(default_factory=list)
    """Drawings, each with the place of its upper left corner, in the order of their pasting."""

    @functools.cached_property
    def image(self) -> Image.Image:
        """Return the painted picture, RGB, the same object at each look."""
        # A new image: the photograph, which others share, stays as it is.
        image = self.photograph.resize(self.size, Image.Resampling.BILINEAR, box=self.part)
        for piece, corner in self.pieces:
            # A drawing is its own mask: its soft edges blend with the background.
            image.paste(piece, corner, piece)
        return image


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and its objects, each of another class."""

    canvas: Canvas
    background: str
    objects: tuple[SceneObject, ...]

    @property
    def image(self) -> Image.Image:
        """Return the picture, RGB, painted at the first look; it may be drawn upon."""
        return self.canvas.image

    @property
    def most_salient(self) -> int:
        """Return the index of the largest object, which careless annotators mark."""
        return max(range(len(self.objects)), key=lambda i: self.objects[i].salience)

    @property
    def composition(self) -> tuple[str, ...]:
        """Return the background and the classes from left to right; no two splits share them."""
        # By twice the x of the centres: integers, so that no rounding decides on an order.
        ordered = sorted(self.objects, key=lambda shown: shown.box[0] + shown.box[2])
        return (self.background, *(shown.name for shown in ordered))


def split_of(scene: Scene) -> str:
    """Return the split, train, val or test, to which a scene's composition belongs."""
    return split_by_hash(" ".join(scene.composition), parts=10)


def compose(rng: np.random.Generator, style: Style = SEEN) -> Scene:
    """Return a scene of objects of different classes that do not overlap.

    A generator in the same state gives the same scene.
    """
    background = choice(rng, style.backgrounds)
    canvas = crop(rng, photograph(background), style.size)
    # A permutation of all classes, cut to a random number: no class comes twice.
    order = rng.permutation(len(style.classes)).tolist()
    count = int(rng.integers(style.count[0], style.count[1] + 1))
    drawings = [(style.classes[i], choice(rng, style.artists)) for i in order[:count]]
    edges = style.edges or (SMALLEST_EDGE, LARGEST_EDGE[len(drawings)])
    placed = arrange(rng, drawings, style.size, edges)
    objects = []
    for (name, _), (piece, box) in zip(drawings, placed, strict=True):
        objects.append(paste(canvas, piece, box, name))
    return Scene(canvas, background, tuple(objects))


def choice(rng: np.random.Generator, names: Sequence[str]) -> str:
    """Return one of ``names``, by the draw of ``rng.choice``, which makes an array of them."""
    return names[int(rng.integers(len(names)))]


def paste(canvas: Canvas, piece: Sprite, box: Corners, name: str) -> SceneObject:
    """Paste a sprite onto a canvas, in place, and return it as an object of the scene."""
    x, y = box[:2]
    canvas.pieces.append((piece.image, (x, y)))
    polygon = tuple((x + right, y + down) for right, down in piece.polygon)
    return SceneObject(name, box, polygon, piece.area)


def crop(rng: np.random.Generator, picture: Image.Image, size: tuple[int, int]) -> Canvas:
    """Return a canvas of a random part of a picture, at least half as wide as possible."""
    largest = min(picture.width / size[0], picture.height / size[1])
    scale = largest * rng.uniform(0.5, 1.0)
    width, height = scale * size[0], scale * size[1]
    x, y = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    return Canvas(picture, (x, y, x + width, y + height), size)


def arrange(
    rng: np.random.Generator,
    drawings: Sequence[tuple[str, str]],
    size: tuple[int, int],
    edges: tuple[float, float],
) -> list[tuple[Sprite, Corners]]:
    """Return (class, artist) pairs as sprites of random sizes, with boxes that do not overlap."""
    low, high = (round(edge * min(size)) for edge in edges)
    # All objects are drawn again, sizes included, whenever one finds no room among 20 corners: an
    # earlier object may stand where nothing fits beside it.
    while True:
        placed: list[tuple[Sprite, Corners]] = []
        for name, artist in drawings:
            piece = sprite(name, artist, int(rng.integers(low, high + 1)))
            width, height = piece.image.size
            across, down = size[0] - width + 1, size[1] - height + 1
            # All 20 at once, even if the first is free: the draws of the generator do not depend on
            # where other objects stand.
            corners = ((int(x * across), int(y * down)) for x, y in rng.random((20, 2)).tolist())
            boxes = ((x, y, x + width, y + height) for x, y in corners)
            free = (box for box in boxes if not any(overlap(box, other) for _, other in placed))
            box = next(free, None)
            if box is None:
                break
            placed.append((piece, box))
        else:
            return placed


def overlap(first: Corners, second: Corners, gap: int = 0) -> bool:
    """Return whether two boxes lie less than ``gap`` pixels apart on both axes.

    Without a gap these are boxes that share a pixel.
    """
    (a1, b1, a2, b2), (c1, d1, c2, d2) = first, second
    return a1 < c2 + gap and c1 < a2 + gap and b1 < d2 + gap and d1 < b2 + gap
