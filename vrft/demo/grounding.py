"""Demo of grounding: scenes with requests for one of their objects, in the files of ReasonSeg."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vrft.demo.instructions import KINDS, Instruction, Kind, instructions
from vrft.demo.scenes import SEEN, UNSEEN, Scene, Style, compose
from vrft.demo.splits import generator

SPLITS = {"train": 2000, "val": 200, "test": 300, "unseen": 300}
"""Numbers of pictures in the demo data set; "unseen" has another artist and other backgrounds."""

COURSE = None
"""No course: the grounding model has lessons of its own, in ``vrft.cold_start.pointing``."""

ATTEMPTS = 2000
"""Scenes that are tried before a style is refused."""


@dataclass(frozen=True, slots=True)
class Example:
    """A scene with instructions of one kind that all ask for the object at index ``asked``."""

    scene: Scene
    asked: int
    instructions: tuple[Instruction, ...]


def draw(rng: np.random.Generator, kind: Kind, style: Style = SEEN, most: int = 3) -> Example:
    """Return a scene with one to ``most`` instructions of ``kind`` for one of its objects.

    Raises ValueError for a style whose scenes allow no such instruction.
    """
    for _ in range(ATTEMPTS):
        scene = compose(rng, style)
        # Objects in a random order: the first that can be asked for is not always the first drawn.
        for asked in rng.permutation(len(scene.objects)).tolist():
            candidates = [i for i in instructions(scene.objects, asked) if i.kind == kind]
            if candidates:
                chosen = rng.permutation(len(candidates))[:most]
                return Example(scene, asked, tuple(candidates[i] for i in chosen))
    raise ValueError(f"{ATTEMPTS} scenes without an instruction of kind {kind!r} in {style}")


def write(
    folder: Path,
    splits: Mapping[str, int],
    seed: int = 0,
    carelessness: float = 0.0,
    style: Style = SEEN,
) -> None:
    """Write each split as ``folder/SPLIT/NAME.jpg`` and ``NAME.json``, the kinds taking turns.

    ``splits`` maps names to numbers of pictures; no two splits share a composition. Pictures of
    "train" have up to three instructions, others one; "unseen" is always in the style UNSEEN. With
    probability ``carelessness`` the annotator outlined the most salient object instead of the one
    asked for. Raises ValueError for a style with too few compositions.
    """
    # Compositions belong to the split that shows them first, and not to the split of their hash:
    # within one call of ``write`` that holds for any names and any number of splits.
    owners: dict[tuple[str, ...], str] = {}
    for split, count in splits.items():
        rng = generator(seed, split)
        (folder / split).mkdir(parents=True)
        for number in range(count):
            for _ in range(ATTEMPTS):
                most = 3 if split == "train" else 1
                split_style = UNSEEN if split == "unseen" else style
                example = draw(rng, KINDS[number % len(KINDS)], split_style, most)
                if owners.setdefault(example.scene.composition, split) == split:
                    break
            else:
                raise ValueError(f"{split}: other splits took all compositions of {style}")
            careless = rng.random() < carelessness
            marked = example.scene.most_salient if careless else example.asked
            save(example, marked, folder / split / f"{number:05d}.jpg")


def save(example: Example, marked: int, path: Path) -> None:
    """Write a picture, and beside it the json that outlines the object at index ``marked``."""
    example.scene.image.save(path, quality=92)
    # The schema of the annotation program labelme, in which ReasonSeg is published.
    shape = {
        "label": "target",
        "points": example.scene.objects[marked].polygon,
        "shape_type": "polygon",
        "image_name": path.name,
    }
    record = {
        "text": [instruction.text for instruction in example.instructions],
        "is_sentence": True,
        # Not a key of ReasonSeg: the task takes it for the subset that results are listed by.
        "kind": example.instructions[0].kind,
        "shapes": [shape],
    }
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
