"""Pictures of predictions: boxes drawn on a picture, a panel of one, a sheet of many. Pillow only.

Every function takes and returns what it draws; none knows a model or a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vrft.boxes import Box
from vrft.images import open_image

TRUTH, PREDICTED, BEFORE = "#009e73", "#d55e00", "#56b4e9"
"""Green, orange and light blue that colour-blind eyes tell apart too (Okabe and Ito)."""

INK, FAINT, PAPER = "#1f2328", "#59636e", "#ffffff"
SIDE = 336
"""The default longer side of a drawn picture in pixels; smaller pictures are enlarged to it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A box with its label and colour."""

    box: Box
    label: str
    colour: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One raw answer: who gave it ("answer", or "before" and "after"), what it scored in [0, 1].

    ``boxes`` are what was read from it, where that is boxes.
    """

    name: str
    text: str
    metrics: Mapping[str, float]
    readable: bool
    colour: str = PREDICTED
    boxes: tuple[Box, ...] = ()

    @property
    def caption(self) -> str:
        """The metrics in percent, or that the answer is unreadable."""
        shown = " · ".join(f"{name} {100 * value:.1f}" for name, value in self.metrics.items())
        return shown if self.readable else f"unreadable · {shown}"


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One sample ready to be shown: its question, picture if any, true boxes, and answers."""

    name: str
    question: str
    answers: tuple[Answer, ...]
    image: Path | Image.Image | None = None
    truth: tuple[Box, ...] = ()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The true boxes below the answered ones."""
        answered = [Mark(box, a.name, a.colour) for a in self.answers for box in a.boxes]
        return (*(Mark(box, "true", TRUTH) for box in self.truth), *answered)


def draw(source: Path | Image.Image, marks: Sequence[Mark] = (), side: int = SIDE) -> Image.Image:
    """The picture with its longer side scaled to ``side`` pixels, and the marks on it.

    Later marks lie on top. Raises UserError for a file that is no picture.
    """
    image = open_image(source)
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS)
    canvas = ImageDraw.Draw(image)
    for number, mark in enumerate(marks):
        draw_outline(canvas, mark, size, number)
    for number, mark in enumerate(marks):
        draw_label(canvas, mark, size, number)
    return image


def draw_outline(
    canvas: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int], number: int
) -> None:
    """A mark's box between thin white lines; mark 0 is a rim around its box, to be seen below."""
    line = max(2, round(max(size) / 130))
    rim = line if number == 0 else 0
    x1, y1, x2, y2 = mark.box.pixels(size[0] - 1, size[1] - 1)
    outer = (x1 - rim, y1 - rim, x2 + rim, y2 + rim)
    white = (outer[0] - 1, outer[1] - 1, outer[2] + 1, outer[3] + 1)
    canvas.rectangle(white, outline=PAPER, width=rim + line + 2)
    canvas.rectangle(outer, outline=mark.colour, width=rim + line)


def draw_label(canvas: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int], number: int) -> None:
    """A mark's label outside its box, or inside where the picture ends.

    Mark 0 has it at the top left, the others at the bottom left and bottom right in turn.
    """
    font = typeface(max(10, round(max(size) / 28)))
    left, top, right, bottom = font.getbbox(mark.label)
    width, height = right - left + 6, bottom - top + 6
    x1, y1, x2, y2 = mark.box.pixels(size[0] - 1, size[1] - 1)
    x = x2 - width if number > 0 and number % 2 == 0 else x1
    x = min(max(0.0, x), max(0.0, size[0] - width))
    above, below = y1 - height, y2
    if number == 0:
        y = above if above >= 0 else y1
    else:
        y = below if below + height <= size[1] else y2 - height
    canvas.rectangle((x, y, x + width, y + height), fill=mark.colour)
    canvas.text((x + 3 - left, y + 3 - top), mark.label, fill=PAPER, font=font)


def panel(exhibit: Exhibit, side: int = SIDE) -> Image.Image:
    """The exhibit as one picture, ``side`` wide: picture, question, answers and metrics below."""
    margin, font = side // 28, typeface(side // 24)
    room = side - 2 * margin
    lines = [(line, INK) for line in wrap(exhibit.question, font, room)]
    for answer in exhibit.answers:
        lines += [(line, FAINT) for line in wrap(f"{answer.name}: {answer.text}", font, room)]
        lines += [(line, INK) for line in wrap(answer.caption, font, room)]
    pitch = round(font.size * 1.35)
    picture = draw(exhibit.image, exhibit.marks, side) if exhibit.image is not None else None
    top = picture.height if picture else 0
    sheet = Image.new("RGB", (side, top + 2 * margin + pitch * len(lines)), PAPER)
    if picture:
        sheet.paste(picture, ((side - picture.width) // 2, 0))
    canvas = ImageDraw.Draw(sheet)
    for row, (line, colour) in enumerate(lines):
        canvas.text((margin, top + margin + row * pitch), line, fill=colour, font=font)
    return sheet


def gallery(exhibits: Sequence[Exhibit], columns: int = 4, side: int = SIDE) -> Image.Image:
    """The panels of the exhibits in rows of ``columns``; ValueError if there are none."""
    if not exhibits:
        raise ValueError("a gallery needs at least one exhibit")
    panels = [panel(exhibit, side) for exhibit in exhibits]
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    gap = side // 20
    heights = [max(one.height for one in row) for row in rows]
    width = gap + (side + gap) * min(columns, len(panels))
    sheet = Image.new("RGB", (width, gap + sum(heights) + gap * len(rows)), "#f6f8fa")
    y = gap
    for row, height in zip(rows, heights, strict=True):
        for column, one in enumerate(row):
            sheet.paste(one, (gap + column * (side + gap), y))
        y += height + gap
    return sheet


def typeface(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own typeface at a size in pixels."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install one of its wheels")
    return font


def wrap(text: str, font: ImageFont.FreeTypeFont, width: float, most: int = 12) -> list[str]:
    """The text in lines of at most ``width`` pixels, ``most`` lines of it; long words are cut."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            joined = f"{line} {word}".lstrip()
            if font.getlength(joined) <= width:
                line = joined
                continue
            if line:
                lines.append(line)
            line, *rest = pieces(word, font, width)
            while rest:
                lines.append(line)
                line, *rest = rest
            if len(lines) > most:
                return [*lines[:most], "…"]
        lines.append(line)
    return lines if len(lines) <= most else [*lines[:most], "…"]


def pieces(word: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """A word cut into pieces of at most ``width`` pixels, each at least one letter long."""
    found = [""]
    for letter in word:
        if found[-1] and font.getlength(found[-1] + letter) > width:
            found.append("")
        found[-1] += letter
    return found
