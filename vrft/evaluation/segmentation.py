"""From boxes to masks by SAM, and the overlap of masks: gIoU and cIoU (LISA).

``mask_giou`` is the mean over samples of the IoU of masks, ``mask_ciou`` the sum of all
intersections over that of all unions. The true mask is the union of the wanted shapes; ignored
pixels count nowhere. An unreadable answer is an empty mask. ``legacy_`` metrics measure the same
masks against the first shape alone, as published.
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
from vrft.evaluation.scoring import parsed_boxes
from vrft.evaluation.settings_file import ESCAPED
from vrft.images import image_size, open_image
from vrft.masks import Mask, Region
from vrft.progress import progress
from vrft.task import Task
from vrft.types import A, Score, Scored

MASKS = "masks.jsonl"

Segmenter = Callable[[Image.Image, Box], Mask]
"""The mask [height, width] of the object in a box."""

MaskKey = tuple[str, tuple[float, ...]]
"""A sample's id and the four numbers of the box that was read, () where none could be."""

Codes = dict[MaskKey, Mapping[str, Any]]
"""Run-length codes of masks, as pycocotools writes them."""


# --- metrics


def score_masks(
    task: Task[A], scored: Sequence[Scored[A]], name: str, folder: Path | None = None
) -> tuple[Scored[A], ...]:
    """Return the scored answers with the metrics of the masks that the segmenter ``name`` makes.

    Masks are stored in the folder's masks.jsonl, and the model is loaded only if some are missing.
    Raises UserError for a sample without true shapes and for a segmenter that cannot be loaded.
    """
    # All shapes first: data without any is refused before SAM works for an hour.
    regions = []
    for answer in scored:
        region = task.region(answer.sample)
        if region is None:
            raise UserError(
                f"segmenter: sample {answer.sample.id!r} has no shapes to compare masks with; "
                "evaluate on data that has, or without segmenter="
            )
        regions.append(region)
    codes = make_masks(task, scored, name, folder)
    measured = []
    for answer, region in zip(scored, regions, strict=True):
        code = codes.get(mask_key(answer))
        mask = None if code is None else masks.decode(dict(code))
        size = image_size(answer.prompt.images[task.boxed_picture(answer.sample)])
        score = with_mask_metrics(answer.score, region, mask, size)
        measured.append(replace(answer, score=score))
    return tuple(measured)


def with_mask_metrics(
    score: Score, region: Region, predicted: Mask | None, size: tuple[int, int]
) -> Score:
    """Return the score with the metrics of a mask of a picture of ``size`` (width, height).

    None stands for the empty mask.
    """
    width, height = size
    wanted, counted = masks.paint(region, width, height)  # counted is False on ignored pixels
    first = masks.draw([region.first], width, height)
    mask = np.zeros_like(wanted) if predicted is None else predicted
    # ``wanted`` holds no ignored pixels; taken out of the mask as well, they are in neither area.
    strict = intersection_and_union(wanted, mask & counted)
    legacy = intersection_and_union(first, mask)
    ious = {"mask_giou": mask_iou(*strict), "legacy_mask_giou": mask_iou(*legacy)}
    return replace(
        score,
        metrics={**score.metrics, **ious},
        ratios={**score.ratios, "mask_ciou": strict, "legacy_mask_ciou": legacy},
    )


def intersection_and_union(a: Mask, b: Mask) -> tuple[float, float]:
    """Return the number of pixels in both masks, and in either."""
    return float((a & b).sum()), float((a | b).sum())


def mask_iou(intersection: float, union: float) -> float:
    """Return the IoU; 0 for an empty union, so that an unreadable answer is never right."""
    return intersection / union if union else 0.0


def mask_key(answer: Scored[A]) -> MaskKey:
    """Return the key of an answer's mask: the sample and the first box that was read."""
    boxes = parsed_boxes(answer.score)
    return answer.sample.id, astuple(boxes[0]) if boxes else ()


# --- masks and their file


def make_masks(task: Task[A], scored: Sequence[Scored[A]], name: str, folder: Path | None) -> Codes:
    """Return the masks of all boxes that were read; add new ones to the folder's file."""
    codes = read_masks(folder / MASKS, name) if folder else {}
    # By key: repeated answers with the same box need one mask.
    missing = {
        mask_key(answer): answer
        for answer in scored
        if parsed_boxes(answer.score) and mask_key(answer) not in codes
    }
    if not missing:
        return codes
    segmenter = load_segmenter(name)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_to_append(folder / MASKS)) if folder else None
        shown = stack.enter_context(progress(len(missing), "masks"))
        for (sample_id, corners), answer in missing.items():
            image = answer.prompt.images[task.boxed_picture(answer.sample)]
            mask = segmenter(open_image(image), Box(*corners))
            code = codes[sample_id, corners] = masks.encode(mask)
            row = {"segmenter": name, "id": sample_id, "box": corners, "mask": code}
            if file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                # SAM takes seconds for a mask on a CPU: a kill costs only the one in the making.
                file.flush()
            shown.advance(1)
    return codes


def open_to_append(path: Path) -> TextIO:
    """Open a file to add lines; a last line that a kill has cut off is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    complete = path.read_bytes().rfind(b"\n") + 1 if path.is_file() else 0  # bytes up to a line end
    file = path.open("a", encoding="utf-8", errors=ESCAPED, newline="\n")
    file.truncate(complete)
    return file


def read_masks(path: Path, name: str) -> Codes:
    """Read the masks of a file that the segmenter ``name`` made.

    A last line that a kill has cut off is left out. Raises UserError, with the number of the line,
    for a line that cannot be read.
    """
    # The piece behind the last line end is "" or cut off: either way it is no mask.
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    codes: Codes = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            segmenter, key = row["segmenter"], (str(row["id"]), tuple(map(float, row["box"])))
            code = {"size": row["mask"]["size"], "counts": str(row["mask"]["counts"])}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} line {number}: no mask; delete the file") from error
        if segmenter == name:
            codes[key] = code
    return codes


# --- SAM


def load_segmenter(name: str) -> Segmenter:
    """Load a SAM model from the hub or a folder, on the GPU if there is one.

    Raises UserError for a name that stands for no SAM model.
    """
    import torch
    from transformers import SamModel, SamProcessor

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        processor: Any = SamProcessor.from_pretrained(name)
        model: Any = SamModel.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        # transformers explains itself in paragraphs; users' mistakes are told in one line.
        reason = " ".join(str(error).split())
        raise UserError(
            f"segmenter={name}: no SAM model ({reason:.200}); give a hub id such as "
            "facebook/sam-vit-huge, or a folder"
        ) from error
    model.to(device).eval()

    @torch.inference_mode()
    def segment(image: Image.Image, box: Box) -> Mask:
        corners = [[list(box.pixels(*image.size))]]  # [1 picture, 1 box, 4]
        inputs = processor(image, input_boxes=corners, return_tensors="pt")
        outputs = model(
            pixel_values=inputs["pixel_values"].to(device),
            # The processor makes float64 of the corners, which the model's weights are not.
            input_boxes=inputs["input_boxes"].to(device, torch.float32),
            # SAM's three masks of part, object and scene are meant for single points.
            multimask_output=False,
        )
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        (mask,) = processor.post_process_masks(outputs.pred_masks.cpu(), *sizes)
        return np.asarray(mask[0, 0], dtype=np.bool_)  # [1 box, 1 mask, height, width] -> [H, W]

    return segment
