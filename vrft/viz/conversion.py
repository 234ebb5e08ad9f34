"""Boxes as arrays, and as the objects of supervision and FiftyOne where these are installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrft.boxes import Box
from vrft.errors import UserError
from vrft.viz.exhibits import Exhibit, Mark


@dataclass(frozen=True)
class BoxArrays:
    """n boxes as arrays: ``xyxy`` [n, 4] in pixels, ``class_id`` [n] and ``class_name`` [n]."""

    xyxy: NDArray[np.float32]
    class_id: NDArray[np.int64]
    class_name: NDArray[np.str_]


def arrays(marks: Sequence[Mark], size: tuple[int, int]) -> BoxArrays:
    """Return the boxes of marks in pixels of a picture of ``size`` (width, height).

    A class is a label; classes are numbered from 0 in the order of the marks.
    """
    labels = list(dict.fromkeys(mark.label for mark in marks))
    return BoxArrays(
        np.array([mark.box.pixels(*size) for mark in marks], np.float32).reshape(-1, 4),
        np.array([labels.index(mark.label) for mark in marks], np.int64),
        np.array([mark.label for mark in marks], np.str_),
    )


def detections(boxes: BoxArrays) -> Any:
    """Return boxes as ``supervision.Detections``; UserError where it is not installed."""
    supervision = installed("supervision", "to_supervision")
    names = {"class_name": boxes.class_name}
    return supervision.Detections(xyxy=boxes.xyxy, class_id=boxes.class_id, data=names)


def fiftyone_sample(exhibit: Exhibit) -> Any:
    """Return a sample with its boxes as a ``fiftyone.Sample``.

    Its fields: sample_id, question, true and, by the name of each answer, its boxes, NAME_text,
    NAME_readable and NAME_metrics. Raises UserError for a picture that is no file, and where the
    package is not installed.
    """
    if not isinstance(exhibit.image, Path):
        raise UserError(
            f"sample {exhibit.name}: FiftyOne shows files, and its picture is "
            f"{'missing' if exhibit.image is None else 'in memory'}; save it and name the file"
        )
    fiftyone = installed("fiftyone", "to_fiftyone")

    def boxes_of(name: str, boxes: Sequence[Box]) -> Any:
        made = [fiftyone.Detection(label=name, bounding_box=corner_and_size(box)) for box in boxes]
        return fiftyone.Detections(detections=made)

    fields: dict[str, Any] = {"sample_id": exhibit.name, "question": exhibit.question}
    fields["true"] = boxes_of("true", exhibit.truth)
    for answer in exhibit.answers:
        fields[answer.name] = boxes_of(answer.name, answer.boxes)
        fields[f"{answer.name}_text"] = answer.text
        fields[f"{answer.name}_readable"] = answer.readable
        fields[f"{answer.name}_metrics"] = dict(answer.metrics)
    return fiftyone.Sample(filepath=str(exhibit.image.absolute()), **fields)


def corner_and_size(box: Box) -> list[float]:
    """Return a box as [x, y, width, height] in fractions of the picture, as FiftyOne has it."""
    return [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]


def installed(package: str, need: str) -> Any:
    """Import an optional package; UserError, which says what needs it, where it is missing."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise UserError(
            f"{need} needs the package {package}, which is not installed; run "
            f"`pip install 'vrft[{package}]'`"
        ) from None
