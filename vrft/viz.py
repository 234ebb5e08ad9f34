"""Pictures of predictions: boxes drawn on a picture, a panel of one, a sheet of many. Pillow only.

Every function takes and returns what it draws; none knows a model or a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
class Exhibit:
    """One sample ready to be shown: its picture with marks, the question, and what was answered.

    ``texts`` are raw answers by who gave them ("answer", or "before" and "after"); ``metrics`` in
    [0, 1]; ``image`` is None for a question without a picture.
    """

    name: str
    question: str
    texts: Mapping[str, str]
    image: Path | Image.Image | None = None
    marks: tuple[Mark, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    """The names of the texts that no answer could be read from."""

    @property
    def caption(self) -> str:
        """The metrics in percent, and which answers are unreadable."""
        parts = [f"{name} {value:.1%}" for name, value in self.metrics.items()]
        return " · ".join([*parts, *(f"{name} unreadable" for name in self.unreadable)])


def draw(source: Path | Image.Image, marks: Sequence[Mark] = (), side: int = SIDE) -> Image.Image:
    """The picture with its longer side scaled to ``side`` pixels, and the marks on it.

    Later marks lie on top. Raises UserError for a file that is no picture.
    """
    image = open_image(source)
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS)
    canvas = ImageDraw.Draw(image)
    for mark in marks:
        draw_mark(canvas, mark, size)
    return image


def draw_mark(canvas: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int]) -> None:
    """The mark's outline with a white edge, and its label above it or, at the top, inside it."""
    width, height = size
    x1, y1, x2, y2 = mark.box.pixels(width - 1, height - 1)
    line = max(2, round(max(size) / 130))
    canvas.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=PAPER, width=line + 2)
    canvas.rectangle((x1, y1, x2, y2), outline=mark.colour, width=line)
    font = typeface(max(10, round(max(size) / 28)))
    left, top, right, bottom = font.getbbox(mark.label)
    tag_width, tag_height = right - left + 6, bottom - top + 6
    x = min(max(0.0, x1), max(0.0, width - tag_width))
    y = y1 - tag_height if y1 >= tag_height else y1
    canvas.rectangle((x, y, x + tag_width, y + tag_height), fill=mark.colour)
    canvas.text((x + 3 - left, y + 3 - top), mark.label, fill=PAPER, font=font)


def panel(exhibit: Exhibit, side: int = SIDE) -> Image.Image:
    """The exhibit as one picture, ``side`` wide: picture, question, answers and metrics below."""
    margin, font = side // 28, typeface(side // 24)
    lines = [(line, INK) for line in wrap(exhibit.question, font, side - 2 * margin)]
    for name, text in exhibit.texts.items():
        lines += [(line, FAINT) for line in wrap(f"{name}: {text}", font, side - 2 * margin)]
    lines += [(line, INK) for line in wrap(exhibit.caption, font, side - 2 * margin)]
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
