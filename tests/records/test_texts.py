"""Encodings of texts: named, told by their mark, or guessed where there is no doubt."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrft.errors import UserError
from vrft.records import texts


def test_an_unknown_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("left")
    for name in ("utf-9", "base64", "zlib", "undefined"):
        with pytest.raises(UserError, match=rf"data\.encoding: unknown encoding '{name}'"):
            texts.read_text(tmp_path / "a.txt", name)


@pytest.mark.parametrize(
    ("raw", "western"),
    [
        # the typographic signs of English, side by side too; a letter of French
        ("the cook’s “hat”—no".encode("cp1252"), True),
        ("the café’s".encode("cp1252"), True),
        # two letters side by side, Central European, Cyrillic, Greek, Chinese, Japanese
        ("Größe".encode("cp1252"), False),
        ("łódź".encode("cp1250"), False),
        ("право".encode("cp1251"), False),
        ("δεξιά".encode("cp1253"), False),
        ("左右".encode("gb2312"), False),
        ("みぎ".encode("shift_jis"), False),
        # UTF-8 and its mark need no guess
        ("café".encode(), False),
        (b"plain", False),
    ],
)
def test_cp1252_is_guessed_only_where_there_is_no_doubt(raw: bytes, western: bool) -> None:
    assert texts.is_western(raw) is western
