"""True boxes and shapes of a split, as ``vrft check`` compares them with their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vrft.checks.findings import Findings, name_samples
from vrft.checks.samples import OpenedSample
from vrft.masks import Polygon
from vrft.task import Task
from vrft.types import A

INSIDE = 0.5
"""Shapes of which less than this fraction lies inside the picture were drawn for another one."""
NEARLY = 0.99
"""Shapes with less than this fraction inside lose more by the cut than rounding explains."""
TINY = 1 / 1000
"""The longest side of a box, as a fraction, that came of reading fractions as thousandths."""
MANY = 0.5
"""Of true boxes, the fraction at the right or bottom edge that no way of taking pictures explains.

Corners read as width and height put three boxes of four there; of COCO's, it is one of four.
"""
LARGE = 1250
"""Pixels of a side beyond which some of many true boxes would end behind the first thousand."""
FEW_BOXES = 8
"""Up to so many boxes of a split may all lie at an edge by chance."""


def check_shapes(task: Task[A], samples: Iterable[OpenedSample[A]]) -> Findings:
    """Report true boxes without a picture and shapes that lie outside; note those that are cut."""
    samples = list(samples)
    no_picture: list[str] = []
    outside: list[str] = []
    cut: list[str] = []
    for opened in samples:
        sample = opened.sample
        if task.boxes(sample) and not opened.pictures:
            no_picture.append(sample.id)
        region = task.region(sample)
        if region is None or not opened.pictures:
            continue
        # Shapes are in pixels of the file: compared with another picture, most would leave it.
        inside = fraction_inside(region.wanted, opened.pictures[0].size)
        if inside < NEARLY:
            (outside if inside < INSIDE else cut).append(sample.id)
    problems = [
        *name_samples("have a true box and no picture", no_picture),
        *name_samples("have shapes that lie mostly outside their picture", outside),
    ]
    notes = name_samples("have shapes that are cut at the edge of their picture", cut)
    return Findings(tuple(problems), notes) + check_boxes(task, samples)


def check_boxes(task: Task[A], samples: Sequence[OpenedSample[A]]) -> Findings:
    """Note true boxes that look as if their numbers had been read in another frame."""
    boxes = [
        (opened.sample.id, box, opened.pictures[0].size)
        for opened in samples
        if opened.pictures
        for box in task.boxes(opened.sample)
    ]
    # In pixels of the file, or in thousandths, a box in fractions lies within the first unit.
    tiny = [
        name
        for name, box, (width, height) in boxes
        if box.x2 <= max(1 / width, TINY) and box.y2 <= max(1 / height, TINY)
    ]
    at_far_edge = [name for name, box, _ in boxes if box.x2 == 1 or box.y2 == 1]
    at_near_edge = [name for name, box, _ in boxes if box.x1 == 0 or box.y1 == 0]
    enough = len(boxes) > FEW_BOXES and len(at_far_edge) > MANY * len(boxes)
    cut = at_far_edge if enough and 2 * len(at_near_edge) < len(at_far_edge) else []
    fractions = "have a true box in the first pixel, as boxes in 0..1 that were read as pixels"
    corners = (
        "have a true box that ends at the right or bottom edge, as corners (x2, y2) that were "
        "read as width and height"
    )
    large = [
        (name, box.x2 * width <= 1000 and box.y2 * height <= 1000)
        for name, box, (width, height) in boxes
        if min(width, height) > LARGE
    ]
    near = [name for name, within in large if within]
    near = near if len(large) > FEW_BOXES and len(near) == len(large) else []
    thousandths = (
        "have a true box in the first 1000 pixels of a larger picture, as boxes in thousandths "
        "that were read as pixels (data.boxes=thousandths)"
    )
    return Findings(
        (),
        (
            *name_samples(fractions, tiny),
            *name_samples(corners, cut),
            *name_samples(thousandths, near),
        ),
    )


def fraction_inside(polygons: Sequence[Polygon], size: tuple[int, int]) -> float:
    """Return the fraction, of the box around all polygons, inside a picture of ``size`` pixels."""
    fraction = 1.0
    for axis, side in enumerate(size):
        ends = [point[axis] for polygon in polygons for point in polygon]
        low, high = min(ends), max(ends)
        inside = min(high, side) - max(low, 0)
        # A box without extent along an axis, such as a horizontal line, is in or out as a whole.
        fraction *= max(inside, 0) / (high - low) if high > low else float(0 <= low <= side)
    return fraction
