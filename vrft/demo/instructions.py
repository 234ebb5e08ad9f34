"""What can be asked about a demo scene: its classes, what is true of them, and how to ask.

Every instruction has one answer in its scene: one object fits it, and no other object fits even
under a generous reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["class", "relation", "use"]

KINDS: tuple[Kind, ...] = ("class", "relation", "use")
"""How an instruction singles out its object: by name, by place, by what it is or is good for."""

ANIMALS = frozenset(
    {"cat", "cow", "dog", "duck", "fish", "flamingo", "frog", "owl", "penguin", "pig", "rabbit"}
    | {"turtle"}
)
BIRDS = frozenset({"duck", "flamingo", "owl", "penguin"})
FRUIT = frozenset({"apple", "banana", "lemon", "pear", "strawberry"})
FOOD = FRUIT | {"carrot", "donut", "pizza"}
VEHICLES = frozenset({"bicycle", "boat", "bus", "car", "plane", "rocket"})
TOOLS = frozenset({"basketball", "football", "guitar", "key", "teapot", "umbrella"})

CLASSES: tuple[str, ...] = tuple(sorted(ANIMALS | FOOD | VEHICLES | TOOLS))


@dataclass(frozen=True, slots=True)
class Description:
    """Which classes fit a description, and which of the others one might argue about."""

    fits: frozenset[str]
    arguable: frozenset[str] = frozenset()


def described(fits: str, arguable: str = "") -> Description:
    """A description from two lists of class names, separated by spaces."""
    return Description(frozenset(fits.split()), frozenset(arguable.split()))


CATEGORIES: dict[str, Description] = {
    "animal": Description(ANIMALS),
    "bird": Description(BIRDS),
    "fruit": Description(FRUIT),
    "food": Description(FOOD, frozenset({"fish"})),
    "vehicle": Description(VEHICLES),
}
"""Noun -> classes: "Find the animal." """

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
"""What one can do with it or says about it: "Which one can swim?" """

SIDES: tuple[str, ...] = ("to the left of", "to the right of", "above", "below")


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
    """All unambiguous instructions for the object at ``index``, always in the same order."""
    texts: dict[Kind, Iterator[str]] = {
        "class": by_class(objects, index),
        "relation": by_relation(objects, index),
        "use": by_use(objects, index),
    }
    return [Instruction(text, kind) for kind in KINDS for text in texts[kind]]


def by_class(objects: Sequence[Placed], index: int) -> Iterator[str]:
    """Requests by name; the classes of a scene differ, unless the caller made it otherwise."""
    name = objects[index].name
    if [other.name for other in objects].count(name) == 1:
        yield f"Find the {name}."
        yield f"Where is the {name}?"


def by_relation(objects: Sequence[Placed], index: int) -> Iterator[str]:
    """Requests by the place beside another object, with and without a category."""
    for reference in objects:
        if reference is objects[index]:
            continue
        for side in SIDES:
            if not beside(objects[index], reference, side):
                continue
            on_side = [o for o in objects if o is not reference and leans(o, reference, side)]
            if len(on_side) == 1:
                yield f"What is {side} the {reference.name}?"
            for noun, description in CATEGORIES.items():
                if only(on_side, objects[index], description):
                    yield f"Find the {noun} {side} the {reference.name}."


def by_use(objects: Sequence[Placed], index: int) -> Iterator[str]:
    """Requests by category, or by what the object can do or is good for."""
    for noun, description in CATEGORIES.items():
        if only(objects, objects[index], description):
            yield f"Find the {noun}."
    for use, description in USES.items():
        if only(objects, objects[index], description):
            yield f"Which one {use}?"


def only(objects: Sequence[Placed], one: Placed, description: Description) -> bool:
    """Whether ``one`` fits, and none of the other objects fits or is arguable."""
    generous = description.fits | description.arguable
    return one.name in description.fits and [o for o in objects if o.name in generous] == [one]


def beside(one: Placed, reference: Placed, side: str) -> bool:
    """Whether ``one`` plainly lies on a side: past the reference's edge, and more so than askew."""
    right, down = centre_offset(one, reference)
    (x1, y1, x2, y2), (left, top, far_right, bottom) = one.box, reference.box
    if side == "to the left of":
        return x2 <= left and -right >= abs(down)
    if side == "to the right of":
        return x1 >= far_right and right >= abs(down)
    if side == "above":
        return y2 <= top and -down >= abs(right)
    return y1 >= bottom and down >= abs(right)


def leans(one: Placed, reference: Placed, side: str) -> bool:
    """The generous reading of a side: the centre lies on it, however little."""
    right, down = centre_offset(one, reference)
    offset = {"to the left of": -right, "to the right of": right, "above": -down, "below": down}
    return offset[side] > 0


def centre_offset(one: Placed, reference: Placed) -> tuple[float, float]:
    """Pixels to the right and down from the reference's centre to the centre of ``one``."""
    (a1, b1, a2, b2), (c1, d1, c2, d2) = one.box, reference.box
    return (a1 + a2 - c1 - c2) / 2, (b1 + b2 - d1 - d2) / 2
