"""The nouns of a step: what crosses processes and threads, and what an older task file imports."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

from vrft import types
from vrft.types import Completion, Group, Prediction, Prompt, Rollout, Sample, Score, Scored, View

SAMPLE = Sample("a1", "How many?", 3, (Path("a1.jpg"),), subset="easy")
PROMPT = Prompt("How many?", SAMPLE.images)
ROLLOUT = Rollout(Completion("3", (View(56, 28),), tokens=2), (7, 8), finished=True)
NOUNS = [
    SAMPLE,
    PROMPT,
    ROLLOUT,
    Group(SAMPLE, PROMPT, (ROLLOUT,)),
    Scored(SAMPLE, PROMPT, Prediction("a1", "3"), Score({"accuracy": 1.0}, 3)),
]


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: type(noun).__name__)
def test_a_noun_travels_to_another_process_unchanged(noun: object) -> None:
    assert pickle.loads(pickle.dumps(noun)) == noun


@pytest.mark.parametrize(
    ("images", "taken"),
    [
        # a list, a single path or text or content of a file, none
        ([Path("a.jpg"), "b.jpg"], (Path("a.jpg"), "b.jpg")),
        (Path("a.jpg"), (Path("a.jpg"),)),
        ("a.jpg", ("a.jpg",)),
        (b"content", (b"content",)),
        (None, ()),
        ([], ()),
    ],
)
def test_the_pictures_of_a_sample_are_a_tuple(images: Any, taken: tuple[object, ...]) -> None:
    assert Sample("a", "", 0, images).images == Prompt("", images).images == taken


def test_every_noun_is_frozen() -> None:
    nouns = [cls for cls in vars(types).values() if dataclasses.is_dataclass(cls)]
    assert {Sample, Prompt, Completion, Rollout, Group, Prediction, Score, Scored} <= set(nouns)
    for cls in nouns:
        assert cls.__dataclass_params__.frozen, cls


def test_a_misspelt_field_is_an_error_and_no_new_attribute() -> None:
    # the exception of a frozen dataclass with slots differs between versions of Python
    with pytest.raises((AttributeError, TypeError)):
        SAMPLE.subsets = "easy"  # type: ignore[attr-defined]


def test_a_view_writes_thousandths_unless_told_otherwise() -> None:
    # Qwen2-VL's convention, which is that of all published data
    assert View(56, 28).space == "thousandths"
