"""Average precision of detected boxes, by COCO's own evaluator (pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vrft.boxes import Box


@dataclass(frozen=True, slots=True)
class DetectedBox:
    """A box in a model's answer, and the model's confidence in it, in [0, 1]."""

    box: Box
    confidence: float


Found = DetectedBox
"""Another name of DetectedBox, for task files that import it."""


@dataclass(frozen=True, slots=True)
class Query:
    """One category asked of one picture: the true boxes, and the boxes of the answer."""

    category: str
    truth: Sequence[Box]
    found: Sequence[DetectedBox]
    crowds: Sequence[Box] = ()
    """Boxes around many objects; a detected box inside one is neither right nor wrong."""


def average_precision(queries: Sequence[Query]) -> dict[str, tuple[float, float]]:
    """Return (AP, AP at IoU 0.5) in [0, 1] of each category, in the order of the queries.

    AP is the mean over the IoU thresholds 0.5, 0.55 ... 0.95, for boxes of all sizes and the 100
    most confident boxes of each query. A category without true boxes is left out, as in COCO.
    """
    by_category: dict[str, list[Query]] = {}
    for query in queries:
        by_category.setdefault(query.category, []).append(query)
    return {
        name: precision(asked)
        for name, asked in by_category.items()
        if any(query.truth for query in asked)
    }


def precision(queries: Sequence[Query]) -> tuple[float, float]:
    """Return AP and AP at IoU 0.5 of one category.

    Boxes stay in fractions of their pictures: IoU has no unit, and COCO's ranges of areas, the
    only place where pixels matter, are replaced.
    """
    from pycocotools.cocoeval import COCOeval

    truth, detected = [], []
    for number, query in enumerate(queries, start=1):
        truth += [annotation(number, box) for box in query.truth]
        truth += [annotation(number, box, iscrowd=1) for box in query.crowds]
        detected += [annotation(number, d.box, score=d.confidence) for d in query.found]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = COCOeval(dataset(len(queries), truth), dataset(len(queries), detected), "bbox")
        # One range for all areas; areas are shares of the picture, at most 1.
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 2]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    # [10 thresholds, 101 recall points, 1 category, 1 range of areas, 1 maximum of boxes]
    by_threshold = np.mean(evaluation.eval["precision"][:, :, 0, 0, 0], axis=1)
    return float(by_threshold.mean()), float(by_threshold[0])


def annotation(picture: int, box: Box, **fields: float) -> dict[str, Any]:
    """Return a box as COCO writes it: corner, width and height."""
    corner_and_sides = [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]
    place = {"image_id": picture, "category_id": 1, "bbox": corner_and_sides, "area": box.area}
    return {"iscrowd": 0, **place, **fields}


def dataset(pictures: int, annotations: Sequence[Mapping[str, Any]]) -> Any:
    """Return COCO's index of that many pictures of one category, with these annotations."""
    from pycocotools.coco import COCO

    coco = COCO()
    # Ids start at 1: COCOeval stores the id of the matched annotation, and 0 for no match.
    coco.dataset = {
        "images": [{"id": number} for number in range(1, pictures + 1)],
        "categories": [{"id": 1}],
        "annotations": [{"id": i, **entry} for i, entry in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco
