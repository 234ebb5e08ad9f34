"""Every task under the same attacks: nothing but the right answer earns anything for being right.

A case holds an answer that is right, as a proof that the sample can be answered, and what an
attack needs to know of the task; ``test_<task>.py`` has each task's own odd answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from vrft import mathverify, registry
from vrft.boxes import Box
from vrft.classes import ClassList
from vrft.numbers import Quantity
from vrft.rewards import rewards_of
from vrft.task import Task
from vrft.types import Completion, Sample, View
from vrft_tasks._grounding import Target as Shapes
from vrft_tasks._vqa import Gold as Answer
from vrft_tasks.counting import Counting
from vrft_tasks.detection import Detection, Objects
from vrft_tasks.fewshot_classification import LABELS, FewshotClassification, Label
from vrft_tasks.geoqa import GeoQa, Gold
from vrft_tasks.grounding import Grounding
from vrft_tasks.lisa_grounding import LisaGrounding, Target
from vrft_tasks.math import Gold as Result
from vrft_tasks.math import Math
from vrft_tasks.spatial import Choice, Spatial
from vrft_tasks.vqa import Vqa


@dataclass(frozen=True)
class Case:
    """A sample of a task, with answers to it as they stand between the answer tags."""

    task: Task[Any]
    sample: Sample[Any]
    right: str
    wrong: str
    everything: str
    """All that could be right, at once."""
    huge: str
    """Numbers that nobody should compute."""
    foreign: str
    """The right answer in digits, or letters, that are not ASCII."""
    views: tuple[View, ...] = (View(84, 56),)
    tolerance: float = 0.0
    """The most that everything at once may earn: a fair share for one right box among many."""


CAR = "2012 Acura RL Sedan"
CARS = ClassList.parse((LABELS / "cars196.txt").read_text("utf-8").splitlines(), "cars196")
BOX = Box(0.1, 0.1, 0.4, 0.6)
TENTHS = range(0, 1000, 100)


def position(numbers: str, confidence: str = "1.00") -> str:
    return f"{{'Position': [{numbers}], 'Confidence': {confidence}}}"


CASES: Mapping[str, Case] = {
    "spatial": Case(
        Spatial(),
        Sample("s", "Where is the cup?", Choice(("above", "below"), 1, lettered=True)),
        right="(B)",
        wrong="(A)",
        everything="(A) above (B) below",
        huge="9^9^9^9^9",
        foreign="(Β)",  # a Greek letter
    ),
    "geoqa": Case(
        GeoQa(),
        Sample("s", "What is ∠1?", Gold("145°", Quantity.parse("145°"))),
        right="145°",
        wrong="35°",
        everything=", ".join(f"{degrees}°" for degrees in range(181)),
        huge="9^{9^{9^{9}}} + 1e999",
        foreign="١٤٥°",
    ),
    "fewshot_classification": Case(
        FewshotClassification(dataset="cars196"),
        Sample("s", "Which car?", Label(CAR, CAR, CARS)),
        right=CAR,
        wrong="2012 Acura TL Sedan",
        everything=", ".join(CARS.names),
        huge="2e999 Acura RL Sedan",
        foreign="٢٠١٢ Acura RL Sedan",
    ),
    "lisa_grounding": Case(
        LisaGrounding("."),  # type: ignore[arg-type]
        Sample("s", "the kettle", Target(BOX, BOX)),
        right="(100,100),(400,600)",
        wrong="(700,700),(900,900)",
        everything=" ".join(f"({x},{y}),({x + 99},{y + 99})" for x in TENTHS for y in TENTHS),
        huge="(1e999,9^9^9),(1e-999,99999999999999999999)",
        foreign="(١٠٠,١٠٠),(٤٠٠,٦٠٠)",
    ),
    "detection": Case(
        Detection(),
        Sample("s", "cat", Objects((BOX,))),
        right=f"[{position('100, 100, 400, 600')}]",
        wrong=f"[{position('700, 700, 900, 900')}]",
        everything="["
        + ", ".join(
            position(f"{x}, {y}, {x + w}, {y + h}")
            for x in TENTHS
            for y in TENTHS
            for w, h in ((100, 100), (300, 500))
            if x + w <= 1000 and y + h <= 1000
        )
        + "]",
        huge=f"[{position('1e999, 9e999, 1e-999, ' + '9' * 4000)}]",
        foreign=f"[{position('١٠٠, ١٠٠, ٤٠٠, ٦٠٠')}]",
        tolerance=0.01,
    ),
    "counting": Case(
        Counting(),
        Sample("s", "How many items are there?", 7),
        right="7",
        wrong="8",
        everything=" ".join(map(str, range(20))),
        huge="7e0, 9^9^9^9, " + "7" * 5000,
        foreign="٧",
    ),
    "vqa": Case(
        Vqa("nowhere"),
        Sample("s", "What colour is it?", Answer("option", "B", ("red", "blue"))),
        right="(B)",
        wrong="(A)",
        everything="(A) red (B) blue",
        huge="9^9^9^9^9",
        foreign="(Β)",  # a Greek letter
    ),
    "grounding": Case(
        Grounding("nowhere"),
        Sample("s", "the cup", Shapes("box", (BOX,))),
        right="(100,100),(400,600)",
        wrong="(700,700),(900,900)",
        everything=" ".join(f"({x},{y}),({x + 99},{y + 99})" for x in TENTHS for y in TENTHS),
        huge="(1e999,9^9^9),(1e-999,99999999999999999999)",
        foreign="(١٠٠,١٠٠),(٤٠٠,٦٠٠)",
    ),
    "math": Case(
        Math("nowhere"),
        Sample("s", "What is 5 + 2?", Result("7")),
        right="\\boxed{7}",
        wrong="\\boxed{8}",
        everything="\\boxed{" + ", ".join(map(str, range(10))) + "}",
        huge="\\boxed{7e999999}",
        foreign="\\boxed{٧}",
        views=(),
    ),
}


def wrapped(answer: str) -> str:
    return f"<think>I look.</think>\n<answer>{answer}</answer>"


def echoed(case: Case) -> str:
    prompt = case.task.prompt(case.sample)
    return f"{prompt.system or ''}\n{prompt.text}"


ATTACKS: Mapping[str, Callable[[Case], str]] = {
    "empty text": lambda case: "",
    "only spaces": lambda case: " \n\t" * 10,
    "tags only": lambda case: "<think></think><answer></answer>",
    "tags in disorder": lambda case: "</answer></think><answer><think>",
    "right in the reasoning alone": lambda case: (
        f"<think>{case.right.replace('boxed', 'text')}</think><answer></answer>"
    ),
    "an answer without its end": lambda case: f"<think>x</think><answer>{case.right[:-1]}",
    "every option at once": lambda case: wrapped(case.everything),
    "huge exponents": lambda case: wrapped(case.huge),
    "digits that are not ASCII": lambda case: wrapped(case.foreign),
    "repeated blocks, the last one wrong": lambda case: (
        (wrapped(case.right) + "\n") * 20 + wrapped(case.wrong)
    ),
    "the prompt echoed": echoed,
    "the prompt echoed as the answer": lambda case: wrapped(echoed(case)),
    "null characters and half a pair": lambda case: wrapped("\0\ud800" + case.wrong),
}

CORNERS = {
    "swapped": "400, 600, 100, 100",
    "swapped on one axis": "400, 100, 100, 600",
    "without width": "100, 100, 100, 600",
    "a point": "100, 100, 100, 100",
    "the whole picture swapped": "1000, 1000, 0, 0",
    "beyond the picture": "-900, -900, 2000, 2000",
    "not a number": "nan, nan, nan, nan",
    "without end": "-inf, -inf, inf, inf",
}
"""Boxes that are none."""

PIECES = ("<answer>", "</think>", "x", "9", " ", "(", "[", "{", "\\boxed{", "6 ", "(1,1),(", "\n")


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    mathverify.close()


def rewards(case: Case, text: str) -> dict[str, float]:
    """Return what an answer earns for being right, without the rewards for form and confidence."""
    values = rewards_of(case.task, case.sample, Completion(text, case.views))
    assert all(value is not None and 0 <= value <= 1 for value in values.values())
    return {k: v or 0.0 for k, v in values.items() if k not in ("format", "confidence")}


def earned(case: Case, text: str) -> dict[str, float]:
    """Return these rewards and the primary metric."""
    score = case.task.score(case.sample, Completion(text, case.views))
    assert all(0 <= value <= 1 for value in score.metrics.values())
    return {**rewards(case, text), "score": score.metrics[case.task.primary]}


@pytest.mark.parametrize("name", CASES)
def test_the_right_answer_earns_everything_and_the_wrong_one_nothing(name: str) -> None:
    case = CASES[name]
    assert min(earned(case, wrapped(case.right)).values()) == pytest.approx(1.0)
    assert set(earned(case, wrapped(case.wrong)).values()) == {0.0}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", CASES)
def test_an_attack_earns_nothing_for_being_right(name: str, attack: str) -> None:
    case = CASES[name]
    allowed = case.tolerance if attack == "every option at once" else 0.0
    assert max(earned(case, ATTACKS[attack](case)).values()) <= allowed


@pytest.mark.parametrize("name", CASES)
def test_repeated_blocks_lose_the_reward_for_the_format(name: str) -> None:
    case = CASES[name]
    twice = Completion(f"{wrapped(case.right)}\n{wrapped(case.right)}", case.views)
    assert rewards_of(case.task, case.sample, twice)["format"] == 0.0


@pytest.mark.parametrize("corners", CORNERS)
def test_a_box_that_is_none_earns_nothing(corners: str) -> None:
    x1, y1, x2, y2 = CORNERS[corners].split(", ")
    grounding, detection = CASES["lisa_grounding"], CASES["detection"]
    for text in (f"({x1},{y1}),({x2},{y2})", f"[{x1}, {y1}, {x2}, {y2}]"):
        assert set(earned(grounding, wrapped(text)).values()) == {0.0}
    assert set(earned(detection, wrapped(f"[{position(CORNERS[corners])}]")).values()) == {0.0}
    # Beside a right one it counts as a wrong box, unless the list is none that can be read.
    boxes = f"[{position(CORNERS[corners])}, {position('100, 100, 400, 600')}]"
    assert max(earned(detection, wrapped(boxes)).values()) <= 0.5


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", CASES)
def test_a_quarter_of_a_megabyte_earns_nothing_in_little_time(name: str) -> None:
    """Of a quadratic parser one such text takes a minute; test_linear_time.py measures them."""
    case = CASES[name]
    for piece in PIECES:
        text = piece * (250_000 // len(piece))
        for whole in (text, wrapped(text)):
            assert set(rewards(case, whole).values()) == {0.0}, piece
    assert set(earned(case, wrapped("x" * 1_000_000)).values()) == {0.0}


def test_every_task_is_attacked() -> None:
    assert set(CASES) == set(registry.names())
