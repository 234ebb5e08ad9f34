"""Boxes of answers, read in every frame that a model may have meant."""

from __future__ import annotations

import re

import pytest

from vrft import registry
from vrft.boxes import Box
from vrft.config.schema import TaskConfig
from vrft.diagnosis import coordinates
from vrft.task import Task
from vrft.types import View

VIEW = View(280, 140, "thousandths")
SIZE = (560, 280)
TRUTH = Box(0.1, 0.2, 0.5, 0.8)


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        ("thousandths", "(100,200),(500,800)"),
        ("pixels", "(28,28),(140,112)"),  # of 280 x 140
        ("fractions", "[0.1, 0.2, 0.5, 0.8]"),
        ("original", "[56, 56, 280, 224]"),  # of 560 x 280
        ("yx", "[200, 100, 800, 500]"),
        ("xywh", "[100, 200, 400, 600]"),
    ],
)
def test_a_box_fits_best_in_the_frame_that_was_meant(frame: str, answer: str) -> None:
    text = f"<think>(1,1),(2,2)</think><answer>{answer}</answer>"
    overlaps = coordinates.overlaps(text, TRUTH, VIEW, None, SIZE)
    by_name = dict(zip(coordinates.NAMES, overlaps, strict=True))
    assert by_name[frame] == pytest.approx(1)
    assert by_name["read"] == 0  # nothing could be read
    assert max(by_name, key=lambda name: by_name[name]) == frame


def test_every_task_with_boxes_has_the_settings_that_mend_its_frame() -> None:
    told = [re.search(r"set task\.coordinates=(\w+)", text) for text in coordinates.FRAMES.values()]
    values = [match[1] for match in told if match]
    assert values == ["thousandths", "pixels", "fractions"]
    tasks = {name: registry.task_class(name) for name in registry.names()}
    boxed = [name for name, task in tasks.items() if task.boxes is not Task.boxes]
    assert {"detection", "grounding", "lisa_grounding"} <= {*boxed}
    for name in boxed:
        for value in values:
            given = TaskConfig(name, {"data_dir": "rows.jsonl", "coordinates": value})
            assert vars(registry.build(given))["coordinates"] == value


def test_an_answer_without_exactly_one_box_fits_nowhere() -> None:
    for text in ("nothing", "(1,2),(3,4) or (5,6),(7,8)", "<answer></answer>"):
        assert coordinates.overlaps(text, TRUTH, VIEW, TRUTH, None) == [1.0] + [0.0] * 6


def test_numbers_outside_a_frame_are_no_box_in_it() -> None:
    corners = (100.0, 200.0, 500.0, 800.0)
    assert coordinates.box_in("pixels", corners, VIEW) is None
    assert coordinates.box_in("fractions", corners, VIEW) is None
    assert coordinates.box_in("original", corners, VIEW) is None  # the file is not known
    assert coordinates.box_in("thousandths", (500, 200, 100, 800), VIEW) is None  # no area
