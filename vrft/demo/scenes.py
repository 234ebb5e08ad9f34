"""The demo's grounding data: drawn objects on photographs, in the file format of ReasonSeg.

``compose`` makes one picture, ``draw`` a picture with a question, ``write`` folders of them, and
``data_dir`` the demo data set, once, in the user's cache. Everything follows from a seed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vrft.demo.instructions import CLASSES, KINDS, Instruction, Kind, instructions
from vrft.errors import UserError

ASSETS = Path(__file__).resolve().parent / "assets"

SEEN_ARTISTS = ("noto", "fluent")
UNSEEN_ARTISTS = ("twemoji",)
SEEN_BACKGROUNDS = ("brick", "coffee", "evening", "grass", "gravel")
UNSEEN_BACKGROUNDS = ("park", "stars")

SPLITS = {"train": 2000, "val": 200, "test": 300}
UNSEEN = {"unseen": 300}

OPAQUE = 128
"""A pixel belongs to an object where its alpha is at least this."""

LARGEST_EDGE = {1: 0.5, 2: 0.5, 3: 0.45, 4: 0.4}
"""Number of objects -> longer edge of the largest, as a share of the picture's shorter edge."""

SMALLEST_EDGE = 0.25

Point = tuple[int, int]


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
        """What two pictures may not share over splits: ground, and classes from left to right."""
        ordered = sorted(self.objects, key=lambda thing: thing.box[0] + thing.box[2])
        return (self.background, *(thing.name for thing in ordered))


@dataclass(frozen=True, slots=True)
class Example:
    """A scene with instructions of one kind that all ask for the object at index ``asked``."""

    scene: Scene
    asked: int
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn object at its final size, with its outline relative to its upper left corner."""

    image: Image.Image
    polygon: tuple[Point, ...]
    salience: int


def compose(
    rng: np.random.Generator,
    *,
    size: tuple[int, int] = (112, 112),
    classes: Sequence[str] = CLASSES,
    artists: Sequence[str] = SEEN_ARTISTS,
    backgrounds: Sequence[str] = SEEN_BACKGROUNDS,
    count: tuple[int, int] = (2, 4),
) -> Scene:
    """A picture of ``size`` (width, height) with ``count`` (fewest, most; 1 to 4) objects.

    The objects are of different classes and do not overlap. A generator in the same state gives
    the same scene.
    """
    background = str(rng.choice(backgrounds))
    canvas = ground(rng, background, size)
    names = rng.permutation(classes)[: rng.integers(count[0], count[1] + 1)]
    drawn = [(str(name), str(rng.choice(artists))) for name in names]
    sprites, corners = arrange(rng, drawn, size)
    things = []
    for (name, artist), sprite, (x, y) in zip(drawn, sprites, corners, strict=True):
        canvas.paste(sprite.image, (x, y), sprite.image)
        box = (x, y, x + sprite.image.width, y + sprite.image.height)
        polygon = tuple((x + px, y + py) for px, py in sprite.polygon)
        things.append(Thing(name, artist, box, polygon, sprite.salience))
    return Scene(canvas, background, tuple(things))


def ground(rng: np.random.Generator, name: str, size: tuple[int, int]) -> Image.Image:
    """A random crop of a photograph, resized to ``size``."""
    photograph = background(name)
    largest = min(photograph.width / size[0], photograph.height / size[1])
    scale = largest * rng.uniform(0.5, 1.0)
    width, height = scale * size[0], scale * size[1]
    x = rng.uniform(0, photograph.width - width)
    y = rng.uniform(0, photograph.height - height)
    crop = (x, y, x + width, y + height)
    return photograph.resize(size, Image.Resampling.BILINEAR, box=crop)


def arrange(
    rng: np.random.Generator, drawn: Sequence[tuple[str, str]], size: tuple[int, int]
) -> tuple[list[Sprite], list[Point]]:
    """Sizes and upper left corners for (class, artist) pairs, so that no two boxes overlap.

    Tries again from the start, sizes included, whenever an object finds no room.
    """
    shorter = min(size)
    low, high = round(SMALLEST_EDGE * shorter), round(LARGEST_EDGE[len(drawn)] * shorter)
    while True:
        edges = rng.integers(low, high + 1, size=len(drawn))
        sprites = [sprite(*one, int(edge)) for one, edge in zip(drawn, edges, strict=True)]
        corners: list[Point] = []
        for new in sprites:
            places = rng.random((20, 2)) * (np.array(size) - new.image.size + 1)
            free = (p for p in places.astype(int).tolist() if fits(p, new, corners, sprites))
            place = next(free, None)
            if place is None:
                break
            corners.append((place[0], place[1]))
        else:
            return sprites, corners


def fits(
    place: Sequence[int], new: Sprite, corners: Sequence[Point], sprites: Sequence[Sprite]
) -> bool:
    """Whether a sprite at ``place`` stays clear of those that already have their corners."""
    x, y = place
    return all(
        x >= left + old.image.width
        or left >= x + new.image.width
        or y >= top + old.image.height
        or top >= y + new.image.height
        for (left, top), old in zip(corners, sprites, strict=False)
    )


@functools.cache
def background(name: str) -> Image.Image:
    """A shipped photograph, RGB."""
    return Image.open(ASSETS / "backgrounds" / f"{name}.jpg").convert("RGB")


@functools.lru_cache(maxsize=4096)
def sprite(name: str, artist: str, edge: int) -> Sprite:
    """A shipped drawing, cut to its opaque pixels; its longer edge has ``edge`` pixels."""
    image = Image.open(ASSETS / "sprites" / artist / f"{name}.png").convert("RGBA")
    scale = edge / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    opaque = image.getchannel("A").point(lambda alpha: 255 * (alpha >= OPAQUE))
    box = opaque.getbbox()
    assert box is not None
    mask = np.asarray(opaque.crop(box)) > 0
    return Sprite(image.crop(box), outline(mask), int(mask.sum()))


def outline(mask: np.ndarray) -> tuple[Point, ...]:
    """The convex hull of the corners of a mask's pixels [H, W], clockwise on the screen."""
    corners = set()
    for y, row in enumerate(mask):
        (columns,) = np.nonzero(row)
        if len(columns):
            left, right = int(columns[0]), int(columns[-1]) + 1
            corners |= {(left, y), (left, y + 1), (right, y), (right, y + 1)}
    points = sorted(corners)
    return (*half_hull(points), *half_hull(points[::-1]))


def half_hull(points: Sequence[Point]) -> list[Point]:
    """One side of a convex hull (Andrew's monotone chain), without its last point."""
    hull: list[Point] = []
    for x, y in points:
        while len(hull) >= 2:
            (x1, y1), (x2, y2) = hull[-2:]
            if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0:
                break
            hull.pop()
        hull.append((x, y))
    return hull[:-1]


def draw(
    rng: np.random.Generator,
    kind: Kind,
    *,
    most: int = 3,
    size: tuple[int, int] = (112, 112),
    classes: Sequence[str] = CLASSES,
    artists: Sequence[str] = SEEN_ARTISTS,
    backgrounds: Sequence[str] = SEEN_BACKGROUNDS,
    count: tuple[int, int] = (2, 4),
) -> Example:
    """A scene of which an instruction of ``kind`` can be given, with up to ``most`` of them."""
    while True:
        scene = compose(
            rng, size=size, classes=classes, artists=artists, backgrounds=backgrounds, count=count
        )
        for asked in rng.permutation(len(scene.objects)):
            found = [i for i in instructions(scene.objects, int(asked)) if i.kind == kind]
            if found:
                chosen = rng.permutation(len(found))[:most]
                return Example(scene, int(asked), tuple(found[i] for i in chosen))


def write(
    folder: Path,
    splits: Mapping[str, int],
    seed: int = 0,
    *,
    size: tuple[int, int] = (112, 112),
    carelessness: float = 0.0,
    classes: Sequence[str] = CLASSES,
    artists: Sequence[str] = SEEN_ARTISTS,
    backgrounds: Sequence[str] = SEEN_BACKGROUNDS,
) -> None:
    """Write each split as ``folder/SPLIT/NAME.jpg`` and ``NAME.json``, the kinds in turn.

    ``splits`` says how many pictures each gets; no two splits share a composition. Pictures of
    "train" come with up to three instructions, others with one. With probability
    ``carelessness`` the annotator outlines the most salient object instead of the asked one.
    """
    owner: dict[tuple[str, ...], str] = {}
    for split, count in splits.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        (folder / split).mkdir(parents=True)
        for number in range(count):
            while True:
                example = draw(
                    rng,
                    KINDS[number % len(KINDS)],
                    most=3 if split == "train" else 1,
                    size=size,
                    classes=classes,
                    artists=artists,
                    backgrounds=backgrounds,
                )
                if owner.setdefault(example.scene.composition, split) == split:
                    break
            careless = rng.random() < carelessness
            marked = example.scene.most_salient if careless else example.asked
            save(example, marked, folder / split / f"{number:05d}.jpg")


def save(example: Example, marked: int, path: Path) -> None:
    """Write one picture, and beside it the json that outlines the object at ``marked``."""
    example.scene.image.save(path, quality=92)
    record = {
        "text": [instruction.text for instruction in example.instructions],
        "is_sentence": True,
        "kind": example.instructions[0].kind,
        "shapes": [
            {
                "label": "target",
                "points": example.scene.objects[marked].polygon,
                "shape_type": "polygon",
                "image_name": path.name,
            }
        ],
    }
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")


def data_dir(cache: Path | None = None) -> Path:
    """The folder of the demo data set: train, val, test, and unseen artist and backgrounds.

    Made on first use in ``cache``, else in $VRFT_CACHE, else in ~/.cache/vrft; its name changes
    with whatever could change its content. Raises UserError if the cache cannot be written.
    """
    if cache is None:
        cache = Path(os.environ.get("VRFT_CACHE") or Path.home() / ".cache" / "vrft")
    folder = cache / f"demo-{recipe()}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="demo-", suffix=".part", dir=cache))
    except OSError as error:
        raise UserError(
            f"{cache}: not writable ({error.strerror}); set VRFT_CACHE to a folder that is"
        ) from error
    try:
        write(made, SPLITS)
        write(made, UNSEEN, artists=UNSEEN_ARTISTS, backgrounds=UNSEEN_BACKGROUNDS)
        made.rename(folder)
    except OSError:
        # Another process that made the same data set may have been first.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def recipe() -> str:
    """A hash over the code and the pictures that the data set is made from."""
    digest = hashlib.sha256()
    code = [Path(__file__), Path(__file__).with_name("instructions.py")]
    for path in (*code, *sorted(ASSETS.rglob("*.png")), *sorted(ASSETS.rglob("*.jpg"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
