"""No text makes a parser slow: the time of each is linear in the length, whatever was written.

Every public parser meets the worst cases of its regular expressions: a sign that opens something,
over and over, which a pattern that tries matches twice would go through once for each.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
import random
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

import vrft
import vrft_tasks
from vrft import answers, boxes, classes, images, mathverify, wrapping
from vrft.annotations import written_shapes
from vrft.boxes import Box
from vrft.classes import ClassList
from vrft.config import yaml_text
from vrft.errors import UserError
from vrft.formats import option_letters, options
from vrft.numbers import Quantity, compact, is_compound
from vrft.records import files, nested, texts
from vrft.types import View
from vrft_tasks import (
    _detection,
    _fewshot_classification,
    _grounding,
    _math,
    _math_spelling,
    _spatial,
    _vqa,
    counting,
    lisa_grounding,
    math,
)

VIEW = View(84, 56)
OPTIONS = ("left", "right", "7", "the cup on the left")
FLOWERS = ClassList.parse(["rose", "mallow", "tree mallow"], "flowers")

PARSERS: dict[str, Callable[[str], Any]] = {
    # the contract of answers, strict and as published
    "answer_text": answers.answer_text,
    "last_answer": answers.last_answer,
    "legacy_format": answers.legacy_format,
    "legacy_answer": answers.legacy_answer,
    # what an answer says
    "choice": lambda text: answers.choice(text, OPTIONS),
    "whole_number": answers.whole_number,
    "denied before": lambda text: answers.denied(text, ""),
    "denied after": lambda text: answers.denied("", text),
    "bare": wrapping.bare,
    "unwrapped": wrapping.unwrapped,
    "uncounted": wrapping.uncounted,
    "without_stops": lambda text: wrapping.without_stops(text, answers.STOPS),
    "Quantity.parse": Quantity.parse,
    "is_compound": is_compound,
    "compact": compact,
    "Box.parse": lambda text: Box.parse(text, VIEW),
    "written_in_fractions": boxes.written_in_fractions,
    "ClassList.match": FLOWERS.match,
    "ClassList.parse": lambda text: ClassList.parse(text.splitlines(), "classes"),
    "words": classes.words,
    # the tasks' own, strict and as published
    "detection": lambda text: _detection.read_answer(text, VIEW),
    "detection, legacy": lambda text: _detection.read_legacy_answer(text, VIEW),
    "detection in fractions": _detection.wholly_in_fractions,
    "boxes": lambda text: _grounding.read_answer(text, "boxes", VIEW),
    "points": lambda text: _grounding.read_answer(text, "points", VIEW),
    "last_box": _math.last_box,
    "math bare": _math.bare,
    "told_by_words": lambda text: _math.told_by_words(text, text),
    "spelled": _math_spelling.spelled,
    "final_result": math.final_result,
    "spelling": math.spelling,
    "truth": _vqa.truth,
    "plain": _vqa.plain,
    "listed options": option_letters.options_in,
    "known options": lambda text: option_letters.lists_options(text, OPTIONS),
    "own letters": lambda text: option_letters.without_letters([f"A. {text}", text]),
    "spatial, legacy": _spatial.legacy_shown,
    "counted": counting.counted,
    "counting, legacy": counting.legacy_count,
    "lisa_grounding, legacy": lambda text: lisa_grounding.legacy_box(text, VIEW),
    "one_line_answer": _fewshot_classification.one_line_answer,
    "is_part": lambda text: _fewshot_classification.is_part(text, "rose"),
    # data and settings
    "loads": lambda text: files.loads(text, "row"),
    "is_western": lambda text: texts.is_western(b"\xe9 " + text.encode("cp1252", "replace")),
    "listed": nested.listed,
    "texts in Python's writing": options.list_in_text,
    "written boxes": written_shapes.written,
    "yaml": lambda text: yaml_text.parse(text, "settings"),
    "as_picture": images.as_picture,
}

PIECES = (
    *("$", "(", "[", "{", "}", "]", ")", "\\", "\\\\", "\\boxed{", "\\boxed ", "\\frac{"),
    *("<answer>", "</answer>", "<think>", "</think> <answer>", "<think>a</think><answer>7"),
    *("9", "9,", "9,999", "1.", "0,0", "7 ", "7°", "7个", "7/", "7:", "7e", "-7", "√", "^{"),
    *(" ", "\n", "\t", ",", ".", "...", "!", "%", "'", '"', "`", "``` ", "*", "**a", "__a"),
    *("(1,1),", "(1,1),(", "[1,", "{'Position': [", "category 'a", "[[", "{'a':"),
    *("x", "x ", "x=", "a, ", "a or ", "(a) ", "not ", "of the ", "the answer is ", "A) a\n"),
    *("答案", "是", "é", "\x93", "\u3000", "- a\n", "iVBORw0KGgo", "rose ", "tree mallow not "),
)

QUADRATIC = re.compile(r"[0-9]+x").search
DIGITS = "9" * 4000
"""A text of which the pattern above tries every pair of places: 24 ms on a core of 2024."""

PATTERN, PARSER, MEGABYTE = 0.5, 20.0, 125.0
"""Most time of a pattern over 4,000 characters, and of a parser over 30,000 and over a million, as
a multiple of that of QUADRATIC, so that it means the same on every machine. Quadratic parsers take
more than a hundred times as long over 30,000 characters."""


def seconds(parser: Callable[[str], Any], text: str) -> float:
    """Return the processor time of a parser on a text, which it may refuse in one line."""
    start = time.process_time()
    with contextlib.suppress(UserError, ValueError):
        parser(text)
    return time.process_time() - start


@functools.cache
def quickest_reference() -> float:
    """Return the time of QUADRATIC on its text with as little else on the machine as there is."""
    return min(seconds(QUADRATIC, DIGITS) for _ in range(5))


def is_quick(parser: Callable[[str], Any], text: str, limit: float) -> bool:
    """Return whether a parser takes less than ``limit`` times as long as QUADRATIC.

    One that seems to take longer is tried again beside QUADRATIC, as the machine may do other work.
    """
    return seconds(parser, text) < limit * quickest_reference() or any(
        seconds(parser, text) < limit * seconds(QUADRATIC, DIGITS) for _ in range(3)
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", PARSERS)
def test_the_worst_cases_of_every_pattern_cost_linear_time(name: str) -> None:
    for piece in PIECES:
        body = piece * (30_000 // len(piece))
        assert is_quick(PARSERS[name], f"{body}x", PARSER), (name, piece)


SHAPES = ("Box.parse", "written_in_fractions", "boxes", "points", "lisa_grounding, legacy")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", PARSERS)
def test_a_megabyte_takes_about_a_second_at_most(name: str) -> None:
    # Under a second on a core that nobody shares.
    for piece in ("{", "7 ", *(["(1,1),"] if name in SHAPES else [])):
        assert is_quick(PARSERS[name], piece * (1_000_000 // len(piece)), MEGABYTE), (name, piece)


def test_a_megabyte_of_mentions_takes_about_a_second_at_most() -> None:
    # No two neighbourhoods are alike, so that none is remembered.
    places = [f"at {number} the cup on the left, than 7" for number in range(30_000)]
    assert is_quick(PARSERS["choice"], " ".join(places), MEGABYTE)
    points = [f"({number % 84},{number % 56}) not " for number in range(70_000)]
    for name in ("points", "boxes"):
        assert is_quick(PARSERS[name], "".join(points), MEGABYTE), name


@pytest.mark.parametrize("behind", ["{} ", "of {} ", "the {} ", "{} or "])
def test_a_mention_costs_little_more_than_to_look_at_it(behind: str) -> None:
    # Seven patterns searched around each mention took thirty times as long as the words beside it.
    drawn = random.Random(0)
    text = "".join(f"7 {behind.format(drawn.choice('bcdfghjklmpqrs'))}" for _ in range(50_000))

    def beside(text: str) -> int:
        places = [match.start() for match in re.finditer("7", text)]
        return len({(text[place - 40 : place], text[place + 1 : place + 41]) for place in places})

    reference = min(seconds(beside, text) for _ in range(3))
    assert min(seconds(PARSERS["choice"], text) for _ in range(3)) < 14 * reference


BOUNDED: dict[str, tuple[int, str]] = {
    "vrft.numbers.": (120, "no longer text is a quantity: LONGEST"),
    "vrft.answers.contract.CONTRACT": (120, "each tag once, which answer_text counts first"),
    "vrft.answers.assertions.ANOTHER_AFTER": (40, "the characters behind a number: PHRASE"),
    "vrft.answers.assertions.LAST_WORD": (30, "the characters before a number: TAIL"),
    "vrft.answers.assertions.NO_PHRASE": (30, "the characters before a number: TAIL"),
    "vrft.wrapping.COUNTER": (120, "matched from the start of a text alone"),
    "vrft.annotations.coco_files.COCO_HEAD": (256, "the first bytes of a file"),
    "vrft.records.reading.PART": (255, "the name of a file"),
    "vrft.cli.completion.BREAKS": (100, "a word that is being typed"),
    "vrft.config.reward_source.REWARD_SOURCE": (256, "a word of the command line"),
}
"""Patterns that meet no long text, or not by a search, and why; their parsers are tried above."""

TRUSTED = (
    *("vrft.runs", "vrft.training", "vrft.objectives", "vrft.processes"),
    *("vrft.policy", "vrft.engines", "vrft.sft", "vrft.viewer"),
)
"""Rooms whose patterns read what the toolkit has written itself."""


def patterns() -> dict[str, re.Pattern[Any]]:
    """Return the regular expressions that meet data, settings and answers, by module and name."""
    known = {}
    for package in (vrft, vrft_tasks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.startswith((*TRUSTED, "vrft.cold_start", "vrft.__main__")):
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern) and value not in known.values():
                    known[f"{module.name}.{name}"] = value
    return known


@pytest.mark.timeout(120)
def test_every_pattern_costs_linear_time() -> None:
    slow = []
    for name, pattern in patterns().items():
        length = next((n for start, (n, _) in BOUNDED.items() if name.startswith(start)), 4000)
        for piece in PIECES:
            text: Any = f"{piece * (length // len(piece))}\0"
            if isinstance(pattern.pattern, bytes):
                text = text.encode("cp1252", "replace")
            for attempt in (pattern.search, pattern.fullmatch):
                if not is_quick(attempt, text, PATTERN):
                    slow.append((name, piece))
    assert not slow


def test_a_quadratic_pattern_would_be_seen() -> None:
    assert not is_quick(QUADRATIC, DIGITS, PATTERN)
    assert is_quick(re.compile("9x").search, DIGITS, PATTERN)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("rule", ["lighteval", "default", "boxed"])
def test_math_verify_answers_a_megabyte_in_time(rule: mathverify.Rule) -> None:
    mathverify.equivalent("7", "7", rule)  # a worker takes a second to start
    for piece in ("$", "\\boxed{7} ", "$x$ ", "7, ", "\\frac{1}{2} "):
        start = time.monotonic()
        text = piece * (1_000_000 // len(piece))
        assert mathverify.equivalent("8", text, rule) is False
        assert time.monotonic() - start < 10.0, piece  # quadratic rules would take minutes
    mathverify.close()


def test_a_quadratic_parser_would_be_seen() -> None:
    def quadratic(text: str) -> list[int]:
        return [text.count("\0", start) for start in range(len(text))]

    assert seconds(quadratic, "(" * 30_000) > seconds(wrapping.bare, "(" * 30_000) * 5
