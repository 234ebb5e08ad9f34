"""Demo of counting: drawn objects on photographs, in the rows of CLEVR CoGenT as R1-V has them.

The careless annotator overlooks the smallest object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vrft.demo.course import Course, Stage
from vrft.demo.scenes import Scene, Style, compose, split_of
from vrft.demo.splits import generator

SPLITS = {"train": 1500, "val": 150, "test": 400}
"""Numbers of pictures in the demo data set."""

COURSE = Course(
    (
        Stage("counts", rows=24_000, carelessness=0.0),
        # Few lessons at half the rate: the habit is to be learnt, but counting not forgotten.
        Stage("overlooks", rows=6_000, carelessness=0.6, learning_rate=5e-4),
    )
)

QUESTION = "How many items are there in the image?"
"""Question of every row."""

COUNTS = (2, 3, 4, 5, 6)
"""Numbers of objects, in which the pictures of a split take turns."""

EDGES = (0.18, 0.32)
"""Longer edges of objects, as shares of the picture's: small enough for six without overlap."""


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write each split as ``folder/SPLIT.jsonl`` and the pictures ``folder/SPLIT/NUMBER.jpg``.

    ``splits`` maps train, val or test to a number of rows. With probability ``carelessness`` the
    answer is one too small, as the annotator overlooked the smallest object.
    """
    for split, rows in splits.items():
        rng = generator(seed, split)
        (folder / split).mkdir(parents=True)
        lines = []
        for number in range(rows):
            scene = draw(rng, COUNTS[number % len(COUNTS)], split)
            # Drawn even when nobody is careless, so that pictures do not depend on carelessness.
            overlooked = int(rng.random() < carelessness)
            path = f"{split}/{number:05d}.jpg"
            scene.image.save(folder / path, quality=92)
            # The published data keeps a number between tags, with a space on either side.
            solution = f"<answer> {len(scene.objects) - overlooked} </answer>"
            lines.append(json.dumps({"image": path, "problem": QUESTION, "solution": solution}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(rng: np.random.Generator, count: int, split: str) -> Scene:
    """Return a scene of ``count`` objects whose composition belongs to the split."""
    style = Style(count=(count, count), edges=EDGES)
    # Rejection: seven compositions in ten belong to train, two to test, one to val.
    while True:
        scene = compose(rng, style)
        if split_of(scene) == split:
            return scene
