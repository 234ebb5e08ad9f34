"""Average precision of found boxes, by COCO's own evaluator (pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vrft.boxes import Box


@dataclass(frozen=True, slots=True)
class Found:
    """A box that was found, and how sure of it the finder is, in [0, 1]."""

    box: Box
    confidence: float


@dataclass(frozen=True, slots=True)
class Query:
    """One picture asked for one category: the true boxes, and what was found.

    What is found in a crowd is neither right nor wrong.
    """

    category: str
    truth: Sequence[Box]
    found: Sequence[Found]
    crowds: Sequence[Box] = ()


def average_precision(queries: Sequence[Query]) -> dict[str, tuple[float, float]]:
    """(AP, AP at IoU 0.5) in [0, 1] of every category that has true boxes, in the order asked.

    AP is the mean over IoU 0.5 to 0.95, boxes of all sizes, the 100 surest ones of each query. A
    category without true boxes has none, as in COCO.
    """
    by_category: dict[str, list[Query]] = {}
    for query in queries:
        by_category.setdefault(query.category, []).append(query)
    return {
        name: precision(found)
        for name, found in by_category.items()
        if any(query.truth for query in found)
    }


def precision(queries: Sequence[Query]) -> tuple[float, float]:
    """AP and AP at IoU 0.5 of one category. Fractions of pictures do, as IoU has no unit."""
    from pycocotools.cocoeval import COCOeval

    truth, found = [], []
    for number, query in enumerate(queries, start=1):
        truth += [annotation(number, box) for box in query.truth]
        truth += [annotation(number, box, iscrowd=1) for box in query.crowds]
        found += [annotation(number, one.box, score=one.confidence) for one in query.found]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        evaluation = COCOeval(dataset(len(queries), truth), dataset(len(queries), found), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 2]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    by_threshold = np.mean(evaluation.eval["precision"][:, :, 0, 0, 0], axis=1)
    return float(by_threshold.mean()), float(by_threshold[0])


def annotation(picture: int, box: Box, **fields: float) -> dict[str, Any]:
    """A box as COCO writes it: corner, width and height."""
    corner_and_sides = [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]
    place = {"image_id": picture, "category_id": 1, "bbox": corner_and_sides, "area": box.area}
    return {"iscrowd": 0, **place, **fields}


def dataset(pictures: int, annotations: Sequence[Mapping[str, Any]]) -> Any:
    """COCO's index of so many pictures of one category with these annotations."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(1, pictures + 1)],
        "categories": [{"id": 1}],
        "annotations": [{"id": i, **one} for i, one in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco
