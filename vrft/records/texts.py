"""The text of files: encodings that are known by their mark or named, and lines that end."""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from vrft.errors import UserError

LONGEST_LINE = 64 * 2**20
"""Bytes of a line, far more than pictures in base64 need. Python needs 16 times its memory."""

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order mark -> encoding."""

PAGES = ("cp1250", "cp1252", "cp1254")
SIGNS = frozenset(
    sign
    for sign in (bytes([byte]) for byte in range(0x80, 0x100))
    if len({sign.decode(page, errors="replace") for page in PAGES}) == 1
    and "\N{REPLACEMENT CHARACTER}" not in sign.decode(PAGES[0], errors="replace")
)
"""Bytes that are the same sign in all PAGES: quotation marks, dashes, and letters such as é."""

QUOTES = re.compile(rb"[\x85\x91-\x97]+")
"""Quotation marks, dashes and dots of the PAGES."""


def check_file(path: Path) -> None:
    """Raise UserError unless there is such a file: a pipe would be waited for without end."""
    if not os.path.isfile(path):
        raise UserError(f"{path!s:.200}: no file that can be read; correct the path")


def encoding_of(head: bytes, asked: str) -> str:
    """Return the encoding of a text by its first bytes: that of their mark, else the asked one."""
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), "")
    try:
        "a".encode(asked or "utf-8")  # codecs that are no encodings of texts fail too
    except (LookupError, UnicodeError) as error:
        raise UserError(f"data.encoding: unknown encoding {asked!r:.60}") from error
    return marked or asked or "utf-8"


def decode(raw: bytes, where: str, encoding: str) -> str:
    """Return the text of some bytes; raise UserError if they are in another encoding."""
    try:
        return raw.decode(encoding)
    except UnicodeError as error:
        raise UserError(
            f"{where}: not in {encoding.upper()} ({error!s:.120}); save it as UTF-8, or name its "
            "encoding, as in data.encoding=gb18030 or data.encoding=cp1252"
        ) from error


def read_text(path: Path, encoding: str = "") -> str:
    """Return the text of a file without its byte order mark."""
    check_file(path)
    raw = path.read_bytes()
    return decode(raw, str(path), encoding_of(raw[:4], encoding))


def read_lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers, from 1, as an editor counts them."""
    with path.open("rb") as file:
        encoding = encoding_of(file.read(4), encoding)
        if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
            # A line break is more than a byte there; it stays, as a part of a value in quotes.
            yield from enumerate(io.StringIO(read_text(path, encoding), newline="\n"), start=1)
            return
        file.seek(0)
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
            if len(line) > LONGEST_LINE:
                megabytes = LONGEST_LINE >> 20
                raise UserError(
                    f"{path}: line {number}: longer than {megabytes} MB; keep pictures as files, "
                    "or a row a line"
                )
            yield number, decode(line, f"{path}: line {number}", encoding)


def first_character(path: Path, encoding: str = "") -> str:
    """Return the first character of a file that is no space; "" for an empty file."""
    with path.open("rb") as file:
        return head_text(file.read(256), encoding).lstrip()[:1]


def head_text(head: bytes, encoding: str = "") -> str:
    """Return the text of a file's first bytes, without its mark and a letter that is cut off."""
    return head.decode(encoding_of(head, encoding), errors="ignore").lstrip("\ufeff")


def is_western(raw: bytes) -> bool:
    """Return whether bytes are no UTF-8, and can only be English with some signs of cp1252.

    A letter beyond ASCII must then stand alone among ASCII, quotation marks and dashes, where
    Chinese, Cyrillic or Greek letters stand side by side; and all must mean the same in the code
    pages of Western and Central Europe and of Turkey.
    """
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        if raw.startswith(tuple(MARKS)):
            return False
        rest = re.findall(rb"[\x80-\xff]+", QUOTES.sub(b" ", raw))
        between = re.search(rb"[\xa0-\xff]" + QUOTES.pattern + rb"[\xa0-\xff]", raw)
        return not between and all(sign in SIGNS for sign in rest)
    return False
