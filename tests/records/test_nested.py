"""Values that hold others, however deeply: what lies in them, and what a message shows of them."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from PIL import Image

from vrft.records import nested

DEEP: list[Any] = functools.reduce(lambda within, _: [within], range(5000), [None])
"""Lists in lists, deeper than Python calls functions, with a null at the bottom."""


@pytest.mark.parametrize(
    ("column", "value"),
    [
        # a column, one whose own name has a dot, and what lies within one
        ("a", {"b": [10, {"c": "x"}]}),
        ("a.b", "its own"),
        ("a.b.1.c", "x"),
        # past the end of a list, a name in a list, a place before its first item
        ("a.b.2", nested.ABSENT),
        ("a.b.c", nested.ABSENT),
        ("a.b.-1", nested.ABSENT),
        # within nothing there is nothing, within a text nothing either, but it is another mistake
        ("none.b", None),
        ("text.b", nested.ABSENT),
        ("gone", nested.ABSENT),
    ],
)
def test_what_lies_within_a_column_is_found_by_names_with_dots(column: str, value: Any) -> None:
    values = {"a": {"b": [10, {"c": "x"}]}, "a.b": "its own", "none": None, "text": "t"}
    assert nested.look_up(values, column) == value


def test_a_value_is_shown_in_sixty_characters_however_long_or_deep() -> None:
    assert nested.shown("a b") == "'a b'"
    assert nested.shown(DEEP) == "[[[...]]]"
    for long in ("a" * 5000, 10**400, list(range(5000)), {"a": "b" * 5000}):
        assert 0 < len(nested.shown(long)) <= 60


def test_messages_have_roles_and_the_words_of_the_user() -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "How many?"}]
    turns = [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "And now?"},
    ]
    assert nested.roles_of(turns) == ["system", "user", "assistant", "user"]
    assert nested.user_text(turns) == "How many?\nAnd now?"
    # neither a text nor a list with other things in it is a conversation
    for value in ("How many?", None, [], [*turns, "x"], {"role": "user"}):
        assert (nested.roles_of(value), nested.user_text(value)) == ([], None)


@pytest.mark.parametrize(
    ("value", "items"),
    [
        # a list, the text of one as in a cell of CSV
        ([1, 2], [1, 2]),
        (' ["a", "b"]', ["a", "b"]),
        # other texts stay texts, unreadable and too deeply nested ones too
        ("a, b", "a, b"),
        ("[a, b]", "[a, b]"),
        ("[" * 100_000, "[" * 100_000),
        (7, 7),
    ],
)
def test_the_text_of_a_list_is_the_list(value: Any, items: Any) -> None:
    assert nested.listed(value) == items


def test_nested_lists_are_flattened_in_order_without_nulls() -> None:
    assert nested.flattened([1, (2, [None, 3]), [], "45"]) == [1, 2, 3, "45"]
    assert (nested.flattened("a"), nested.flattened(None)) == (["a"], [])
    assert nested.flattened(DEEP) == []


def test_nulls_are_seen_at_any_depth() -> None:
    assert nested.holds_null([1, [2, (None,)]]) and nested.holds_null(DEEP)
    assert not nested.holds_null([1, [], ["None"], {"a": None}])


def test_bytes_and_pictures_are_seen_at_any_depth() -> None:
    for value in (b"x", bytearray(b"x"), Image.new("L", (1, 1))):
        assert nested.holds_bytes(value)
        assert nested.holds_bytes([{"a": ("b", value)}])
    for plain in ("x", 1, 2.5, True, None, DEEP, {"a": ["b"]}):
        assert not nested.holds_bytes(plain)
