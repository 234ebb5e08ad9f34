"""Texts on pictures, broken into lines."""

from __future__ import annotations

from PIL import ImageFont


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
