"""Rows in memory of two colours, and a short training of the embedded model on them."""

from __future__ import annotations

from typing import Any

from PIL import Image

import vrft

FAST: dict[str, Any] = {
    "sampling": {"max_completion_length": 8},
    "algorithm": {"num_generations": 2},
}
ROWS = [
    {
        "id": colour,
        "images": [Image.new("RGB", (56, 56), colour)],
        "question": "Which colour?",
        "answer": colour,
        "shade": number,
    }
    for number, colour in enumerate(["red", "blue"])
]


def trained(folder: str, **settings: Any) -> vrft.TrainResult:
    """Train the embedded model for a step and return the run."""
    train = {"max_steps": 1, "output_dir": folder, **settings.pop("train", {})}
    return vrft.train(ROWS, model="demo", train=train, **FAST, **settings)
