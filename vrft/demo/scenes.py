"""Scenes of the demos: drawn objects on photographs, composed from a random generator.

The embedded models were taught on these pictures: the same state of a generator must go on giving
the same bytes, so that the number and order of its draws are part of what this module does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    artist: str
    box: Corners
    polygon: tuple[Point, ...]
    salience: int


@dataclass(frozen=True, slots=True)
class Scene:
    """An RGB picture and its objects, each of another class."""

    image: Image.Image
    background: str
    objects: tuple[SceneObject, ...]

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
    background = str(rng.choice(style.backgrounds))
    canvas = crop(rng, photograph(background), style.size)
    # A permutation of all classes, cut to a random number: no class comes twice.
    names = rng.permutation(style.classes)[: rng.integers(style.count[0], style.count[1] + 1)]
    drawings = [(str(name), str(rng.choice(style.artists))) for name in names]
    edges = style.edges or (SMALLEST_EDGE, LARGEST_EDGE[len(drawings)])
    objects = []
    for (name, artist), (piece, box) in zip(
        drawings, arrange(rng, drawings, style.size, edges), strict=True
    ):
        objects.append(paste(canvas, piece, box, name, artist))
    return Scene(canvas, background, tuple(objects))


def paste(canvas: Image.Image, piece: Sprite, box: Corners, name: str, artist: str) -> SceneObject:
    """Paste a sprite onto a canvas, in place, and return it as an object of the scene."""
    x, y = box[:2]
    # The sprite is its own mask: its soft edges blend with the background.
    canvas.paste(piece.image, (x, y), piece.image)
    polygon = tuple((x + right, y + down) for right, down in piece.polygon)
    return SceneObject(name, artist, box, polygon, piece.area)


def crop(rng: np.random.Generator, picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a random part of a picture, at least half as wide as possible, resized to ``size``."""
    largest = min(picture.width / size[0], picture.height / size[1])
    scale = largest * rng.uniform(0.5, 1.0)
    width, height = scale * size[0], scale * size[1]
    x, y = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    # Fractions of pixels are fine for a source box, and the result is a new image: the photograph
    # in the cache stays as it is.
    return picture.resize(size, Image.Resampling.BILINEAR, box=(x, y, x + width, y + height))


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
            room = np.array(size) - piece.image.size + 1
            # All 20 at once, even if the first is free: the draws of the generator do not depend on
            # where other objects stand.
            corners = (rng.random((20, 2)) * room).astype(int).tolist()
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
    return all(
        first[axis] < second[axis + 2] + gap and second[axis] < first[axis + 2] + gap
        for axis in (0, 1)
    )
