"""The view of an evaluation's answers: a table of all of them, and their texts in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.errors import UserError
from vrft.evaluation import report as reports
from vrft.evaluation.results import Evaluation, about_boxes
from vrft.evaluation.scoring import parsed_boxes, picture_with_boxes
from vrft.evaluation.segmentation import MASKS, MaskKey, mask_key, read_masks
from vrft.types import Scored
from vrft.viewer.pictures import picture_file
from vrft.viewer.prompts import boxes_of, prompt_parts, shapes_of

PIECE = 100
"""Answers whose texts travel together: about 100 kB."""

LINE = 90
"""Characters of a question in the table."""


class AnswersView:
    """The answers of one evaluation.

    Documents: ``table``, all answers in columns, without texts; ``texts-K``, the texts of answers
    K * PIECE and following. Pictures are those of the prompts, each source once.
    """

    def __init__(self, evaluation: Evaluation[Any], title: str, folder: Path) -> None:
        self.evaluation, self.title, self.folder = evaluation, title, folder
        self.sources: dict[str, Path | Image.Image] = {}
        # Names are given in the order of the samples, and so are the same in every session.
        self.names = [
            [
                picture_file(image, self.sources, f"{answer.sample.id} {place}")
                for place, image in enumerate(answer.prompt.images)
            ]
            for answer in evaluation.scored
        ]

    @cached_property
    def entry(self) -> dict[str, Any]:
        """Return title, report, settings and the names of metrics and subsets."""
        report, settings = self.evaluation.report, self.evaluation.settings
        return {
            "kind": "answers",
            "title": self.title,
            "benchmark": report.benchmark,
            "model": asked_model(settings),
            "asked": asked_words(settings),
            "folder": str(self.folder),
            "primary": self.evaluation.task.primary,
            "metrics": list(self.evaluation.scored[0].score.metrics),
            "subsets": sorted({answer.sample.subset for answer in self.evaluation.scored}),
            "report": reports.to_json(report),
            "published": [list(row) for row in reports.published_rows(report)],
            "settings": dict(settings),
            "piece": PIECE,
            "count": len(self.evaluation.scored),
        }

    def documents(self) -> Iterable[str]:
        """Return "table" and the pieces of texts."""
        pieces = -(-len(self.evaluation.scored) // PIECE)
        return ["table", *(f"texts-{piece}" for piece in range(pieces))]

    def document(self, name: str) -> Any:
        """Return the table or a piece of texts; KeyError for another name."""
        if name == "table":
            return self.table()
        kind, _, number = name.partition("-")
        scored = self.evaluation.scored
        if kind != "texts" or not number.isdecimal() or int(number) * PIECE >= len(scored):
            raise KeyError(name)
        first = int(number) * PIECE
        last = min(first + PIECE, len(scored))
        return [self.texts(place) for place in range(first, last)]

    def table(self) -> dict[str, Any]:
        """Return the columns of all answers; scores are rounded to four decimals."""
        scored, subsets = self.evaluation.scored, self.entry["subsets"]
        place = {subset: number for number, subset in enumerate(subsets)}
        pictures = {name: number for number, name in enumerate(self.sources)}
        return {
            "id": [answer.sample.id for answer in scored],
            "question": [first_line(answer.sample.question) for answer in scored],
            "subset": [place[answer.sample.subset] for answer in scored],
            "repeat": [answer.prediction.repeat for answer in scored],
            "tokens": [answer.prediction.tokens for answer in scored],
            "cut": [int(answer.cut) for answer in scored],
            "unreadable": [int(answer.score.parsed is None) for answer in scored],
            "missing": [int(answer.missing) for answer in scored],
            # The first picture of each, whose thumbnail stands in the list.
            "pictures": list(pictures),
            "picture": [pictures[names[0]] if names else -1 for names in self.names],
            "metrics": {
                name: [round(answer.score.metrics[name], 4) for answer in scored]
                for name in self.entry["metrics"]
            },
        }

    def texts(self, place: int) -> dict[str, Any]:
        """Return everything to show of one answer: prompt, truth, text, what was read, boxes."""
        answer, task = self.evaluation.scored[place], self.evaluation.task
        parsed = answer.score.parsed
        picture = picture_with_boxes(task, answer.sample, answer.prompt)
        return {
            "prompt": prompt_parts(answer.prompt),
            "pictures": self.names[place],
            "text": answer.prediction.text,
            "parsed": parsed if isinstance(parsed, str | float | int | None) else list(parsed),
            "truth": self.truth(answer),
            "boxes": {
                "true": boxes_of(task.boxes(answer.sample)),
                # Four numbers that a task about something else has read are no box.
                "answer": boxes_of(parsed_boxes(answer.score)) if self.boxed else [],
            },
            # Of the pictures, the one that has the boxes and shapes.
            "boxed": task.boxed_picture(answer.sample),
            "shapes": shapes_of(task.region(answer.sample), picture),
            "mask": self.masks.get(mask_key(answer)),
        }

    @cached_property
    def boxed(self) -> bool:
        """Return whether the answers are boxes."""
        return about_boxes(self.evaluation)

    @cached_property
    def masks(self) -> Mapping[MaskKey, Mapping[str, Any]]:
        """Return the run-length codes of the masks that a segmenter made of the answers' boxes."""
        name = (self.evaluation.settings.get("benchmark") or {}).get("segmenter", "")
        return read_masks(self.folder / MASKS, name) if name else {}

    def truth(self, answer: Scored[Any]) -> str:
        """Return the ideal completion as text; "" where the answer's views are not known."""
        if answer.prompt.images and not answer.prediction.views:
            return ""
        try:
            return self.evaluation.task.reference(answer.sample, answer.prediction.views)
        except UserError as error:
            return f"({error})"
        except NotImplementedError:  # a task that nobody trains needs no ideal answers
            return ""

    @cached_property
    def answered(self) -> list[tuple[str, int, str]]:
        """Return (sample, repeat, question) of every answer."""
        scored = self.evaluation.scored
        return [(a.sample.id, a.prediction.repeat, a.sample.question) for a in scored]

    def pictures(self) -> Iterable[str]:
        """Return the names of all pictures."""
        return list(self.sources)

    def picture(self, name: str) -> Path | Image.Image:
        """Return the source of a picture; KeyError for a name that is none."""
        return self.sources[name]


def asked_model(settings: Mapping[str, Any]) -> str:
    """Return who gave the answers: a model, that of a server with its address, or a file."""
    endpoint, model = settings.get("endpoint"), settings.get("model")
    if isinstance(endpoint, Mapping) and endpoint.get("url"):
        return f"{endpoint.get('model', '')} ({endpoint['url']})"
    name = model.get("name") if isinstance(model, Mapping) else model
    return str(name or settings.get("predictions", ""))


def asked_words(settings: Mapping[str, Any]) -> list[str]:
    """Return in words what was asked otherwise than the benchmark says."""
    limit = settings.get("limit")
    words = ["pictures blanked"] if settings.get("blank_images") else []
    return [*words, f"only the first {limit} samples"] if limit else words


def first_line(question: str) -> str:
    """Return the beginning of a question in one line of at most LINE characters."""
    line = " ".join(question.split())
    return line if len(line) <= LINE else line[: LINE - 1] + "…"
