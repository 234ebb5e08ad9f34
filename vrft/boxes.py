"""Boxes as fractions of the picture, and the two ways in which Qwen-VL models write them.

Qwen2-VL writes thousandths of each axis, Qwen2.5-VL pixels of the picture as resized by the
processor. A ``View`` says which, and nothing outside this module knows about the difference.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

from vrft import answers, wrapping
from vrft.types import View

# Possessive spaces (`*+`) and bounded digits keep every search linear in the length of the text.
NUMBER = r"\s*+([+-]?[0-9]{1,7}(?:\.[0-9]{1,20})?)\s*+"
POINTS = (rf"\({NUMBER},{NUMBER}\)", rf"\[{NUMBER},{NUMBER}\]")
CORNERS = f"{NUMBER},{NUMBER},{NUMBER},{NUMBER}"
FORMS = [rf"{point}\s*+,\s*+{point}" for point in POINTS] + [rf"\({CORNERS}\)", rf"\[{CORNERS}\]"]
WRITTEN = re.compile("|".join(FORMS))
"""A box as models write it. A match has sixteen groups, of which four are numbers."""

OPENING = re.compile(r"[(\[]\s*+[+-]?[0-9]")
"""The start of any point or box, complete or not."""

LABEL = re.compile(
    r"""(["'])(?:label|name|category|description|caption|text_content)\1\s*+:\s*+"""
    r"""(?:"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')""",
    re.DOTALL,
)
"""What a JSON object calls the thing in its box: {"bbox_2d": [...], "label": "cup (2)"}."""

DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|except|excluding|without|than|instead of|anything but)"
    r"|n['’]t|不[是在]?)(?: (?:at|in|inside|within|be|the|a|box|region|area|around|for))*+"
    r"[\s:(\[]*+$",
    re.IGNORECASE,
)
"""The words directly before a box that is not meant. Further off they belong to a description, as
in "the man not wearing a hat (100,200),(300,400)"."""
PHRASE = 40
"""Characters on either side of a box in which such words are looked for."""

THOUSANDTHS = View(1000, 1000, "thousandths")
"""The view of published data, which writes thousandths whatever the size of the picture."""
TEN_THOUSANDTHS = View(10_000, 10_000, "pixels")

LARGEST = 1e6
"""A bound on coordinates, far beyond any picture."""

IN_FRACTIONS = "refused in [0, 1]: task.coordinates=fractions"
"""The metric that counts answers in fractions of the picture, where none are expected.

A report without it has no such answers: its share is 0.
"""

Coordinates = Literal["thousandths", "pixels", "fractions"]
"""The setting ``task.coordinates``: the numbers in which boxes are asked for and read.

Pixels are those of the resized picture, fractions are shares of its width and height in [0, 1].
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A box with its corners top left (x1, y1) and bottom right (x2, y2).

    Coordinates are fractions of the picture's width and height: 0 <= x1 < x2 <= 1, and so for y.
    ValueError for anything else, an empty box included.
    """

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        # NaN fails every comparison, so it is refused too.
        if not (0 <= self.x1 < self.x2 <= 1 and 0 <= self.y1 < self.y2 <= 1):
            raise ValueError(f"not a box in fractions of a picture: {astuple(self)}")

    @classmethod
    def parse(cls, text: str, view: View, fractions: bool = False) -> Box | None:
        """Read the only box in an answer, in the view's space; None for any other answer.

        A box is two points, ``(x1,y1),(x2,y2)``, or four numbers, ``[x1,y1,x2,y2]``, in round or
        square brackets, also inside JSON such as Qwen2.5-VL's ``{"bbox_2d": [...]}``, in integers
        or decimals; words around it are ignored, and the same box may be written again. Fractions
        of the picture are read if ``fractions`` says so, and then nothing else is.

        No box, a denied one, several boxes or a further point, an empty or inverted box, and one
        that leaves the picture are None and never repaired: a repair would reward answers that the
        evaluator cannot read, and choosing among several boxes would reward guessing.
        """
        corners = _only_corners(text)
        return None if corners is None else cls.of_corners(corners, view, fractions)

    @classmethod
    def of_corners(cls, corners: Sequence[float], view: View, fractions: bool) -> Box | None:
        """Return the box of x1, y1, x2, y2 as a model wrote them; None for corners of no box."""
        x1, y1, x2, y2 = corners
        if in_fractions(corners) and not fractions:
            return None
        width, height = (1, 1) if fractions else units(view)
        # Box raises for such corners, as for a bug; in an answer they are merely unreadable.
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            return None
        return cls(x1 / width, y1 / height, x2 / width, y2 / height)

    @classmethod
    def of_pixels(
        cls, x1: float, y1: float, x2: float, y2: float, width: float, height: float
    ) -> Box | None:
        """Return the box from pixels of a picture of that size, cut to the picture.

        Any other unit does, if the size is in the same one. None if the box lies outside.
        """
        left, right = (min(max(x / width, 0.0), 1.0) for x in (x1, x2))
        top, bottom = (min(max(y / height, 0.0), 1.0) for y in (y1, y2))
        return cls(left, top, right, bottom) if left < right and top < bottom else None

    def pixels(self, width: float, height: float) -> tuple[float, float, float, float]:
        """Return (x1, y1, x2, y2) in pixels of a picture of that size."""
        return self.x1 * width, self.y1 * height, self.x2 * width, self.y2 * height

    def format(self, view: View, fractions: bool = False) -> str:
        """Return the box as a model with this view writes it, or in fractions: (x1,y1),(x2,y2)."""
        x1, y1, x2, y2 = self.fractions() if fractions else self.whole(view)
        return f"({x1},{y1}),({x2},{y2})"

    def fractions(self) -> list[float]:
        """Return [x1, y1, x2, y2] as fractions to four decimals, never empty."""
        return [number / 10_000 for number in self.whole(TEN_THOUSANDTHS)]

    def whole(self, view: View) -> tuple[int, int, int, int]:
        """Return (x1, y1, x2, y2) in whole units of the view's space, never empty.

        Each is rounded to the nearest; a box thinner than one unit becomes one unit wide.
        """
        width, height = units(view)
        x1, x2 = _rounded(self.x1, self.x2, width)
        y1, y2 = _rounded(self.y1, self.y2, height)
        return x1, y1, x2, y2

    @property
    def area(self) -> float:
        """Return the area as a share of the picture, in (0, 1]."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)


def _only_corners(text: str) -> tuple[float, ...] | None:
    """Return x1, y1, x2, y2 of the only box in a text; None if it has none, or anything beside."""
    text = wrapping.unwrapped(without_labels(text))
    matches = list(WRITTEN.finditer(text))
    if any(map(is_denied, matches)):
        return None
    written = {
        tuple(float(number) for number in match.groups() if number is not None) for match in matches
    }
    # The beginning of another point, such as a box that was cut off, is an answer too.
    if len(written) != 1 or OPENING.search(WRITTEN.sub(" ", text)):
        return None
    return written.pop()


def without_labels(text: str) -> str:
    """Return an answer without the labels of its JSON objects, which are no place for a box."""
    return LABEL.sub('"label": ""', text)


def is_denied(match: re.Match[str]) -> bool:
    """Return whether the words beside a box or point in a text say that it is not meant."""
    start, end = match.span()
    return denied_by(match.string[max(start - PHRASE, 0) : start], match.string[end : end + PHRASE])


@functools.lru_cache(maxsize=1024)
def denied_by(before: str, after: str) -> bool:
    """Return whether words directly before a box, or a sentence behind it, deny the box."""
    return DENIED.search(before) is not None or answers.denied("", after)


def in_fractions(corners: Sequence[float]) -> bool:
    """Return whether corners can only be fractions of the picture: all in [0, 1], not all whole.

    No model means boxes of less than a thousandth or a pixel; (0,0),(1,1) is a box of one unit.
    """
    within = all(0 <= number <= 1 for number in corners)
    return within and not all(float(number).is_integer() for number in corners)


def written_in_fractions(text: str) -> bool:
    """Return whether the only box of an answer is in fractions of the picture."""
    corners = _only_corners(text)
    return corners is not None and in_fractions(corners)


def share_in_fractions(texts: Sequence[str | None]) -> dict[str, float]:
    """Return the share of answers that are refused as fractions, under a name that says the remedy.

    The dictionary is empty where no answer is; ``texts`` has None for an answer without text.
    """
    count = sum(text is not None and written_in_fractions(text) for text in texts)
    return {IN_FRACTIONS: count / len(texts)} if count else {}


def is_bounded(value: Any) -> bool:
    """Return whether a value is a number of at most LARGEST; NaN and truth values are none."""
    # json.loads reads NaN and Infinity, and True is an int; comparing with NaN is always False.
    return isinstance(value, int | float) and type(value) is not bool and abs(value) <= LARGEST


def units(view: View) -> tuple[int, int]:
    """Return how many units the picture's width and height have in the view's space."""
    return (1000, 1000) if view.space == "thousandths" else (view.width, view.height)


def view_in(view: View, coordinates: Coordinates | None) -> View:
    """Return the view of the same picture in other coordinates; None: those of the view.

    For fractions too it is the view itself, as they are read apart from its space.
    """
    if coordinates is None or coordinates == "fractions":
        return view
    return replace(view, space=coordinates)


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, in [0, 1]."""
    intersection = _intersection(a, b)
    return intersection / (a.area + b.area - intersection)


def giou(a: Box, b: Box) -> float:
    """Return the generalised IoU of two boxes, in (-1, 1] (Rezatofighi et al., 2019).

    It is the IoU less the share of the hull, the smallest box around both, that neither covers.
    """
    intersection = _intersection(a, b)
    union = a.area + b.area - intersection
    hull = (max(a.x2, b.x2) - min(a.x1, b.x1)) * (max(a.y2, b.y2) - min(a.y1, b.y1))
    return intersection / union - (hull - union) / hull


def _intersection(a: Box, b: Box) -> float:
    """Return the area that two boxes share, 0 where they do not meet."""
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    # Clipped one by one: the product of two negative sides would be a positive area.
    return max(width, 0.0) * max(height, 0.0)


def _rounded(low: float, high: float, units: int) -> tuple[int, int]:
    """Return both ends of a side of a box in whole units, at least one apart."""
    first, last = round(low * units), round(high * units)
    if first < last:
        return first, last
    first = min(first, units - 1)  # at the far edge there is no unit behind the last
    return first, first + 1
