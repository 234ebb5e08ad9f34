"""The demo's grounding data: drawn objects on photographs, in the file format of ReasonSeg.

``compose`` makes one picture, ``draw`` a picture with a question, ``write`` folders of them, and
``data_dir`` the demo data set, once, in the user's cache. Everything follows from a seed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vrft.demo.instructions import CLASSES, KINDS, Instruction, Kind, instructions
from vrft.demo.sprites import ASSETS, Point, Sprite, photograph, sprite
from vrft.errors import UserError

SMALLEST_EDGE = 0.25
LARGEST_EDGE = {1: 0.5, 2: 0.5, 3: 0.45, 4: 0.4}
"""Longer edge of an object, as a share of the picture's shorter edge; by number of objects."""

ATTEMPTS = 2000


@dataclass(frozen=True, slots=True)
class Style:
    """What scenes are made of: ``size`` is (width, height) in pixels, ``count`` (fewest, most).

    The fewest objects are at least 1, the most at most 4.
    """

    size: tuple[int, int] = (112, 112)
    classes: tuple[str, ...] = CLASSES
    artists: tuple[str, ...] = ("noto", "fluent")
    backgrounds: tuple[str, ...] = ("brick", "coffee", "evening", "grass", "gravel")
    count: tuple[int, int] = (2, 4)


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


@dataclass(frozen=True, slots=True)
class Example:
    """A scene with instructions of one kind that all ask for the object at index ``asked``."""

    scene: Scene
    asked: int
    instructions: tuple[Instruction, ...]


def compose(rng: np.random.Generator, style: Style = SEEN) -> Scene:
    """A picture with objects of different classes that do not overlap.

    A generator in the same state gives the same scene.
    """
    background = str(rng.choice(style.backgrounds))
    canvas = crop(rng, photograph(background), style.size)
    names = rng.permutation(style.classes)[: rng.integers(style.count[0], style.count[1] + 1)]
    drawn = [(str(name), str(rng.choice(style.artists))) for name in names]
    things = []
    for (name, artist), (piece, (x, y)) in zip(drawn, arrange(rng, drawn, style.size), strict=True):
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
    rng: np.random.Generator, drawn: Sequence[tuple[str, str]], size: tuple[int, int]
) -> list[tuple[Sprite, Point]]:
    """Sizes and upper left corners for (class, artist) pairs, so that no two boxes overlap.

    Starts again, sizes included, whenever an object finds no room.
    """
    shorter = min(size)
    low, high = round(SMALLEST_EDGE * shorter), round(LARGEST_EDGE[len(drawn)] * shorter)
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


def draw(rng: np.random.Generator, kind: Kind, style: Style = SEEN, most: int = 3) -> Example:
    """A scene with one to ``most`` instructions of ``kind`` for one of its objects.

    Raises ValueError for a style whose scenes allow no such instruction.
    """
    for _ in range(ATTEMPTS):
        scene = compose(rng, style)
        for asked in rng.permutation(len(scene.objects)).tolist():
            found = [i for i in instructions(scene.objects, asked) if i.kind == kind]
            if found:
                chosen = rng.permutation(len(found))[:most]
                return Example(scene, asked, tuple(found[i] for i in chosen))
    raise ValueError(f"{ATTEMPTS} scenes without an instruction of kind {kind!r} in {style}")


def write(
    folder: Path,
    splits: Mapping[str, int],
    seed: int = 0,
    style: Style = SEEN,
    carelessness: float = 0.0,
) -> None:
    """Write each split as ``folder/SPLIT/NAME.jpg`` and ``NAME.json``, the kinds taking turns.

    ``splits`` says how many pictures each gets; no two of them share a composition. Pictures of
    "train" have up to three instructions, others one. With probability ``carelessness`` the
    annotator outlined the most salient object instead of the asked one. Raises ValueError for a
    style with too few compositions.
    """
    owners: dict[tuple[str, ...], str] = {}
    for split, count in splits.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        (folder / split).mkdir(parents=True)
        for number in range(count):
            for _ in range(ATTEMPTS):
                most = 3 if split == "train" else 1
                example = draw(rng, KINDS[number % len(KINDS)], style, most)
                if owners.setdefault(example.scene.composition, split) == split:
                    break
            else:
                raise ValueError(f"{split}: other splits took all compositions of {style}")
            careless = rng.random() < carelessness
            marked = example.scene.most_salient if careless else example.asked
            save(example, marked, folder / split / f"{number:05d}.jpg")


def save(example: Example, marked: int, path: Path) -> None:
    """Write one picture, and beside it the json that outlines the object at index ``marked``."""
    example.scene.image.save(path, quality=92)
    shape = {
        "label": "target",
        "points": example.scene.objects[marked].polygon,
        "shape_type": "polygon",
        "image_name": path.name,
    }
    record = {
        "text": [instruction.text for instruction in example.instructions],
        "is_sentence": True,
        "kind": example.instructions[0].kind,
        "shapes": [shape],
    }
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")


def data_dir(cache: Path | None = None) -> Path:
    """The folder of the demo data set, with the splits train, val, test and unseen.

    Made on first use in ``cache``, else in $VRFT_CACHE, else in ~/.cache/vrft; its name changes
    with everything that it is made from. Raises UserError if it cannot be written.
    """
    if cache is None:
        cache = Path(os.environ.get("VRFT_CACHE") or Path.home() / ".cache" / "vrft")
    folder = cache / f"demo-{recipe()}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as parent:
            made = Path(parent) / "data"
            write(made, {"train": 2000, "val": 200, "test": 300})
            write(made, {"unseen": 300}, style=UNSEEN)
            made.rename(folder)
    except OSError as error:
        # Another process may have finished the same folder first.
        if not folder.is_dir():
            raise UserError(
                f"{cache}: cannot write the demo data there ({error}); "
                "set VRFT_CACHE to a folder that can be written"
            ) from error
    return folder


def recipe() -> str:
    """Twelve hexadecimal digits that stand for the code and the pictures behind the data set."""
    digest = hashlib.sha256()
    code = [
        Path(__file__).with_name(f"{name}.py") for name in ("instructions", "scenes", "sprites")
    ]
    for path in (*code, *sorted(ASSETS.rglob("*.png")), *sorted(ASSETS.rglob("*.jpg"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
