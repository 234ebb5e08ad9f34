"""Pictures of predictions: boxes drawn on a picture, a panel per sample, a sheet of panels.

Drawing is done by Pillow alone, and no function here knows a model or a task.
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

COLOURS = {"true": TRUTH, "answer": PREDICTED, "before": BEFORE, "after": PREDICTED}
"""The colour of a box by the name of its giver."""

INK, FAINT, PAPER, TABLE = "#1f2328", "#59636e", "#ffffff", "#f6f8fa"
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
    """The raw text of an answer to be shown, with its metrics in [0, 1] and its boxes."""

    name: str
    """The giver of the answer: "answer", or "before" and "after" in a comparison."""
    text: str
    metrics: Mapping[str, float]
    readable: bool
    colour: str = PREDICTED
    boxes: tuple[Box, ...] = ()
    """The boxes that were read from the text; () for a task that is not about boxes."""

    @property
    def caption(self) -> str:
        """Return the metrics in percent, after a word on an answer that is unreadable."""
        shown = " · ".join(f"{name} {100 * value:.1f}" for name, value in self.metrics.items())
        return shown if self.readable else f"unreadable · {shown}"


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A sample ready to be shown: its id, question and picture, the true boxes and the answers."""

    name: str
    question: str
    answers: tuple[Answer, ...]
    image: Path | Image.Image | None = None
    truth: tuple[Box, ...] = ()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Return the marks of all boxes, the true ones first, so that answers lie on top."""
        answered = [Mark(box, a.name, a.colour) for a in self.answers for box in a.boxes]
        return (*(Mark(box, "true", TRUTH) for box in self.truth), *answered)


# --- a picture with marks


def draw(source: Path | Image.Image, marks: Sequence[Mark] = (), side: int = SIDE) -> Image.Image:
    """Draw marks on a picture whose longer side is scaled to ``side`` pixels.

    Later marks lie on top. Raises UserError for a file that is no picture.
    """
    image = open_image(source)
    scale = side / max(image.size)
    # A picture 2,000 times as long as wide must not shrink to a width of 0.
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS)
    canvas = ImageDraw.Draw(image)
    # All outlines first: no label may be crossed by the outline of a later mark.
    for number, mark in enumerate(marks):
        draw_outline(canvas, mark, size, number)
    for number, mark in enumerate(marks):
        draw_label(canvas, mark, size, number)
    return image


def notice(text: str, side: int = SIDE) -> Image.Image:
    """Draw a text in the place of a picture that cannot be read, ``side`` pixels wide."""
    margin, font = side // 28, typeface(side // 24)
    sheet = Image.new("RGB", (side, side // 2), TABLE)
    lines = "\n".join(wrap(text, font, side - 2 * margin))
    ImageDraw.Draw(sheet).multiline_text((margin, margin), lines, fill=INK, font=font)
    return sheet


def draw_outline(
    canvas: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int], number: int
) -> None:
    """Draw a mark's box, between thin white lines, on a picture of ``size`` (width, height)."""
    line = max(2, round(max(size) / 130))
    # Mark 0, the truth, is drawn twice as thick and outwards: an equal box leaves a rim of it.
    rim = line if number == 0 else 0
    # The last pixel has the index size - 1, where the fraction 1.0 belongs.
    x1, y1, x2, y2 = mark.box.pixels(size[0] - 1, size[1] - 1)
    outer = (x1 - rim, y1 - rim, x2 + rim, y2 + rim)
    white = (outer[0] - 1, outer[1] - 1, outer[2] + 1, outer[3] + 1)
    canvas.rectangle(white, outline=PAPER, width=rim + line + 2)
    canvas.rectangle(outer, outline=mark.colour, width=rim + line)


def draw_label(canvas: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int], number: int) -> None:
    """Draw a mark's label outside its box, or inside where the picture ends.

    Mark 0 has its label at the top left, the others at the bottom left and bottom right in turn,
    so that the labels of equal boxes do not cover each other.
    """
    font = typeface(max(10, round(max(size) / 28)))
    # The text's own box begins at (left, top) and not at (0, 0): letters hang below the origin.
    left, top, right, bottom = font.getbbox(mark.label)
    width, height = right - left + 6, bottom - top + 6  # a margin of 3 pixels all round
    x1, y1, x2, y2 = mark.box.pixels(size[0] - 1, size[1] - 1)
    x = x2 - width if number > 0 and number % 2 == 0 else x1
    # Pushed in from the right edge first: a label wider than the picture begins at its left edge.
    x = min(max(0.0, x), max(0.0, size[0] - width))
    above, below = y1 - height, y2
    if number == 0:
        y = above if above >= 0 else y1
    else:
        y = below if below + height <= size[1] else y2 - height
    canvas.rectangle((x, y, x + width, y + height), fill=mark.colour)
    canvas.text((x + 3 - left, y + 3 - top), mark.label, fill=PAPER, font=font)


# --- panels and sheets


def panel(exhibit: Exhibit, side: int = SIDE) -> Image.Image:
    """Draw an exhibit ``side`` pixels wide: its picture, then question, answers and metrics."""
    margin, font = side // 28, typeface(side // 24)
    room = side - 2 * margin
    # The lines are broken before anything is drawn, as their number decides the sheet's height.
    lines = [(line, INK) for line in wrap(exhibit.question, font, room)]
    for answer in exhibit.answers:
        lines += [(line, FAINT) for line in wrap(f"{answer.name}: {answer.text}", font, room)]
        lines += [(line, INK) for line in wrap(answer.caption, font, room)]
    pitch = round(font.size * 1.35)
    picture = draw(exhibit.image, exhibit.marks, side) if exhibit.image is not None else None
    top = picture.height if picture else 0
    sheet = Image.new("RGB", (side, top + 2 * margin + pitch * len(lines)), PAPER)
    if picture:
        sheet.paste(picture, ((side - picture.width) // 2, 0))  # an upright picture is centred
    canvas = ImageDraw.Draw(sheet)
    for row, (line, colour) in enumerate(lines):
        canvas.text((margin, top + margin + row * pitch), line, fill=colour, font=font)
    return sheet


def gallery(exhibits: Sequence[Exhibit], columns: int = 4, side: int = SIDE) -> Image.Image:
    """Draw the panels of the exhibits in rows of ``columns``; raise ValueError without exhibits."""
    if not exhibits:
        raise ValueError("a gallery needs at least one exhibit")
    panels = [panel(exhibit, side) for exhibit in exhibits]
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    gap = side // 20
    # Panels are equally wide and of different heights: a row is as high as its highest panel.
    heights = [max(image.height for image in row) for row in rows]
    width = gap + (side + gap) * min(columns, len(panels))
    sheet = Image.new("RGB", (width, gap + sum(heights) + gap * len(rows)), TABLE)
    y = gap
    for row, height in zip(rows, heights, strict=True):
        for column, image in enumerate(row):
            sheet.paste(image, (gap + column * (side + gap), y))
        y += height + gap
    return sheet


# --- text


def typeface(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own typeface at a size in pixels.

    Raises RuntimeError for a Pillow that cannot scale letters.
    """
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install one of its wheels")
    return font


def wrap(text: str, font: ImageFont.FreeTypeFont, width: float, most: int = 12) -> list[str]:
    """Wrap a text into at most ``most`` lines of ``width`` pixels; "…" stands for the rest."""
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
            # A word wider than the line, such as a base64 text, fills lines of its own.
            line, *rest = cut_word(word, font, width)
            while rest:
                lines.append(line)
                line, *rest = rest
            # Measuring letters is slow: a rambling answer is not wrapped to its end.
            if len(lines) > most:
                return [*lines[:most], "…"]
        lines.append(line)
    return lines if len(lines) <= most else [*lines[:most], "…"]


def cut_word(word: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Cut a word into pieces of at most ``width`` pixels, each at least one letter long."""
    pieces = [""]
    for letter in word:
        # A piece takes its first letter at any width: a letter too wide would never fit.
        if pieces[-1] and font.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces
