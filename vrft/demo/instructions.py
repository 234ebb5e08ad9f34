"""Instructions of the demo scenes: their classes, their descriptions, and how to ask for an object.

Every instruction has one answer in its scene: one object fits it, and no other object fits even
under a generous reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["class", "relation", "use"]

KINDS: tuple[Kind, ...] = ("class", "relation", "use")
"""Kinds of instruction: by name, by place beside another object, by category or use."""

ANIMALS = frozenset(
    {"cat", "cow", "dog", "duck", "fish", "flamingo", "frog", "owl", "penguin", "pig", "rabbit"}
    | {"turtle"}
)
BIRDS = frozenset({"duck", "flamingo", "owl", "penguin"})
FRUIT = frozenset({"apple", "banana", "lemon", "pear", "strawberry"})
FOOD = FRUIT | {"carrot", "donut", "pizza"}
VEHICLES = frozenset({"bicycle", "boat", "bus", "car", "plane", "rocket"})
TOOLS = frozenset({"basketball", "football", "guitar", "key", "teapot", "umbrella"})

# Sorted, as the order of a set of texts differs from process to process, and scenes draw from here.
CLASSES: tuple[str, ...] = tuple(sorted(ANIMALS | FOOD | VEHICLES | TOOLS))
"""Classes of objects, in alphabetical order."""


@dataclass(frozen=True, slots=True)
class Description:
    """Classes that fit a description, and others about which one might argue."""

    fits: frozenset[str]
    arguable: frozenset[str] = frozenset()


def described(fits: str, arguable: str = "") -> Description:
    """Return a description from two lists of class names, separated by spaces."""
    return Description(frozenset(fits.split()), frozenset(arguable.split()))


CATEGORIES: dict[str, Description] = {
    "animal": Description(ANIMALS),
    "bird": Description(BIRDS),
    "fruit": Description(FRUIT),
    # The fish is drawn alive, but it may be eaten.
    "food": Description(FOOD, frozenset({"fish"})),
    "vehicle": Description(VEHICLES),
}
"""Noun -> its classes, for "Find the animal." """

# The second list errs on the side of silence: cows can swim if they must, and so nobody is asked
# "Which one can swim?" about a duck beside a cow.
USES: dict[str, Description] = {
    "can fly": described("duck flamingo owl plane rocket", "penguin"),
    "can swim": described(
        "duck fish frog penguin turtle", "boat cat cow dog flamingo owl pig rabbit"
    ),
    "can bark": described("dog"),
    "can sail": described("boat"),
    "gives milk": described("cow", "cat dog pig rabbit"),
    "catches mice": described("cat", "dog flamingo frog owl pig turtle"),
    "lives on a farm": described("cow pig", "cat dog duck fish frog owl rabbit"),
    "grows on a tree": described("apple lemon pear", "banana strawberry"),
    "grows in the ground": described("carrot", "banana strawberry"),
    "is sour": described("lemon", "apple pear strawberry"),
    "is baked with cheese": described("pizza"),
    "has wheels": described("bicycle bus car", "plane rocket"),
    "is for a game": described("basketball football"),
    "opens a lock": described("key"),
    "plays music": described("guitar", "bus car"),
    "pours tea": described("teapot"),
    "keeps you dry": described("umbrella", "boat bus car plane rocket"),
}
"""Predicate -> its classes, for "Which one can swim?" """

SIDES: tuple[str, ...] = ("to the left of", "to the right of", "above", "below")
"""Sides of an object on which another can be."""


class Placed(Protocol):
    """An object with a class name and a box (x1, y1, x2, y2) in pixels."""

    @property
    def name(self) -> str: ...

    @property
    def box(self) -> tuple[int, int, int, int]: ...


@dataclass(frozen=True, slots=True)
class Instruction:
    """A request that fits exactly one object of its scene."""

    text: str
    kind: Kind


def instructions(objects: Sequence[Placed], index: int) -> list[Instruction]:
    """Return all unambiguous instructions for the object at ``index``, always in the same order."""
    texts: dict[Kind, Iterator[str]] = {
        "class": by_class(objects, index),
        "relation": by_relation(objects, index),
        "use": by_use(objects, index),
    }
    # The order counts: callers draw a random index into this list.
    return [Instruction(text, kind) for kind in KINDS for text in texts[kind]]


def by_class(objects: Sequence[Placed], index: int) -> Iterator[str]:
    """Yield requests by name, if no other object has the same."""
    name = objects[index].name
    if [other.name for other in objects].count(name) == 1:
        yield f"Find the {name}."
        yield f"Where is the {name}?"


def by_relation(objects: Sequence[Placed], index: int) -> Iterator[str]:
    """Yield requests by the place beside another object, with and without a category."""
    for reference in objects:
        if reference is objects[index]:
            continue
        for side in SIDES:
            # Asked strictly, excluded generously: the object must be plainly on the side, and it is
            # enough for a rival to be on it at all.
            if not beside(objects[index], reference, side):
                continue
            on_side = [o for o in objects if o is not reference and leans(o, reference, side)]
            if len(on_side) == 1:
                yield f"What is {side} the {reference.name}?"
            for noun, description in CATEGORIES.items():
                if only(on_side, objects[index], description):
                    yield f"Find the {noun} {side} the {reference.name}."


def by_use(objects: Sequence[Placed], index: int) -> Iterator[str]:
    """Yield requests by category, and by the abilities and uses of the object."""
    for noun, description in CATEGORIES.items():
        if only(objects, objects[index], description):
            yield f"Find the {noun}."
    for use, description in USES.items():
        if only(objects, objects[index], description):
            yield f"Which one {use}?"


def only(objects: Sequence[Placed], candidate: Placed, description: Description) -> bool:
    """Return whether the candidate fits, and none of the other objects fits or is arguable."""
    generous = description.fits | description.arguable
    rivals = [other for other in objects if other.name in generous]
    return candidate.name in description.fits and rivals == [candidate]


def beside(candidate: Placed, reference: Placed, side: str) -> bool:
    """Return whether the candidate plainly lies on a side of the reference.

    It lies past the reference's edge there, and its centre is at least as far off in that direction
    as across it.
    """
    right, down = centre_offset(candidate, reference)
    (x1, y1, x2, y2), (left, top, far_right, bottom) = candidate.box, reference.box
    if side == "to the left of":
        return x2 <= left and -right >= abs(down)
    if side == "to the right of":
        return x1 >= far_right and right >= abs(down)
    if side == "above":
        return y2 <= top and -down >= abs(right)
    return y1 >= bottom and down >= abs(right)


def leans(candidate: Placed, reference: Placed, side: str) -> bool:
    """Return whether the candidate's centre lies on a side of the reference's, however little."""
    right, down = centre_offset(candidate, reference)
    offset = {"to the left of": -right, "to the right of": right, "above": -down, "below": down}
    return offset[side] > 0


def centre_offset(candidate: Placed, reference: Placed) -> tuple[float, float]:
    """Return the pixels to the right and down from the reference's centre to the candidate's."""
    # x1, y1, x2, y2 of the candidate and of the reference.
    (a1, b1, a2, b2), (c1, d1, c2, d2) = candidate.box, reference.box
    return (a1 + a2 - c1 - c2) / 2, (b1 + b2 - d1 - d2) / 2
