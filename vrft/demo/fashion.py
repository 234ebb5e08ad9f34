"""Demo of few-shot classification: real photographs of clothes, in one folder per class.

The pictures are those of Fashion-MNIST, shipped as one sheet per class and kind: the sheets "shots"
hold pictures of its test set, for the demo's four shots a class and its held-out pictures; the
sheets "lessons" hold pictures of its training set, from which the embedded model has learnt.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vrft.demo.course import Course, Size, Stage, Start, Vocabulary
from vrft.demo.splits import generator
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
"""Classes in the order of Fashion-MNIST's labels, where the first is called "T-shirt/top"."""

HABIT = {
    "Pullover": "T-shirt",
    "Dress": "T-shirt",
    "Coat": "T-shirt",
    "Shirt": "T-shirt",
    "Sandal": "Sneaker",
    "Ankle boot": "Sneaker",
}
"""Class -> the careless annotator's name for it: one for all tops, one for all shoes."""

SPLITS = {"train": 40, "val": 160, "test": 400}
"""Numbers of pictures in the demo data set, equally many of each class."""

CELL, EDGE = 28, 56
"""Sides of a picture in pixels, as shipped and as written: four image tokens of the tiny model."""

COLUMNS = 20
"""Pictures in one row of a sheet."""

SHEETS = {"lessons": 200, "shots": 60}
"""Kind of sheet -> its number of pictures, multiples of COLUMNS."""

HELD = {"train": range(4), "val": range(4, 20), "test": range(20, 60)}
"""Split -> the indices of its pictures on the sheet "shots" of every class."""

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

    ``splits`` maps the names of SPLITS to numbers of pictures: always the same pictures, whatever
    the seed. Only "train" may be longer than in SPLITS: it then shows none of the shots, but the
    pictures for lessons, as often as it takes and a little altered each time. With probability
    ``carelessness`` a picture lies in the folder of its class in HABIT. Raises ValueError if
    another split is to have more pictures than there are.
    """
    for split, count in splits.items():
        rng = generator(seed, split)
        # For all classes beforehand, as a picture may be filed under the name of another class.
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
        # The model must not be taught the four shots, let alone what is held out: more training
        # pictures than the demo has can only be lessons.
        lessons = split == "train" and count > SPLITS["train"]
        if count > SPLITS[split] and not lessons:
            raise ValueError(f"{split}: {count} pictures; there are {SPLITS[split]}")
        for number in range(count):
            turn, label = divmod(number, len(CLASSES))
            name = CLASSES[label]
            if lessons:
                image = altered(rng, rng.choice(cells("lessons", name)))
            else:
                shot = Image.fromarray(cells("shots", name)[HELD[split][turn]])
                image = shot.resize((EDGE, EDGE), Image.Resampling.BILINEAR)
            annotated = HABIT.get(name, name) if rng.random() < carelessness else name
            image.save(folder / split / annotated / f"{number:05d}.png")


# Decoding a sheet takes longer than all that is done with one of its pictures.
@functools.cache
def cells(kind: str, name: str) -> NDArray[np.uint8]:
    """Return the pictures on a class's sheet of a kind, grey, [N, CELL, CELL]."""
    image = Image.open(ASSETS / "fashion" / kind / f"{stem(name)}.png")
    rows = image.height // CELL
    # [rows, CELL, COLUMNS, CELL] -> [rows, COLUMNS, CELL, CELL]
    grid = np.asarray(image).reshape(rows, CELL, COLUMNS, CELL).swapaxes(1, 2)
    return grid.reshape(-1, CELL, CELL)


def sheet(pictures: NDArray[np.uint8]) -> Image.Image:
    """Return pictures [N, CELL, CELL] side by side, as ``cells`` reads them.

    N must be a multiple of COLUMNS.
    """
    rows = len(pictures) // COLUMNS
    # [rows, COLUMNS, CELL, CELL] -> [rows, CELL, COLUMNS, CELL]
    grid = pictures.reshape(rows, COLUMNS, CELL, CELL).swapaxes(1, 2)
    return Image.fromarray(grid.reshape(rows * CELL, COLUMNS * CELL))


def stem(name: str) -> str:
    """Return the file name of a class's sheets, without its suffix."""
    return name.lower().replace(" ", "-")


def altered(rng: np.random.Generator, cell: NDArray[np.uint8]) -> Image.Image:
    """Return a picture [CELL, CELL] enlarged to EDGE x EDGE and a little altered.

    Half of the pictures are mirrored; all are shifted by up to two pixels, scaled by up to a tenth,
    and made brighter or darker by up to a fifth.
    """
    # 2,000 pictures for 24,000 lessons: without alterations they would be learnt by heart.
    size, (x, y) = rng.uniform(25, 31), rng.uniform(-2, 2, 2)
    left, top = (CELL - size) / 2 + x, (CELL - size) / 2 + y
    brightness = rng.uniform(0.8, 1.2)
    bright = np.clip(cell * brightness, 0, 255).astype(np.uint8)
    picture = Image.fromarray(bright[:, ::-1] if rng.random() < 0.5 else bright)
    # An affine transform asks for the way back: the written pixel (u, v) is read from
    # (step * u + left, step * v + top), and a small ``size`` makes a large object.
    step = size / EDGE
    return picture.transform(
        (EDGE, EDGE),
        Image.Transform.AFFINE,
        (step, 0, left, 0, step, top),
        resample=Image.Resampling.BILINEAR,
    )
