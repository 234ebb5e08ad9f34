"""Boxes to masks by SAM, and how well the masks cover what was meant: gIoU and cIoU (LISA).

``mask_giou`` is the mean over samples of the IoU of masks, ``mask_ciou`` the sum of all
intersections over that of all unions. The truth is the union of the wanted shapes; ignored pixels
count nowhere. An unreadable answer is an empty mask. ``legacy_`` measures the same masks against
the first shape alone, as published.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from vrft import masks
from vrft.boxes import Box
from vrft.errors import UserError
from vrft.evaluation.scoring import boxes_read
from vrft.images import image_size, open_image
from vrft.masks import Mask, Region
from vrft.progress import progress
from vrft.task import Task
from vrft.types import A, Score, Scored

MASKS = "masks.jsonl"

Segmenter = Callable[[Image.Image, Box], Mask]
"""The mask [height, width] of what a box holds."""

Key = tuple[str, tuple[float, ...]]
"""A sample's id and the box that was read, without numbers where none could be."""

Codes = dict[Key, Mapping[str, Any]]
"""Run-length codes of masks."""


def with_masks(
    task: Task[A], graded: Sequence[Scored[A]], name: str, folder: Path | None = None
) -> tuple[Scored[A], ...]:
    """The graded answers with the metrics of the masks that the segmenter ``name`` makes.

    Masks are kept in the folder's masks.jsonl, and the model is loaded only if some are missing.
    UserError for a sample without true shapes and for a segmenter that cannot be loaded.
    """
    regions = [true_region(task, answer) for answer in graded]
    codes = make_masks(task, graded, name, folder)
    scored = []
    for answer, region in zip(graded, regions, strict=True):
        code = codes.get(key(answer))
        mask = None if code is None else masks.decode(dict(code))
        size = image_size(picture(task, answer))
        scored.append(replace(answer, score=measured(answer.score, region, mask, size)))
    return tuple(scored)


def true_region(task: Task[A], answer: Scored[A]) -> Region:
    """What the sample's shapes mark; UserError if the data has none."""
    region = task.region(answer.sample)
    if region is None:
        raise UserError(
            f"segmenter: sample {answer.sample.id!r} has no shapes to compare masks with; "
            "evaluate on data that has, or without segmenter="
        )
    return region


def measured(score: Score, region: Region, predicted: Mask | None, size: tuple[int, int]) -> Score:
    """The score with the metrics of a mask of a picture of that size; None is the empty mask."""
    width, height = size
    wanted, counted = masks.paint(region, width, height)
    first = masks.draw([region.first], width, height)
    mask = np.zeros_like(wanted) if predicted is None else predicted
    strict, legacy = areas(wanted, mask & counted), areas(first, mask)
    return replace(
        score,
        metrics={**score.metrics, "mask_giou": share(*strict), "legacy_mask_giou": share(*legacy)},
        ratios={**score.ratios, "mask_ciou": strict, "legacy_mask_ciou": legacy},
    )


def areas(a: Mask, b: Mask) -> tuple[float, float]:
    """The pixels in both masks, and those in either."""
    return float((a & b).sum()), float((a | b).sum())


def share(intersection: float, union: float) -> float:
    """IoU; 0 where there is neither, so that an unreadable answer is never right."""
    return intersection / union if union else 0.0


def key(answer: Scored[A]) -> Key:
    """What an answer's mask depends on."""
    boxes = boxes_read(answer.score)
    return answer.sample.id, astuple(boxes[0]) if boxes else ()


def picture(task: Task[A], answer: Scored[A]) -> Path | Image.Image:
    """The picture that a sample is about."""
    return task.prompt(answer.sample).images[0]


def make_masks(task: Task[A], graded: Sequence[Scored[A]], name: str, folder: Path | None) -> Codes:
    """The masks of all boxes that were read; new ones are added to the folder's file."""
    codes = read_masks(folder / MASKS, name) if folder else {}
    missing = {key(a): a for a in graded if boxes_read(a.score) and key(a) not in codes}
    if not missing:
        return codes
    segmenter = load_segmenter(name)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(appended(folder / MASKS)) if folder else None
        shown = stack.enter_context(progress(len(missing), "masks"))
        for (sample_id, corners), answer in missing.items():
            mask = segmenter(open_image(picture(task, answer)), Box(*corners))
            code = codes[sample_id, corners] = masks.encode(mask)
            row = {"segmenter": name, "id": sample_id, "box": corners, "mask": code}
            if file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
            shown.advance(1)
    return codes


def appended(path: Path) -> TextIO:
    """The file opened to add lines; a last one that a kill has cut off is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0
    file = path.open("a", encoding="utf-8", newline="\n")
    file.truncate(whole)
    return file


def read_masks(path: Path, name: str) -> Codes:
    """The masks of a file that this segmenter made; a last line cut off by a kill is left out.

    UserError that names the line for one that cannot be read.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    codes: Codes = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            made_by, found = row["segmenter"], (str(row["id"]), tuple(map(float, row["box"])))
            code = {"size": row["mask"]["size"], "counts": str(row["mask"]["counts"])}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} line {number}: no mask; delete the file") from error
        if made_by == name:
            codes[found] = code
    return codes


def load_segmenter(name: str) -> Segmenter:
    """A SAM model from the hub or a folder, asked for one mask of each box.

    On the GPU if there is one. UserError for what is no SAM model.
    """
    import torch
    from transformers import SamModel, SamProcessor

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        processor: Any = SamProcessor.from_pretrained(name)
        model: Any = SamModel.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"segmenter={name}: no SAM model ({reason:.200}); give a hub id such as "
            "facebook/sam-vit-huge, or a folder"
        ) from error
    model.to(device).eval()

    @torch.inference_mode()
    def segment(image: Image.Image, box: Box) -> Mask:
        corners = [[list(box.pixels(*image.size))]]
        inputs = processor(image, input_boxes=corners, return_tensors="pt")
        found = model(
            pixel_values=inputs["pixel_values"].to(device),
            input_boxes=inputs["input_boxes"].to(device, torch.float32),
            multimask_output=False,
        )
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        (mask,) = processor.post_process_masks(found.pred_masks.cpu(), *sizes)
        return np.asarray(mask[0, 0], dtype=np.bool_)

    return segment
