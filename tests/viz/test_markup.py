"""Texts stay texts in HTML, in their own direction."""

import pytest

from vrft.viz import markup


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ('" onerror="x', "&quot; onerror=&quot;x"),  # within an attribute
        ("7\u202e18", "7\\u202e18"),  # an override of the direction
        ("\u2067a", "\\u2067a"),  # an isolate that is never closed
        ("שלום", "שלום"),  # a text that is written from right to left stays
        ("\u200f1", "\u200f1"),  # a mark that turns nothing but itself
        ("a\x00\x1bb", "a\\x00\\x1bb"),
        ("a\n\tb\r\n", "a\n\tb\r\n"),
        ("\ud83d", "\\ud83d"),  # half a surrogate pair, which no file can hold
    ],
)
def test_a_text_is_escaped(text: str, shown: str) -> None:
    assert markup.escaped(text) == shown


def test_an_element_writes_its_text_in_its_own_direction() -> None:
    assert markup.element("p", "<b>") == '<p dir="auto">&lt;b&gt;</p>'


def test_every_text_of_a_table_is_escaped() -> None:
    table = markup.html_table("<script>", ("<a>",), [("<b>",)], ["<i>", ""])
    assert "<script>" not in table and "<a>" not in table and "<b>" not in table
    assert table.endswith('</table><p dir="auto">&lt;i&gt;</p>')  # and nothing for no note


def test_a_page_loads_nothing_and_escapes_its_title() -> None:
    page = markup.page("</title><script>", "<p>x</p>")
    assert page.count("<script") == 0 and "src=" not in page and "<p>x</p>" in page
