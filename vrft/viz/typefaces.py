"""The typeface of a text on a picture: Pillow's own, or one of the system that has its letters.

Pillow's own has the letters of English, and hardly any other. A letter that no typeface has is
drawn as a box, and said so once.
"""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from PIL import ImageFont

from vrft import launched

Face = tuple[str, int]
"""The file of a typeface, and its place in a file that has several."""

OWN: Face = ("", 0)

USUAL = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "LiberationSans.ttf"),
    *("Arial Unicode.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc"),
    *("arial.ttf", "seguisym.ttf", "msyh.ttc", "simsun.ttc", "malgun.ttf", "YuGothM.ttc"),
)
"""Typefaces of many letters, which Pillow looks for in the folders of Linux, macOS and Windows."""

TRIED = 32
"""The size in pixels in which letters are looked at."""

NOTHING = "\U0010ffff"
"""A number that is no letter: it is drawn as every letter that a typeface lacks."""

MOST = 500
"""Letters of a text for which the system is asked."""

UNMARKED = frozenset(("Cc", "Cf", "Cs", "Me", "Mn", "Zl", "Zp", "Zs"))
"""The kinds of letters that have no shape of their own."""

SAID: set[str] = set()
"""The letters of which it was said that no typeface has them."""


def typeface(size: int, text: str) -> ImageFont.FreeTypeFont:
    """Return the typeface for a text at a size in pixels, with as many of its letters as any has.

    The first time that letters are in none, a note on standard error names them. Raises
    RuntimeError for a Pillow that cannot scale letters.
    """
    letters = frozenset(letter for letter in text if unicodedata.category(letter) not in UNMARKED)
    face = face_of(letters)
    say_missing(lacking(face, letters))
    font = loaded(face, size)
    if font is None:
        raise RuntimeError("this Pillow was built without FreeType; install one of its wheels")
    return font


@lru_cache(maxsize=256)
def face_of(letters: frozenset[str]) -> Face:
    """Return the first typeface that has all letters, or else the one that lacks the fewest."""
    best, fewest = OWN, lacking(OWN, letters)
    for face in system_faces(letters) if fewest else ():
        if loaded(face, TRIED) is not None and len(missing := lacking(face, letters)) < len(fewest):
            best, fewest = face, missing
        if not fewest:
            break
    return best


def lacking(face: Face, letters: frozenset[str]) -> list[str]:
    """Return the letters that a typeface lacks, in the order of their numbers."""
    return [letter for letter in sorted(letters) if not has(face, letter)]


@lru_cache(maxsize=10_000)
def has(face: Face, letter: str) -> bool:
    """Return whether a typeface draws a letter otherwise than what is none."""
    font = loaded(face, TRIED)
    if font is None:
        return False
    shapes = [(mask.size, bytes(mask)) for mask in map(font.getmask, (letter, NOTHING))]
    return shapes[0] != shapes[1]


@lru_cache(maxsize=64)
def loaded(face: Face, size: int) -> ImageFont.FreeTypeFont | None:
    """Return a typeface at a size; None for one that is not there, or not of that size."""
    file, place = face
    try:
        font = ImageFont.truetype(file, size, place) if file else ImageFont.load_default(size)
    except OSError:  # not found, or of pictures of one size alone, as of emoji
        return None
    return font if isinstance(font, ImageFont.FreeTypeFont) else None


def system_faces(letters: frozenset[str]) -> Iterator[Face]:
    """Yield typefaces of the system that may have these letters: fontconfig's, and the usual."""
    numbers = " ".join(f"{ord(letter):x}" for letter in sorted(letters)[:MOST])
    command = ["fc-match", "--format=%{file}\n%{index}", f":charset={numbers}"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        file, place = told.stdout.rsplit("\n", 1)
        yield file, int(place) & 0xFFFF  # above stands the number of a named variant
    except (OSError, subprocess.SubprocessError, ValueError):
        pass  # no fontconfig here
    yield from ((name, 0) for name in USUAL)


def say_missing(letters: list[str]) -> None:
    """Name letters that are drawn as boxes in a note on standard error, each once."""
    fresh = [letter for letter in letters if letter not in SAID]
    if not fresh:
        return
    SAID.update(fresh)
    more = f" and {len(fresh) - 10} more" if len(fresh) > 10 else ""
    if launched.speaks():
        print(
            f"note: no typeface of this system has {' '.join(fresh[:10])}{more}, which pictures "
            "show as boxes; install one, such as Noto Sans CJK, or save as .html",
            file=sys.stderr,
        )
