"""Instructions: an object is asked for only in words that fit no other object of its scene."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from vrft.demo.instructions import CATEGORIES, CLASSES, KINDS, USES, instructions
from vrft.demo.scenes import SEEN, UNSEEN, Scene, Style, compose


@dataclass(frozen=True)
class Block:
    """Object of a made-up scene."""

    name: str
    box: tuple[int, int, int, int]


def asked(first: str, *others: str) -> set[str]:
    """Return the instructions for the first of some objects in a column, 20 px apart."""
    column = [Block(name, (0, 20 * i, 10, 20 * i + 10)) for i, name in enumerate((first, *others))]
    return {instruction.text for instruction in instructions(column, 0)}


def test_an_object_is_asked_for_by_name_place_and_use() -> None:
    assert asked("key", "pig") == {
        "Find the key.",
        "Where is the key?",
        "What is above the pig?",
        "Which one opens a lock?",
    }


@pytest.mark.parametrize(
    ("others", "text", "given"),
    [
        # One animal.
        (("key",), "Find the animal.", True),
        # Two animals.
        (("pig",), "Find the animal.", False),
        # A plane flies as well.
        (("plane",), "Which one can fly?", False),
        # A penguin has wings: one might argue, so it is not asked.
        (("penguin",), "Which one can fly?", False),
        (("turtle",), "Which one can fly?", True),
        # Both birds are above the key, but only one of the two is asked about "above the duck".
        (("duck", "key"), "Find the bird above the key.", False),
        (("duck", "key"), "Find the bird above the duck.", True),
        # Without a category the frog in between would be an answer too.
        (("frog", "key"), "What is above the key?", False),
        (("banana", "key"), "Find the animal above the key.", True),
    ],
)
def test_only_what_singles_the_owl_out_is_asked(
    others: tuple[str, ...], text: str, given: bool
) -> None:
    assert (text in asked("owl", *others)) is given


@pytest.mark.parametrize(
    ("box", "side"),
    [
        ((0, 40, 10, 50), "to the left of"),
        ((90, 40, 99, 50), "to the right of"),
        ((40, 0, 50, 10), "above"),
        ((40, 90, 50, 99), "below"),
        # More below than to the left: 20 px left, 40 px down.
        ((20, 80, 30, 90), "below"),
        # It touches the key's columns and its rows: no side at all.
        ((35, 35, 45, 45), None),
        # More above than to the left (24 px, 18 px), but it reaches below the key's upper edge.
        ((22, 0, 32, 42), None),
    ],
)
def test_a_side_is_named_only_where_it_is_plain(
    box: tuple[int, int, int, int], side: str | None
) -> None:
    objects = [Block("pig", box), Block("key", (40, 40, 50, 50))]
    texts = [i.text for i in instructions(objects, 0) if i.text.startswith("What is")]
    assert texts == ([f"What is {side} the key?"] if side else [])


def test_an_object_slightly_to_the_left_spoils_the_question_for_another_further_left() -> None:
    key, pig = Block("key", (40, 40, 50, 50)), Block("pig", (0, 40, 10, 50))
    below = Block("guitar", (38, 80, 48, 90))
    assert "What is to the left of the key?" in {i.text for i in instructions([pig, key], 0)}
    texts = {i.text for i in instructions([pig, key, below], 0)}
    assert "What is to the left of the key?" not in texts
    assert "Find the animal to the left of the key." in texts


def test_of_two_objects_of_one_class_none_is_asked_for_by_name() -> None:
    assert not asked("owl", "owl") & {"Find the owl.", "Where is the owl?"}


TEMPLATES = {
    r"(?:Find|Where is) the (?P<name>\w+)[.?]": "class",
    r"What is (?P<side>[a-z ]+?) the (?P<reference>\w+)\?": "relation",
    r"Find the (?P<noun>\w+) (?P<side>[a-z ]+?) the (?P<reference>\w+)\.": "relation",
    r"Find the (?P<noun>\w+)\.": "use",
    r"Which one (?P<use>[a-z ]+)\?": "use",
}
"""Pattern of an instruction -> its kind, written down apart from the code that is tested."""


def answers(scene: Scene, text: str, kind: str) -> list[int]:
    """Return all objects that a generous reader of the text alone could point at."""
    (match,) = [m for t, k in TEMPLATES.items() if k == kind and (m := re.fullmatch(t, text))]
    wanted = match.groupdict()
    fitting = []
    for index, shown in enumerate(scene.objects):
        if wanted.get("name", shown.name) != shown.name:
            continue
        for table, key in ((CATEGORIES, wanted.get("noun")), (USES, wanted.get("use"))):
            if key and shown.name not in table[key].fits | table[key].arguable:
                break
        else:
            if "side" in wanted:
                (other,) = [o for o in scene.objects if o.name == wanted["reference"]]
                x, y = (shown.box[i] + shown.box[i + 2] for i in (0, 1))
                there_x, there_y = (other.box[i] + other.box[i + 2] for i in (0, 1))
                on_side = {"to the left of": x < there_x, "to the right of": x > there_x}
                on_side |= {"above": y < there_y, "below": y > there_y}
                if shown is other or not on_side[wanted["side"]]:
                    continue
            fitting.append(index)
    return fitting


@pytest.mark.parametrize("style", [SEEN, UNSEEN], ids=["seen", "unseen"])
def test_every_instruction_has_exactly_one_answer_in_its_scene(style: Style) -> None:
    rng, kinds = np.random.default_rng(1), Counter[str]()
    for _ in range(300):
        scene = compose(rng, style)
        for index in range(len(scene.objects)):
            for instruction in instructions(scene.objects, index):
                assert answers(scene, instruction.text, instruction.kind) == [index], instruction
                kinds[instruction.kind] += 1
    assert min(kinds[kind] for kind in KINDS) > 300


def test_the_tables_speak_of_known_classes_and_no_class_both_fits_and_is_arguable() -> None:
    for description in (*CATEGORIES.values(), *USES.values()):
        assert description.fits and description.fits | description.arguable <= set(CLASSES)
        assert not description.fits & description.arguable
