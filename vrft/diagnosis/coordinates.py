"""The frames in which the boxes of answers may be written, and how well each fits the truth.

A model that writes boxes in another frame than the one they are read in earns little, and learns to
write the wrong numbers. The same numbers are read in every frame here; where another one fits the
truth far better, the run says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vrft import answers
from vrft.boxes import WRITTEN, Box, iou
from vrft.types import View

READ = "as they are read"
"""The frame in which the task has read the boxes."""

FRAMES: Mapping[str, str] = MappingProxyType(
    {
        "thousandths": "thousandths of the picture's sides (task.coordinates=thousandths)",
        "pixels": "pixels of the resized picture (task.coordinates=pixels)",
        "fractions": "fractions of the picture's sides (task.coordinates=fractions)",
        "y before x": "thousandths with y before x: say in task.template that x comes first",
        "width and height": "x, y, width, height: say in task.template that two corners are asked",
    }
)
"""Frame -> what it means and how it is asked for; the order is that of the metrics."""

NAMES = (READ, *FRAMES)


def corners_of(text: str) -> tuple[float, ...] | None:
    """Return the four numbers of the only box in the last answer of a text; None without one."""
    answer = answers.last_answer(text)
    written = {
        tuple(float(number) for number in match.groups() if number is not None)
        for match in WRITTEN.finditer(text if answer is None else answer)
    }
    return written.pop() if len(written) == 1 else None


def box_in(frame: str, corners: Sequence[float], view: View) -> Box | None:
    """Return the box that four numbers mean in a frame; None where they are none in it."""
    a, b, c, d = corners
    width, height = {"pixels": (view.width, view.height), "fractions": (1, 1)}.get(
        frame, (1000, 1000)
    )
    if frame == "y before x":
        a, b, c, d = b, a, d, c
    elif frame == "width and height":
        c, d = a + c, b + d
    if not (0 <= a < c <= width and 0 <= b < d <= height):
        return None
    return Box(a / width, b / height, c / width, d / height)


def overlaps(text: str, truth: Sequence[Box], view: View, read: Box | None) -> list[float]:
    """Return the IoU in [0, 1] of an answer's box with the nearest true one, by frame as in NAMES.

    ``read`` is the box that the task has read, None for an unreadable answer.
    """
    corners = corners_of(text)
    boxes = [read, *(box_in(frame, corners, view) if corners else None for frame in FRAMES)]
    return [0.0 if box is None else max(iou(box, true) for true in truth) for box in boxes]
