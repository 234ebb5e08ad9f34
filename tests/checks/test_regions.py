"""True boxes and shapes that are not those of their picture are named."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from fakes.pointing import Pointing, sample
from PIL import Image

from vrft.boxes import Box
from vrft.checks.regions import check_shapes, fraction_inside
from vrft.checks.samples import OpenedPicture, OpenedSample
from vrft.masks import Polygon, Region
from vrft.types import Sample


@pytest.mark.parametrize(
    ("polygon", "fraction"),
    [
        # inside, at the edges, half outside on the right, at a corner, beside, no height
        ([(10, 10), (30, 10), (30, 30)], 1.0),
        ([(0, 0), (100, 0), (100, 50)], 1.0),
        ([(90, 10), (110, 10), (110, 30)], 0.5),
        ([(-10, -10), (10, -10), (10, 10)], 0.25),
        ([(200, 10), (210, 10), (210, 30)], 0.0),
        ([(10, 10), (30, 10)], 1.0),
        ([(10, 60), (30, 60)], 0.0),
    ],
)
def test_the_fraction_inside_is_that_of_the_box_around_the_shapes(
    polygon: Polygon, fraction: float
) -> None:
    assert fraction_inside([polygon], (100, 50)) == pytest.approx(fraction)


def test_shapes_that_leave_their_picture_are_named() -> None:
    def marked(id: str, left: float) -> OpenedSample[Region | None]:
        polygon = ((left, 10.0), (left + 20, 10.0), (left + 20, 30.0))
        image = Image.new("RGB", (100, 50))
        asked = replace(sample(id, image), answer=Region((polygon,)))
        return OpenedSample(asked, (OpenedPicture(image.size, ""),), (image.size,))

    # inside; 0.1 of 20 outside, which rounding explains; a quarter; three quarters; all
    split = [marked("a", 80), marked("b", 80.1), marked("c", 85), marked("d", 95), marked("e", 200)]
    findings = check_shapes(Pointing(), split)
    (problem,), (note,) = findings.problems, findings.notes
    assert str(problem) == "2 have shapes that lie mostly outside their picture: d, e"
    assert str(note) == "1 have shapes that are cut at the edge of their picture: c"


@dataclass(frozen=True)
class Boxed(Pointing):
    """A task whose samples all have the same boxes."""

    true: tuple[Box, ...] = ()

    def boxes(self, sample: Sample[Region | None]) -> tuple[Box, ...]:
        return self.true


SIDE = 200
FRACTIONS = [(0.2, 0.3, 0.9, 0.8), (0.0, 0.0, 1.0, 1.0)]
# Corners of four boxes in a picture of 200 x 200, three of which end behind its middle.
CORNERS = [(10, 20, 60, 80), (90, 30, 190, 120), (120, 120, 180, 190), (30, 110, 90, 180)] * 3


def pixels(x1: float, y1: float, x2: float, y2: float) -> Box:
    box = Box.of_pixels(x1, y1, x2, y2, SIDE, SIDE)
    assert box is not None
    return box


@pytest.mark.parametrize(
    ("boxes", "note"),
    [
        # right; fractions read as pixels, and as thousandths; corners read as width and height
        ([pixels(*corners) for corners in CORNERS], ""),
        ([pixels(*corners) for corners in FRACTIONS], "in the first pixel"),
        ([Box(*(n / 1000 for n in corners)) for corners in FRACTIONS], "in the first pixel"),
        ([pixels(x, y, x + w, y + h) for x, y, w, h in CORNERS], "ends at the right or bottom"),
        # whole pictures, and too few boxes to tell
        ([Box(0, 0, 1, 1)] * 20, ""),
        ([Box(0.5, 0.5, 1, 1)] * 8, ""),
    ],
)
def test_boxes_that_were_read_in_another_frame_are_noted(boxes: list[Box], note: str) -> None:
    opened = OpenedSample(sample("a"), (OpenedPicture((SIDE, SIDE), ""),), ((56, 56),))
    findings = check_shapes(Boxed(tuple(boxes)), [opened])
    assert not findings.problems
    assert len(findings.notes) == bool(note)
    assert all(note in str(finding) for finding in findings.notes)


def test_a_true_box_without_a_picture_is_named() -> None:
    (problem,) = check_shapes(Pointing(), [OpenedSample(sample("a"), (), ())]).problems
    assert str(problem) == "1 have a true box and no picture: a"


@pytest.mark.parametrize(
    ("side", "ends", "noted"),
    [
        # the first thousand of 3000 pixels: boxes in thousandths, but for one that goes further
        (3000, [1000] * 9, True),
        (3000, [1000] * 8 + [1001], False),
        # too few boxes, and a picture in which many boxes may end there
        (3000, [1000] * 8, False),
        (1200, [1000] * 9, False),
    ],
)
def test_thousandths_that_were_read_as_pixels_are_noted(
    side: int, ends: list[int], noted: bool
) -> None:
    boxes = tuple(Box(0.01, 0.01, end / side, end / side) for end in ends)
    opened = OpenedSample(sample("a"), (OpenedPicture((side, side), ""),), ((56, 56),))
    notes = check_shapes(Boxed(boxes), [opened]).notes
    assert ["data.boxes=thousandths" in str(note) for note in notes] == [True] * noted
