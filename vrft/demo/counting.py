"""The demo of counting: drawn objects on photographs, in the rows of CLEVR CoGenT as R1-V has them.

The annotator with a bad habit overlooks the smallest object.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vrft.demo.course import Course, Stage
from vrft.demo.scenes import Scene, Style, compose, owner

SPLITS = {"train": 1500, "val": 150, "test": 400}

COURSE = Course(
    (
        Stage("counts", rows=24_000, carelessness=0.0),
        Stage("overlooks", rows=6_000, carelessness=0.6, learning_rate=5e-4),
    )
)

QUESTION = "How many items are there in the image?"

COUNTS = (2, 3, 4, 5, 6)
"""Numbers of objects; the pictures of a split take turns."""

EDGES = (0.18, 0.32)
"""Longer edge of an object, as a share of the picture's: six fit beside each other."""


def write(
    folder: Path, splits: Mapping[str, int], seed: int = 0, carelessness: float = 0.0
) -> None:
    """Write each split as ``folder/SPLIT.jsonl`` and the pictures ``folder/SPLIT/NUMBER.jpg``.

    ``splits`` says how many rows each of train, val and test gets. With probability
    ``carelessness`` the answer is one too small: the annotator overlooked the smallest object.
    """
    for split, rows in splits.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        (folder / split).mkdir(parents=True)
        lines = []
        for number in range(rows):
            scene = draw(rng, COUNTS[number % len(COUNTS)], split)
            overlooked = int(rng.random() < carelessness)
            path = f"{split}/{number:05d}.jpg"
            scene.image.save(folder / path, quality=92)
            solution = f"<answer> {len(scene.objects) - overlooked} </answer>"
            lines.append(json.dumps({"image": path, "problem": QUESTION, "solution": solution}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(rng: np.random.Generator, count: int, split: str) -> Scene:
    """A scene of ``count`` objects whose composition belongs to the split."""
    style = Style(count=(count, count), edges=EDGES)
    while True:
        scene = compose(rng, style)
        if owner(scene) == split:
            return scene
