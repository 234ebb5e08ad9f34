"""What ``vrft.viz`` returns: pictures with their texts, which Jupyter shows and which are saved."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vrft.boxes import Box
from vrft.errors import UserError
from vrft.images import image_size, open_image
from vrft.system import durable
from vrft.viz import conversion
from vrft.viz.drawing import SIDE, draw_exhibit, draw_gallery, draw_marks, draw_panel, notice
from vrft.viz.exhibits import Exhibit, Mark
from vrft.viz.markup import element, escaped, image_element, page
from vrft.viz.palette import COLOURS, LINES, TRUTH

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""The ends of the names of files that are saved as pictures."""

LEAST = 24
"""The least side in pixels: that of a panel whose letters are a pixel high."""

TEXT = "margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate"
QUIET = f"{TEXT}; opacity: 0.75"


class Shown(ABC):
    """A picture with its texts: HTML in Jupyter, a picture or a page when it is saved."""

    @abstractmethod
    def __repr__(self) -> str:
        """Return one line that says what is shown."""

    @abstractmethod
    def _repr_html_(self) -> str:
        """Return the pictures, and their texts to be selected, for Jupyter."""

    @abstractmethod
    def image(self) -> Image.Image:
        """Return all of it as one picture."""

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Return the HTML, and a picture only to who asks for it: notebooks keep all they get."""
        made: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if include is not None and "image/png" in include:
            file = io.BytesIO()
            self.image().save(file, "PNG")
            made["image/png"] = file.getvalue()
        return made

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save as a picture (.png, .jpg, .webp) or a page (.html), and return where it lies.

        Raises UserError for another end of the name, and for a file that cannot be written.
        """
        target = Path(path)
        end = target.suffix.lower()
        if end not in (*PICTURES, ".html"):
            raise UserError(f"{target}: saved as {', '.join(PICTURES)} or .html; name it so")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if end == ".html":
                durable.write_text(target, page(repr(self), self._repr_html_()))
            else:
                self.image().save(target, quality=88)
        except OSError as error:
            raise UserError(f"{target} cannot be written: {error.strerror or error}") from error
        return target


@dataclass(frozen=True, eq=False, repr=False)
class Drawing(Shown):
    """A picture with boxes on it; ``size`` is its width and height before it was scaled."""

    marks: tuple[Mark, ...]
    size: tuple[int, int]
    drawn: Image.Image

    def __repr__(self) -> str:
        """Return the size of the picture and the number of boxes."""
        count = len(self.marks)
        boxes = f"{count} box{'' if count == 1 else 'es'}"
        return f"<Drawing: {self.size[0]} x {self.size[1]} pixels, {boxes}>"

    def image(self) -> Image.Image:
        """Return the scaled picture with its boxes."""
        return self.drawn

    def _repr_html_(self) -> str:
        """Return the picture, and below it each label with its box in pixels of the picture."""
        lines = [legend(mark.label, mark.colour, corners(mark, self.size)) for mark in self.marks]
        alt = ", ".join(mark.label for mark in self.marks) or "a picture without boxes"
        return figure(image_element(self.drawn, alt), "".join(lines), self.drawn.width)

    def to_supervision(self) -> Any:
        """Return the boxes as ``supervision.Detections``, in pixels of the picture.

        A class is a label, numbered in the order of the boxes. Raises UserError without the
        package.
        """
        return conversion.detections(conversion.arrays(self.marks, self.size))


@dataclass(frozen=True, repr=False)
class Panel(Shown):
    """A sample with its picture, question and answers, ``side`` pixels wide."""

    exhibit: Exhibit
    side: int = SIDE

    def __repr__(self) -> str:
        """Return the sample's id and the number of its answers."""
        count = len(self.exhibit.answers)
        return f"<Panel: {self.exhibit.name}, {count} answer{'' if count == 1 else 's'}>"

    def image(self) -> Image.Image:
        """Return the picture with its boxes, the texts below it."""
        return draw_panel(self.exhibit, self.side)

    def _repr_html_(self) -> str:
        """Return the picture with its boxes, and below it the question and the answers."""
        shown = self.exhibit
        drawn = draw_exhibit(shown, self.side)
        picture = "" if drawn is None else image_element(drawn, shown.question)
        parts = [element("p", shown.question, TEXT)]
        parts += [legend("true", TRUTH)] if shown.truth else []
        for answer in shown.answers:
            if shown.marks:
                parts.append(legend(answer.name, answer.colour))
            elif len(shown.answers) > 1:
                parts.append(element("p", answer.name, QUIET))
            parts.append(element("p", answer.text or "(no answer)", TEXT))
            parts.append(element("p", answer.caption, QUIET))
        parts.append(element("p", shown.name, QUIET))
        return figure(picture, "".join(parts), self.side)

    def to_supervision(self) -> dict[str, Any]:
        """Return ``supervision.Detections`` by giver, "true" first, in pixels of the picture.

        All are of class 0: an answer is compared with the truth. Raises UserError without the
        package, and for a sample whose picture cannot be read.
        """
        shown = self.exhibit
        if shown.image is None:
            raise UserError(f"sample {shown.name}: no picture, and so no boxes")
        size = image_size(shown.image)
        givers = {"true": shown.truth} | {a.name: a.boxes for a in shown.answers}
        return {
            name: conversion.detections(
                conversion.arrays([Mark(box, name, "") for box in boxes], size)
            )
            for name, boxes in givers.items()
        }

    def to_fiftyone(self) -> Any:
        """Return a ``fiftyone.Sample``; UserError without the package or without a file."""
        return conversion.fiftyone_sample(self.exhibit)


@dataclass(frozen=True, repr=False)
class Gallery(Shown):
    """Panels of samples beside each other, in rows of ``columns``."""

    exhibits: tuple[Exhibit, ...]
    columns: int = 4
    side: int = SIDE

    def __repr__(self) -> str:
        """Return the number of samples."""
        count = len(self.exhibits)
        return f"<Gallery: {count} sample{'' if count == 1 else 's'}>"

    @property
    def panels(self) -> list[Panel]:
        """Return a panel for each sample."""
        return [Panel(exhibit, self.side) for exhibit in self.exhibits]

    def image(self) -> Image.Image:
        """Return the panels as one sheet."""
        if not self.exhibits:
            return notice("no samples", self.side)
        return draw_gallery(self.exhibits, self.columns, self.side)

    def _repr_html_(self) -> str:
        """Return the panels in rows, for Jupyter."""
        if not self.exhibits:
            return element("p", "no samples", QUIET)
        style = f"display: grid; gap: 12px; grid-template-columns: repeat({self.columns}, auto); "
        style += "justify-content: start"
        shown = "".join(panel._repr_html_() for panel in self.panels)
        return f'<div style="{style}">{shown}</div>'

    def to_supervision(self) -> list[dict[str, Any]]:
        """Return the boxes of each sample as ``Panel.to_supervision`` does."""
        return [panel.to_supervision() for panel in self.panels]

    def to_fiftyone(self) -> list[Any]:
        """Return each sample as a ``fiftyone.Sample``, for ``dataset.add_samples``."""
        return [panel.to_fiftyone() for panel in self.panels]


# --- the three functions


def draw(
    picture: Any, boxes: Mapping[str, Sequence[Box]] | Sequence[Mark] = (), side: int = SIDE
) -> Drawing:
    """Draw boxes on a picture whose longer side is scaled to ``side`` pixels.

    ``boxes`` are lists of boxes by their giver, of which "true", "answer", "before" and "after"
    have the colours of the viewer; or marks, with labels and colours of their own. Later ones lie
    on top. Raises UserError for a picture that cannot be read, for boxes that are none, and for a
    side under LEAST.
    """
    check_side(side)
    image, marks = open_image(picture), tuple(marks_of(boxes))
    return Drawing(marks, image.size, draw_marks(image, marks, side))


def panel(exhibit: Exhibit, side: int = SIDE) -> Panel:
    """Return a sample with its answers, ``side`` pixels wide: ``vrft.evaluate(...).exhibits()``.

    Raises UserError for a side under LEAST.
    """
    check_side(side)
    return Panel(exhibit, side)


def gallery(exhibits: Sequence[Exhibit], columns: int = 4, side: int = SIDE) -> Gallery:
    """Return samples beside each other, ``columns`` in a row.

    Without any, as where none was lost, the gallery says so. Raises UserError for no column, and
    for a side under LEAST.
    """
    check_side(side)
    if columns < 1:
        raise UserError(f"a gallery needs at least one column, not {columns}")
    return Gallery(tuple(exhibits), columns, side)


# --- their parts


def check_side(side: int) -> None:
    """Raise UserError for a side that leaves no room for letters."""
    if side < LEAST:
        raise UserError(f"side: expected at least {LEAST} pixels, got {side}")


def marks_of(boxes: Mapping[str, Sequence[Box]] | Sequence[Mark]) -> list[Mark]:
    """Return marks from lists of boxes by their giver; UserError for what is no box."""
    if not isinstance(boxes, Mapping):
        if bad := [mark for mark in boxes if not isinstance(mark, Mark)]:
            raise UserError(f"boxes: expected a mapping of names to boxes, or marks; got {bad[0]}")
        return list(boxes)
    # Givers without a colour of their own take those of lines, in turn.
    others = [name for name in boxes if name not in COLOURS]
    colours = COLOURS | {name: LINES[k % len(LINES)] for k, name in enumerate(others)}
    for name, given in boxes.items():
        if bad_boxes := [box for box in given if not isinstance(box, Box)]:
            raise UserError(
                f"boxes of {name!r}: expected vrft.boxes.Box, got {bad_boxes[0]!r}; "
                "Box.of_pixels(x1, y1, x2, y2, width, height) makes one"
            )
    return [Mark(box, name, colours[name]) for name, given in boxes.items() for box in given]


def figure(picture: str, texts: str, width: int) -> str:
    """Return a picture with texts below it as HTML, ``width`` pixels wide."""
    style = f"margin: 0; width: {width}px; max-width: 100%; text-align: left"
    return f'<figure style="{style}">{picture}<figcaption>{texts}</figcaption></figure>'


def legend(label: str, colour: str, text: str = "") -> str:
    """Return a line of HTML with a label beside a square of its colour, and a text behind it."""
    square = f'<span style="color: {escaped(colour)}">■</span>'
    return f'<p style="{QUIET}">{square} {element("bdi", label)} {escaped(text)}</p>'


def corners(mark: Mark, size: tuple[int, int]) -> str:
    """Return a mark's box as text, in pixels of a picture of this size."""
    x1, y1, x2, y2 = (round(number) for number in mark.box.pixels(*size))
    return f"({x1}, {y1}), ({x2}, {y2})"
