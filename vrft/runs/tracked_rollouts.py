"""The rollouts of a step at trackers: histograms, and pictures with the boxes of all answers.

TensorBoard, Weights & Biases and Trackio show them; other trackers get metrics and settings alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vrft.boxes import Box
from vrft.errors import PictureError
from vrft.evaluation.scoring import has_boxes, parsed_boxes, picture_with_boxes
from vrft.images import open_image
from vrft.task import Task
from vrft.types import Sample, Score
from vrft.viz.drawing import draw_marks, notice
from vrft.viz.exhibits import Mark
from vrft.viz.palette import TRUTH, advantage_colour

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

Row = Mapping[str, Any]
"""A completion as a row of the run's log."""

SIDE, SMALLEST = 672, 336
"""The longer side in pixels of a picture that a tracker gets, and of a small one with boxes."""

DIRECTIONS = {1: "pushed up", 2: "pushed down", 3: "no signal"}
"""The classes of answers' boxes at Weights & Biases, by their numbers."""


@dataclass(frozen=True)
class RolloutGroup:
    """The answers to one prompt as rows of the log, with the prompt, its picture and true boxes."""

    sample_id: str
    question: str
    rows: Sequence[Row]
    picture: Path | Image.Image | None = None
    truth: tuple[Box, ...] = ()
    boxed: bool = False
    """Whether the answers are boxes, if only of other samples there are true ones."""

    @property
    def boxes(self) -> list[tuple[Row, tuple[Box, ...]]]:
        """Return each answer with its boxes, the best last; none for a task without boxes."""
        ranked = sorted(self.rows, key=lambda row: float(row["advantage"]))
        return [
            (row, parsed_boxes(Score({}, row["parsed"])) if self.boxed else ()) for row in ranked
        ]

    @cached_property
    def image(self) -> Image.Image | None:
        """Return the picture without boxes, at most SIDE pixels long; None without a picture.

        One that cannot be read is a sheet of paper that says so.
        """
        if self.picture is None:
            return None
        try:
            image = open_image(self.picture)
        except PictureError as error:
            return notice(str(error))
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        return image

    def drawn(self) -> Image.Image | None:
        """Return the picture with the true boxes and those of all answers, by their advantages."""
        if self.image is None:
            return None
        largest = max(abs(float(row["advantage"])) for row in self.rows)
        marks = [Mark(box, "true", TRUTH) for box in self.truth]
        for row, boxes in self.boxes:
            colour = advantage_colour(float(row["advantage"]), largest)
            marks += [Mark(box, signed(row["advantage"]), colour) for box in boxes]
        return draw_marks(self.image, marks, max(SMALLEST, *self.image.size))


def groups(
    task: Task[Any],
    samples: Sequence[Sample[Any]],
    rows: Sequence[Row],
    size: int,
    count: int | None,
) -> list[RolloutGroup]:
    """Return the first groups of a step that have at least ``count`` completions, or all of them.

    ``rows`` are those of the run's log, ``size`` to a group.
    """
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    parts = parts if count is None else parts[: math.ceil(count / size)]
    wanted = {part[0]["sample_id"] for part in parts}
    by_id = {sample.id: sample for sample in samples if sample.id in wanted}
    boxed = has_boxes(task, samples)
    return [group(task, by_id[part[0]["sample_id"]], part, boxed) for part in parts]


def group(task: Task[Any], sample: Sample[Any], rows: Sequence[Row], boxed: bool) -> RolloutGroup:
    """Return the answers to a sample with its prompt, true boxes and the picture they are in."""
    prompt = task.prompt(sample)
    picture = picture_with_boxes(task, sample, prompt)
    return RolloutGroup(sample.id, prompt.text, rows, picture, task.boxes(sample), boxed)


def histograms(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Return name -> the values of all completions: rewards, advantages and lengths in tokens.

    A reward that does not apply to a completion has no value there.
    """
    columns: dict[str, list[Any]] = {
        "reward": [row["reward"] for row in rows],
        "advantage": [row["advantage"] for row in rows],
        "completion_length": [row["tokens"] for row in rows],
    }
    for name in rows[0]["rewards"] if rows else ():
        columns[f"rewards/{name}"] = [row["rewards"].get(name) for row in rows]
    given = {name: [float(v) for v in values if v is not None] for name, values in columns.items()}
    return {f"histograms/{name}": values for name, values in given.items() if values}


def log(
    tracker: GeneralTracker,
    step: int,
    rows: Sequence[Row],
    shown: Sequence[RolloutGroup],
    pictures: bool = True,
) -> None:
    """Give a tracker the histograms of a step, and groups with their texts and pictures.

    A tracker that is none of TensorBoard, Weights & Biases and Trackio gets nothing.
    """
    match tracker.name:
        case "tensorboard":
            log_tensorboard(tracker.tracker, step, histograms(rows), shown, pictures)
        case "wandb":
            tracker.log(wandb_values(histograms(rows), shown, pictures), step=step)
        case "trackio":
            tracker.log(trackio_values(histograms(rows), shown, pictures), step=step)


def log_tensorboard(
    writer: Any,
    step: int,
    values: Mapping[str, Sequence[float]],
    shown: Sequence[RolloutGroup],
    pictures: bool,
) -> None:
    """Write histograms, pictures and texts, as TensorBoard has a page for each of these kinds."""
    for name, numbers in values.items():
        writer.add_histogram(name, np.array(numbers), global_step=step)
    for place, part in enumerate(shown):
        image = part.drawn() if pictures else None
        if image is not None:
            data = np.asarray(image)
            writer.add_image(f"rollouts/{place}", data, global_step=step, dataformats="HWC")
        # Four spaces make a block of code of a line: no text is read as Markdown.
        text = "".join(f"    {line}\n" for line in listing(part).splitlines())
        writer.add_text(f"rollouts/{place}", text, global_step=step)
    writer.flush()


def wandb_values(
    values: Mapping[str, Sequence[float]], shown: Sequence[RolloutGroup], pictures: bool
) -> dict[str, Any]:
    """Return histograms, a table of completions, and pictures with boxes that can be switched."""
    import wandb

    made: dict[str, Any] = {name: wandb.Histogram(list(v)) for name, v in values.items()}
    if shown:
        columns = ["sample_id", "prompt", "completion", "reward", "advantage", "tokens", "finished"]
        data = [
            [storable(part.sample_id), storable(part.question), storable(row["text"])]
            + [row[name] for name in ("reward", "advantage", "tokens", "finished")]
            for part in shown
            for row in part.rows
        ]
        made["completions"] = wandb.Table(columns=columns, data=data)
    if pictures and (images := [part for part in shown if part.image is not None]):
        made["rollouts"] = [
            wandb.Image(part.image, caption=listing(part), boxes=wandb_boxes(part), file_type="jpg")
            for part in images
        ]
    return made


def wandb_boxes(part: RolloutGroup) -> dict[str, Any]:
    """Return the boxes of a group as ``wandb.Image`` takes them, in fractions of the picture."""
    if not part.boxed:
        return {}
    answers = [
        position(box)
        | {"class_id": direction(row), "box_caption": signed(row["advantage"])}
        | {"scores": {name: float(row[name]) for name in ("advantage", "reward")}}
        for row, boxes in part.boxes
        for box in boxes
    ]
    true = [position(box) | {"class_id": 0, "box_caption": "true"} for box in part.truth]
    return {
        "true": {"box_data": true, "class_labels": {0: "true"}},
        "answers": {"box_data": answers, "class_labels": DIRECTIONS},
    }


def position(box: Box) -> dict[str, Any]:
    """Return a box as Weights & Biases writes its place."""
    return {"position": {"minX": box.x1, "maxX": box.x2, "minY": box.y1, "maxY": box.y2}}


def direction(row: Row) -> int:
    """Return the number of DIRECTIONS in which a completion is pushed."""
    return 1 if row["advantage"] > 0 else 2 if row["advantage"] < 0 else 3


def trackio_values(
    values: Mapping[str, Sequence[float]], shown: Sequence[RolloutGroup], pictures: bool
) -> dict[str, Any]:
    """Return histograms, the picture of each group, and a trace for every completion."""
    import trackio

    made: dict[str, Any] = {name: trackio.Histogram(list(v)) for name, v in values.items()}
    traces = []
    for place, part in enumerate(shown):
        image = part.drawn() if pictures else None
        if image is not None:
            made[f"rollouts/{place}"] = trackio.Image(image, caption=storable(part.sample_id))
        for row in part.rows:
            messages = [
                {"role": "user", "content": storable(part.question)},
                {"role": "assistant", "content": storable(row["text"])},
            ]
            names = ("reward", "advantage", "tokens", "finished", "rewards")
            metadata = {"sample_id": storable(part.sample_id)} | {name: row[name] for name in names}
            traces.append(trackio.Trace(messages, metadata=metadata))
    return made | ({"completions": traces} if traces else {})


def listing(part: RolloutGroup) -> str:
    """Return a group as text: its prompt, and its answers from the best to the worst."""
    lines = [f"{part.sample_id}: {part.question}"]
    for row, _ in reversed(part.boxes):
        lines.append(f"{signed(row['advantage'])}  reward {row['reward']:.3g}  {row['text']}")
    return storable("\n".join(lines))


def storable(text: str) -> str:
    """Return a text that UTF-8 can hold: half a surrogate pair is escaped, as ``\\ud83d``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def signed(value: float) -> str:
    """Return a number with its sign and two decimals."""
    return f"{value:+.2f}"
