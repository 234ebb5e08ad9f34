"""Object detection: every object of one category, each with a box and a confidence.

One question is one picture and one category. ``data_dir`` holds COCO as published, with
annotations/instances_<split>.json and the pictures in <split>/; or it is one file of that kind,
with its pictures beside it. Or it holds rows as Visual-RFT publishes them (a hub id, a file or a
folder; parquet, json or jsonl), with positions in thousandths:

    {"image": ..., "problem": "Detect all objects belonging to the category 'cat' ...",
     "solution": "<answer>[{'Position': [113, 20, 564, 900], 'Confidence': 1}]</answer>"}

Rows by hand may name the category in ``question`` and answer by the list or "No Objects".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Literal

from vrft import answers, coco, paths, records, rewards
from vrft.average_precision import DetectedBox, Query, average_precision
from vrft.boxes import IN_FRACTIONS, THOUSANDTHS, Box, Coordinates, view_in
from vrft.errors import UserError
from vrft.task import Reward, Task, check_template
from vrft.types import Completion, Prompt, Sample, Score, Scored, View
from vrft_tasks._detection import (
    NO_OBJECTS,
    Answer,
    Objects,
    check_categories,
    coco_samples,
    honesty,
    mean,
    overlap,
    read_answer,
    read_legacy_answer,
    read_row,
    wholly_in_fractions,
)

TEMPLATE = (
    "Find every object of the category '{category}' in the picture. Give each one's bounding box "
    "in whole numbers, {coordinates}, and how confident you are of it, from 0 to 1 with two "
    "decimals. If there is none, answer 'No Objects'.\n"
    "First reason between <think> and </think>, then answer between <answer> and </answer>, "
    "exactly in this form:\n<think>your reasoning</think>\n"
    "<answer>[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]</answer>"
)

COORDINATES: Mapping[Coordinates, str] = {
    "thousandths": "between 0 and 1000 on both axes whatever the picture's size",
    "pixels": "in pixels of the picture as you see it",
    "fractions": "as fractions of its width and height, from 0 to 1",
}


@dataclass(frozen=True)
class Detection(Task[Objects]):
    """Finding all objects of a category; rewards for overlap, honest confidence and the format."""

    data_dir: str = "laolao77/ViRFT_COCO"
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column -> the data's, as in ``data.columns.answer=reward_model.truth``."""
    categories: tuple[str, ...] = ()
    """The categories that are asked for; all, if none is named."""
    queries: Literal["present", "all"] = "present"
    """Of which categories COCO's pictures are asked: those that are present, or all, so that saying
    that there is none is learnt too. Rows ask their own questions. The published evaluation asked
    for the categories that the untrained model had thought present."""
    coordinates: Coordinates = "thousandths"
    """The numbers in which the model is told to write boxes, and is read. Published: thousandths.

    Boxes in fractions are refused, and counted in the report, unless they are asked for.
    """
    template: str = TEMPLATE
    """The user's text; {category} and {coordinates} are replaced."""
    system: str | None = None
    """The system text of every prompt; None: that of the model's template, if it has one."""
    format: rewards.FormatRule = "strict"
    """Whether the reward "format" asks for our form of an answer, or for the published one."""
    encoding: str = ""
    """The encoding of files that are not in UTF-8, such as gb18030."""
    config: str | None = None
    """The configuration of a data set that has several, as its page on the hub lists them."""
    allow_outside: bool = False
    """Whether rows may name pictures outside the folder of the data."""

    primary = "iou"
    data = "COCO, or Visual-RFT's rows"

    def __post_init__(self) -> None:
        check_template(self.template, "category")

    def samples(self, split: str) -> Sequence[Sample[Objects]]:
        root = paths.expanded(self.data_dir)
        instances = None
        if not coco.has_rows(root, split):  # which come before annotations beside them
            instances = coco.find(root, split, self.encoding, self.allow_outside)
        if instances is not None:
            for name in self.columns:
                raise UserError(f"{root}: COCO's json has no columns to name; remove "
                                f"data.columns.{name}")  # fmt: skip
            if any(picture.phrases for picture in instances.pictures):
                raise UserError(f"{root}: boxes of the captions of pictures (tokens_positive), and "
                                "not of their categories; read it by --task grounding")  # fmt: skip
            return coco_samples(instances, self.categories, self.queries)
        rows = records.read(
            self.data_dir,
            split,
            columns=self.columns,
            encoding=self.encoding,
            config=self.config,
            allow_outside=self.allow_outside,
        )
        # A row names its category itself, so `categories` chooses among the rows.
        samples = list(records.read_each(rows, read_row))
        check_categories(self.categories, sorted({sample.question for sample in samples}))
        return [s for s in samples if not self.categories or s.question in self.categories]

    def prompt(self, sample: Sample[Objects]) -> Prompt:
        # Whole numbers are none between 0 and 1.
        whole = "" if self.coordinates == "fractions" else "in whole numbers, "
        text = self.template.replace("in whole numbers, {coordinates}", whole + "{coordinates}")
        text = text.replace("{coordinates}", COORDINATES[self.coordinates])
        # The category last: a name with "{coordinates}" in it must stay as it is.
        text = text.replace("{category}", sample.question)
        return Prompt(text, sample.images, self.system)

    def reference(self, sample: Sample[Objects], views: tuple[View, ...]) -> str:
        boxes = [self.corners(box, views) for box in sample.answer.boxes]
        listed = [f"{{'Position': {box}, 'Confidence': 1.00}}" for box in boxes]
        answer = f"[{', '.join(listed)}]" if listed else NO_OBJECTS
        return f"<think>I look for {sample.question}.</think>\n<answer>{answer}</answer>"

    def rewards(self) -> Mapping[str, Reward[Objects]]:
        return {
            "iou": self.iou_reward,
            "confidence": self.confidence_reward,
            "format": rewards.FORMATS[self.format],
        }

    def iou_reward(self, sample: Sample[Objects], completion: Completion) -> float:
        """Return how well boxes and objects overlap, in [0, 1]; 0 for an unreadable answer."""
        return overlap(self.detected(completion), sample.answer.boxes)

    def confidence_reward(self, sample: Sample[Objects], completion: Completion) -> float:
        """Return how well confidence tells right from wrong boxes, in [0, 1]; 0 if unreadable."""
        return honesty(self.detected(completion), sample.answer.boxes)

    def score(self, sample: Sample[Objects], completion: Completion) -> Score:
        detected, legacy = self.detected(completion), self.legacy_detected(completion)
        metrics = {
            "iou": overlap(detected, sample.answer.boxes),
            # The published reward never credits an answer without boxes, even a right one.
            "legacy_iou": overlap(Answer(legacy), sample.answer.boxes) if legacy else 0.0,
        }
        if detected is None:
            return Score(metrics, None)
        return Score(metrics, [corner for box in detected.boxes for corner in astuple(box.box)])

    def aggregates(self, scored: Sequence[Scored[Objects]]) -> Mapping[str, float]:
        strict = average_precision([query(answer, self.detected_boxes) for answer in scored])
        legacy = average_precision([query(answer, self.legacy_detected) for answer in scored])
        texts = [answers.last_answer(answer.prediction.text) or "" for answer in scored]
        refused = 0 if self.coordinates == "fractions" else sum(map(wholly_in_fractions, texts))
        return {
            **({IN_FRACTIONS: refused / len(texts)} if refused else {}),
            "map": mean([ap for ap, _ in strict.values()]),  # over the categories
            "map@0.5": mean([ap_at_half for _, ap_at_half in strict.values()]),
            "legacy_map": mean([ap for ap, _ in legacy.values()]),
        }

    def detected(self, completion: Completion) -> Answer | None:
        """Return the boxes of an answer; None where it cannot be read."""
        text = answers.last_answer(completion.text)
        fractions = self.coordinates == "fractions"
        return None if text is None else read_answer(text, self.view(completion.views), fractions)

    def detected_boxes(self, completion: Completion) -> tuple[DetectedBox, ...]:
        """Return the boxes of an answer; () where it cannot be read."""
        detected = self.detected(completion)
        return () if detected is None else detected.boxes

    def legacy_detected(self, completion: Completion) -> tuple[DetectedBox, ...]:
        """Return the boxes of an answer by the published reading; () where it cannot be read."""
        text = answers.legacy_answer(completion.text)
        return read_legacy_answer(text, self.view(completion.views))

    def view(self, views: tuple[View, ...]) -> View:
        """Return the view of the only picture, in the coordinates that were asked for."""
        # The setting decides, not the family of the model: Qwen2.5-VL can be asked for thousandths.
        if not views or self.coordinates == "fractions":
            return THOUSANDTHS
        return view_in(views[0], self.coordinates)

    def corners(self, box: Box, views: tuple[View, ...]) -> list[float]:
        """Return a box's corners as they are to be answered."""
        return (
            box.fractions() if self.coordinates == "fractions" else [*box.whole(self.view(views))]
        )

    def boxes(self, sample: Sample[Objects]) -> tuple[Box, ...]:
        return sample.answer.boxes


def query(answer: Scored[Objects], read: Callable[[Completion], Sequence[DetectedBox]]) -> Query:
    """Return one answer as average precision takes it; an unreadable answer has no boxes."""
    truth = answer.sample.answer
    detected = read(Completion(answer.prediction.text, answer.prediction.views))
    return Query(answer.sample.question, truth.boxes, detected, truth.crowds)
