"""HTML in which every text stays text: escaped, its direction of writing its own."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence

from PIL import Image

TURNS = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""The overrides, embeddings and isolates of Unicode -> how they are shown."""

CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""The characters that HTML cannot hold or does not show."""

ESCAPED = "backslashreplace"
"""How half a surrogate pair is written, which UTF-8 cannot hold: as ``\\ud83d``."""


def in_order(text: str) -> str:
    """Return a text whose marks that turn the direction of writing are escaped, as ``\\u202e``.

    Such a mark makes "cba" of "abc", and of what stands behind it on the page too.
    """
    return text.translate(TURNS)


def escaped(text: str) -> str:
    """Return a text as it stands in HTML and in its attributes, with nothing of markup in it.

    Control characters and half a surrogate pair are shown, as ``\\x1b`` and ``\\ud83d``.
    """
    text = CONTROLS.sub(lambda control: f"\\x{ord(control[0]):02x}", in_order(text))
    return html.escape(text.encode("utf-8", ESCAPED).decode("utf-8"))


def element(tag: str, text: str, style: str = "") -> str:
    """Return an element of HTML around a text, which is written in its own direction."""
    given = f' style="{style}"' if style else ""
    return f'<{tag} dir="auto"{given}>{escaped(text)}</{tag}>'


def image_element(image: Image.Image, text: str, quality: int = 80) -> str:
    """Return a picture as an element of HTML that holds its data, with a text for who sees none."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="{escaped(text)}" src="data:image/jpeg;base64,{data}"/>'


def html_table(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str] = (),
) -> str:
    """Return a table of HTML, and below it the notes that are not empty, every text escaped."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{escaped(cell)}</{tag}>" for cell in cells)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    caption = f"<caption>{escaped(title)}</caption>"
    below = "".join(element("p", note) for note in notes if note)
    return f"<table>{caption}<tr>{line(headings, 'th')}</tr>{body}</table>{below}"


def page(title: str, body: str) -> str:
    """Return a page of HTML that loads nothing from elsewhere."""
    style = "body { font: 14px sans-serif; margin: 24px; color-scheme: light dark; }"
    head = f'<meta charset="utf-8"><title>{escaped(title)}</title><style>{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'
