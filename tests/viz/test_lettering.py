"""Texts that are broken into lines of a picture."""

from vrft.viz import lettering, typefaces


def test_lines_fit_and_lose_no_letter() -> None:
    font = typefaces.typeface(14, "")
    text = "a short word and antidisestablishmentarianism" * 3
    lines = lettering.wrap(text, font, 100)
    assert all(font.getlength(line) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_long_texts_end_in_an_ellipsis() -> None:
    lines = lettering.wrap("word " * 1000, typefaces.typeface(14, ""), 100, most=3)
    assert len(lines) == 4 and lines[-1] == "…"
