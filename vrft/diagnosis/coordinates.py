"""The frames in which the boxes of answers may be written, and how well each fits the truth.

A model that writes boxes in another frame than the one they are read in earns little, and learns to
write the wrong numbers. The same numbers are read in every frame here; where another one fits the
truth far better, the run says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vrft import answers
from vrft.boxes import WRITTEN, Box, iou, units
from vrft.types import View

READ = "read"
"""The frame in which the task has read the boxes."""

METRIC = "coordinates/"
"""The metrics coordinates/FRAME: the mean IoU of a step's boxes in that frame."""

FRAMES: Mapping[str, str] = MappingProxyType(
    {
        "thousandths": "thousandths of the picture's sides: set task.coordinates=thousandths",
        "pixels": "pixels of the resized picture: set task.coordinates=pixels",
        "fractions": "fractions of the picture's sides: set task.coordinates=fractions",
        "original": "pixels of the picture's file: ask for the model's own numbers in "
        "task.template, or raise model.max_pixels so that pictures are not resized",
        "yx": "thousandths with y before x: say in task.template that x comes first",
        "xywh": "x, y, width, height: say in task.template that two corners are asked for",
    }
)
"""Frame -> what it means and how it is mended; the order is that of ``overlaps``."""

NAMES = (READ, *FRAMES)


def corners_of(text: str) -> tuple[float, ...] | None:
    """Return the four numbers of the only box in the last answer of a text; None without one."""
    answer = answers.last_answer(text)
    written = {
        tuple(float(number) for number in match.groups() if number is not None)
        for match in WRITTEN.finditer(text if answer is None else answer)
    }
    return written.pop() if len(written) == 1 else None


def box_in(
    frame: str, corners: Sequence[float], view: View, size: tuple[int, int] | None = None
) -> Box | None:
    """Return the box that four numbers mean in a frame; None where they are none in it.

    ``size`` is that of the picture's file, None where it is not known.
    """
    a, b, c, d = corners
    extents = {"pixels": (view.width, view.height), "fractions": (1, 1), "original": size}
    extent = extents.get(frame, (1000, 1000))
    if frame == "yx":
        a, b, c, d = b, a, d, c
    elif frame == "xywh":
        # The unit is the model's own: only the order of the numbers is in question.
        extent, c, d = units(view), a + c, b + d
    if extent is None or not (0 <= a < c <= extent[0] and 0 <= b < d <= extent[1]):
        return None
    width, height = extent
    return Box(a / width, b / height, c / width, d / height)


def overlaps(
    text: str, truth: Box, view: View, read: Box | None, size: tuple[int, int] | None = None
) -> list[float]:
    """Return the IoU in [0, 1] of an answer's box with the true one, by frame as in NAMES.

    ``read`` is the box that the task has read, None for an unreadable answer.
    """
    corners = corners_of(text)
    others = [box_in(frame, corners, view, size) if corners else None for frame in FRAMES]
    return [0.0 if box is None else iou(box, truth) for box in (read, *others)]
