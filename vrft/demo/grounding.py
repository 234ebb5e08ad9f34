"""The demo of grounding: scenes with requests, in the file format of ReasonSeg.

``draw`` makes a picture with a question, ``write`` folders of them. Everything follows from a seed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vrft.demo.instructions import KINDS, Instruction, Kind, instructions
from vrft.demo.scenes import SEEN, UNSEEN, Scene, Style, compose

SPLITS = {"train": 2000, "val": 200, "test": 300, "unseen": 300}
"""Pictures of the demo data set; those of "unseen" are by another artist, on other backgrounds."""

COURSE = None
"""Its model has lessons of its own: vrft/demo/pointing.py."""

ATTEMPTS = 2000


@dataclass(frozen=True, slots=True)
class Example:
    """A scene with instructions of one kind that all ask for the object at index ``asked``."""

    scene: Scene
    asked: int
    instructions: tuple[Instruction, ...]


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
    carelessness: float = 0.0,
    style: Style = SEEN,
) -> None:
    """Write each split as ``folder/SPLIT/NAME.jpg`` and ``NAME.json``, the kinds taking turns.

    ``splits`` says how many pictures each gets; no two of them share a composition. Pictures of
    "train" have up to three instructions, others one; "unseen" is always in the style UNSEEN. With
    probability ``carelessness`` the annotator outlined the most salient object instead of the
    asked one. Raises ValueError for a style with too few compositions.
    """
    owners: dict[tuple[str, ...], str] = {}
    for split, count in splits.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        (folder / split).mkdir(parents=True)
        for number in range(count):
            for _ in range(ATTEMPTS):
                most = 3 if split == "train" else 1
                look = UNSEEN if split == "unseen" else style
                example = draw(rng, KINDS[number % len(KINDS)], look, most)
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
