"""Columns of text within a width: nothing is cut, and no word is broken."""

from __future__ import annotations

import pytest

from vrft import columns

ROWS = [
    ["method", "advantage", "KL"],
    ["gpg", "r - mean of group / std of group", ""],
    ["reinforce_pp", "r - mean of batch", "0.001 in reward"],
]


@pytest.mark.parametrize(
    ("width", "text"),
    [
        # a pipe, or a terminal that is wide enough: 12 + 2 + 32 + 2 + 15 = 63
        (
            None,
            """\
method        advantage                         KL
gpg           r - mean of group / std of group
reinforce_pp  r - mean of batch                 0.001 in reward""",
        ),
        (
            63,
            """\
method        advantage                         KL
gpg           r - mean of group / std of group
reinforce_pp  r - mean of batch                 0.001 in reward""",
        ),
        # the widest entry goes on below itself
        (
            50,
            """\
method        advantage            KL
gpg           r - mean of group /
              std of group
reinforce_pp  r - mean of batch    0.001 in reward""",
        ),
        # the longest words, 12 + 9 + 6 and two gaps, do not fit: a paragraph each
        (
            30,
            """\
gpg
  advantage  r - mean of group
             / std of group
reinforce_pp
  advantage  r - mean of batch
  KL         0.001 in reward""",
        ),
    ],
)
def test_a_table_fits_its_width(width: int | None, text: str) -> None:
    assert columns.aligned(ROWS, width, headed=True) == text


def test_pairs_without_headings_stand_below_each_other_where_they_do_not_fit() -> None:
    pairs = [["a_long_name_of_a_task", "what it does"]]
    assert columns.aligned(pairs, 24) == "a_long_name_of_a_task\n  what it does"
    assert columns.aligned([], 24) == ""


@pytest.mark.parametrize("width", range(1, 70))
def test_no_word_is_lost_or_broken_at_any_width(width: int) -> None:
    text = columns.aligned(ROWS, width)
    assert sorted(text.split()) == sorted(" ".join(cell for row in ROWS for cell in row).split())


def test_a_fact_goes_on_below_itself_and_a_path_stays_in_one_piece() -> None:
    path = "/a/path/of/a/file/which-is-longer-than/the/line"
    lines = ["note: some words more", f"  problem: {path} is not there", "short"]
    assert columns.facts(lines, 16).splitlines() == [
        *("note: some words", "  more", "  problem:", f"    {path}", "    is not there", "short"),
    ]
    assert columns.facts(["steps   250 at a rate"], 16) == "steps   250 at a\n        rate"
    assert columns.facts(lines, None).splitlines() == lines


def test_the_width_is_that_of_the_variable_and_none_for_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert columns.terminal_width() == 60
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.__stdout__", None)  # as without a terminal
    assert columns.terminal_width() is None


@pytest.mark.parametrize(("number", "words"), [(0, "0 samples"), (1, "1 sample"), (2, "2 samples")])
def test_one_thing_is_counted_in_the_singular(number: int, words: str) -> None:
    assert columns.counted(number, "sample") == words
