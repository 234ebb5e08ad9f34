"""Rows of pictures of which some are cut off, for runs, evaluations and checks."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image


def write_rows(folder: Path, count: int, bad: Collection[int], name: str = "rows.jsonl") -> Path:
    """Write rows of the task counting, p0, p1 ...; the pictures of ``bad`` ones are cut off."""
    rows = []
    for number in range(count):
        path = folder / f"p{number}.png"
        noise = np.random.default_rng(number).integers(0, 255, (56, 56, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        if number in bad:
            # Its head is whole: only whoever decodes it learns that the rest is missing.
            path.write_bytes(path.read_bytes()[:3000])
        rows.append({"id": f"p{number}", "images": [path.name], "question": "How many?",
                     "answer": number % 5})  # fmt: skip
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name
