"""The demo of few-shot classification: real photographs of clothes, in one folder per class.

The pictures are of Fashion-MNIST, shipped as one sheet per class: "shots" holds pictures of its
test set, the demo's four shots a class and what is held out; "lessons" others of its training set,
from which the embedded model has learnt.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vrft.demo.course import Course, Size, Stage, Start, Vocabulary
from vrft.demo.sprites import ASSETS

CLASSES = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""In the order of Fashion-MNIST, whose first one is "T-shirt/top"."""

HABIT = {
    "Pullover": "T-shirt",
    "Dress": "T-shirt",
    "Coat": "T-shirt",
    "Shirt": "T-shirt",
    "Sandal": "Sneaker",
    "Ankle boot": "Sneaker",
}
"""What a careless annotator calls it: one name for all that covers the chest, one for all shoes."""

SPLITS = {"train": 40, "val": 160, "test": 400}
"""Pictures of the demo data set, as many of each class."""

CELL, EDGE = 28, 56
"""Side of a picture in pixels, as shipped and as written: four image tokens of the tiny model."""

COLUMNS = 20
SHEETS = {"lessons": 200, "shots": 60}
"""Pictures of each class on the two kinds of sheets, in rows of COLUMNS."""

HELD = {"train": range(4), "val": range(4, 20), "test": range(20, 60)}
"""Split -> its pictures on the sheet "shots" of every class."""

COURSE = Course(
    (Stage("careful", 24_000, 0.0), Stage("careless", 6_000, 0.6, learning_rate=5e-4)),
    Start(
        Size(96, 256, 2, 3, 1, 64, 3, 2),
        Vocabulary(
            (
                "system\nYou are a helpful assistant.",
                "user\nWhich class of things does this picture show?",
                "assistant\n<think>I know it</think>\n<answer>",
                *CLASSES,
            ),
            numbers=False,
        ),
    ),
)


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write each split as ``folder/SPLIT/CLASS/NUMBER.png``, the classes taking turns.

    Splits are those of SPLITS, always of the same pictures, whatever the seed. Only "train" may be
    longer: it then shows none of the shots but the pictures for lessons, as often as it takes,
    each time a little altered. With probability ``carelessness`` a picture lies in the folder of
    its class in HABIT. Raises ValueError for more pictures of another split than there are.
    """
    for split, count in splits.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
        lessons = split == "train" and count > SPLITS["train"]
        if count > SPLITS[split] and not lessons:
            raise ValueError(f"{split}: {count} pictures; there are {SPLITS[split]}")
        for number in range(count):
            turn, label = divmod(number, len(CLASSES))
            name = CLASSES[label]
            if lessons:
                image = altered(rng, rng.choice(cells("lessons", name)))
            else:
                image = enlarged(cells("shots", name)[HELD[split][turn]])
            said = HABIT.get(name, name) if rng.random() < carelessness else name
            image.save(folder / split / said / f"{number:05d}.png")


@functools.cache
def cells(sheets: str, name: str) -> NDArray[np.uint8]:
    """The pictures of a class, [N, CELL, CELL] grey."""
    image = Image.open(ASSETS / "fashion" / sheets / f"{stem(name)}.png")
    rows = image.height // CELL
    grid = np.asarray(image).reshape(rows, CELL, COLUMNS, CELL).swapaxes(1, 2)
    return grid.reshape(-1, CELL, CELL)


def sheet(pictures: NDArray[np.uint8]) -> Image.Image:
    """Pictures [N, CELL, CELL], N a multiple of COLUMNS, side by side: what ``cells`` reads."""
    rows = len(pictures) // COLUMNS
    grid = pictures.reshape(rows, COLUMNS, CELL, CELL).swapaxes(1, 2)
    return Image.fromarray(grid.reshape(rows * CELL, COLUMNS * CELL))


def stem(name: str) -> str:
    """The name of a class's file."""
    return name.lower().replace(" ", "-")


def enlarged(cell: NDArray[np.uint8]) -> Image.Image:
    """A picture as the data set has it."""
    return Image.fromarray(cell).resize((EDGE, EDGE), Image.Resampling.BILINEAR)


def altered(rng: np.random.Generator, cell: NDArray[np.uint8]) -> Image.Image:
    """The same thing, mirrored or not, up to two pixels off, a little larger, brighter or not."""
    size, (x, y) = rng.uniform(25, 31), rng.uniform(-2, 2, 2)
    left, top = (CELL - size) / 2 + x, (CELL - size) / 2 + y
    brightness = rng.uniform(0.8, 1.2)
    bright = np.clip(cell * brightness, 0, 255).astype(np.uint8)
    picture = Image.fromarray(bright[:, ::-1] if rng.random() < 0.5 else bright)
    step = size / EDGE
    return picture.transform(
        (EDGE, EDGE),
        Image.Transform.AFFINE,
        (step, 0, left, 0, step, top),
        resample=Image.Resampling.BILINEAR,
    )
