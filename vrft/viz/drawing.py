"""Boxes drawn on a picture, a panel for a sample, and a sheet of panels, by Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from vrft.errors import PictureError
from vrft.images import open_image
from vrft.viz.exhibits import Exhibit, Mark
from vrft.viz.lettering import wrap
from vrft.viz.palette import FAINT, INK, PAPER, TABLE
from vrft.viz.typefaces import typeface

SIDE = 336
"""The default longer side of a drawn picture in pixels; smaller pictures are enlarged to it."""


# --- a picture with marks


def draw_marks(
    source: Path | Image.Image, marks: Sequence[Mark] = (), side: int = SIDE
) -> Image.Image:
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
    for mark in marks:
        draw_outline(canvas, mark, size)
    for number, mark in enumerate(marks):
        draw_label(canvas, mark, size, number)
    return image


def notice(text: str, side: int = SIDE) -> Image.Image:
    """Draw a text in the place of a picture that cannot be read, ``side`` pixels wide."""
    margin, font = side // 28, typeface(side // 24, text)
    sheet = Image.new("RGB", (side, side // 2), TABLE)
    lines = "\n".join(wrap(text, font, side - 2 * margin))
    ImageDraw.Draw(sheet).multiline_text((margin, margin), lines, fill=INK, font=font)
    return sheet


def draw_outline(canvas: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int]) -> None:
    """Draw a mark's box, between thin white lines, on a picture of ``size`` (width, height)."""
    line = max(2, round(max(size) / 130))
    # A true box is drawn twice as thick and outwards: an equal box leaves a rim of it.
    rim = line if mark.is_true else 0
    # The last pixel has the index size - 1, where the fraction 1.0 belongs.
    x1, y1, x2, y2 = mark.box.pixels(size[0] - 1, size[1] - 1)
    outer = (x1 - rim, y1 - rim, x2 + rim, y2 + rim)
    white = (outer[0] - 1, outer[1] - 1, outer[2] + 1, outer[3] + 1)
    canvas.rectangle(white, outline=PAPER, width=rim + line + 2)
    canvas.rectangle(outer, outline=mark.colour, width=rim + line)


def draw_label(canvas: ImageDraw.ImageDraw, mark: Mark, size: tuple[int, int], number: int) -> None:
    """Draw a mark's label outside its box, or inside where the picture ends.

    A true box has its label at the top left, the others at the bottom left and bottom right in
    turn, so that the labels of equal boxes do not cover each other.
    """
    font = typeface(max(10, round(max(size) / 28)), mark.label)
    # The text's own box begins at (left, top) and not at (0, 0): letters hang below the origin.
    left, top, right, bottom = font.getbbox(mark.label)
    width, height = right - left + 6, bottom - top + 6  # a margin of 3 pixels all round
    x1, y1, x2, y2 = mark.box.pixels(size[0] - 1, size[1] - 1)
    x = x2 - width if not mark.is_true and number % 2 == 0 else x1
    # Pushed in from the right edge first: a label wider than the picture begins at its left edge.
    x = min(max(0.0, x), max(0.0, size[0] - width))
    above, below = y1 - height, y2
    if mark.is_true:
        y = above if above >= 0 else y1
    else:
        y = below if below + height <= size[1] else y2 - height
    canvas.rectangle((x, y, x + width, y + height), fill=mark.colour)
    canvas.text((x + 3 - left, y + 3 - top), mark.label, fill=PAPER, font=font)


# --- panels and sheets


def draw_panel(exhibit: Exhibit, side: int = SIDE) -> Image.Image:
    """Draw an exhibit ``side`` pixels wide: its picture, then question, answers and metrics."""
    told = [(f"{answer.name}: {answer.text}", answer.caption) for answer in exhibit.answers]
    texts = (exhibit.question, *(text for both in told for text in both))
    margin, font = side // 28, typeface(side // 24, "".join(texts))
    room = side - 2 * margin
    # The lines are broken before anything is drawn, as their number decides the sheet's height.
    lines = [(line, INK) for line in wrap(exhibit.question, font, room)]
    for text, caption in told:
        lines += [(line, FAINT) for line in wrap(text, font, room)]
        lines += [(line, INK) for line in wrap(caption, font, room)]
    pitch = round(font.size * 1.35)
    picture = draw_exhibit(exhibit, side)
    top = picture.height if picture else 0
    sheet = Image.new("RGB", (side, top + 2 * margin + pitch * len(lines)), PAPER)
    if picture:
        sheet.paste(picture, ((side - picture.width) // 2, 0))  # an upright picture is centred
    canvas = ImageDraw.Draw(sheet)
    for row, (line, colour) in enumerate(lines):
        canvas.text((margin, top + margin + row * pitch), line, fill=colour, font=font)
    return sheet


def draw_exhibit(exhibit: Exhibit, side: int = SIDE) -> Image.Image | None:
    """Draw the picture of an exhibit with its boxes; None for one without a picture.

    A picture that cannot be read is a sheet of paper that says so.
    """
    if exhibit.image is None:
        return None
    try:
        return draw_marks(exhibit.image, exhibit.marks, side)
    except PictureError as error:
        return notice(str(error), side)


def draw_gallery(exhibits: Sequence[Exhibit], columns: int = 4, side: int = SIDE) -> Image.Image:
    """Draw the panels of the exhibits in rows of ``columns``; raise ValueError without exhibits."""
    if not exhibits:
        raise ValueError("a gallery needs at least one exhibit")
    panels = [draw_panel(exhibit, side) for exhibit in exhibits]
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
