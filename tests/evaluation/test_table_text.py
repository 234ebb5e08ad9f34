import json
import re
from dataclasses import replace

import pytest

from vrft.evaluation import report
from vrft.evaluation.table_text import text
from vrft.types import Change, Comparison, Interval, Pairing, Report

HALF = Interval(0.534, 0.501, 0.567, 200)
FULL = Report(
    benchmark="lisa_val",
    n=200,
    unreadable=7,
    metrics={"iou": HALF, "legacy_iou": Interval(0.5, 0.47, 0.53, 200)},
    subsets={"use": {"iou": Interval(0.25, 0.2, 0.3, 80)}},
    paper={"gpg": 51.4},
)
CHANGE = Comparison(
    "held-out",
    "iou",
    Interval(0.3, 0.2, 0.4, 60),
    Interval(0.5, 0.4, 0.6, 60),
    Interval(0.2, -0.01, 0.35, 60),
)
LONG = "spatial relationship understanding", "a_name_of_many_letters_and_no_space_in_it"


@pytest.mark.parametrize("width", [100, 80, 60])
def test_tables_fit_the_terminal_and_lose_no_name_and_no_number(width: int) -> None:
    metrics = {f"metric_number_{n}": Interval(0.1 * n, 0.0, 1.0, 200) for n in range(1, 7)}
    wide = replace(FULL, metrics=metrics, subsets=dict.fromkeys(LONG, FULL.metrics), paper={})
    wide = replace(wide, paper_by_metric={})
    comparisons = [replace(CHANGE, name=name) for name in LONG]
    for shown, numbers in (
        (report.table(wide), ["10.0", "60.0", "0.0 to 100.0", "53.4", "200"]),
        (report.checkpoint_table({"checkpoint-100": wide}), ["10.0", "60.0", "0.0 to 100.0", "7"]),
        (report.comparison_table(comparisons), ["30.0", "+20.0", "-1.0 to +35.0", "60"]),
    ):
        lines = text(shown, width, notes=["note: " + "several words " * 9]).splitlines()
        assert all(len(line) <= width for line in lines)
        cells = [[c.strip() for c in re.split("[│┃]", line)] for line in lines]
        assert set(numbers) <= {cell for row in cells for cell in row}
        names = "".join(row[1] for row in cells if len(row) > 2).replace(" ", "")
        assert "…" not in "".join(lines)
        for name in LONG if shown.columns[0].header != "" or "before" in lines[0] else ():
            assert name.replace(" ", "") in names


def test_a_table_for_a_pipe_is_as_wide_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.__stdout__", None)
    long = "a name of several words " * 9
    assert long.strip() in text(report.comparison_table([replace(CHANGE, name=long)]))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[/b]", "[/b]"),  # rich's markup, which closes nothing
        ("[red]all", "[red]all"),  # a style that would vanish
        (":cat:", ":cat:"),  # an emoji's code
        ("half \ud83d", "half \\ud83d"),  # half a surrogate pair
        ("\x1b[2Jgone", "\\x1b[2Jgone"),  # a command to the terminal
        ("7\u202e18", "7\\u202e18"),  # writing from right to left
    ],
)
def test_names_stand_in_tables_as_they_are(name: str, shown: str) -> None:
    named = replace(FULL, benchmark=name, subsets={name: FULL.metrics}, paper={name: 50.0})
    printed = text(report.table(named))
    printed.encode()
    assert printed.count(shown) == 5  # the title, a row for each metric, of subset and of paper
    row = replace(CHANGE, name=name)
    pairing = Pairing(name, (row,), (Change(name, 0.0, 1.0),))
    assert text(report.pairing_table(pairing)).count(shown) == 2
    assert report.change_lines(pairing) == [f"better  +100.0    0.0 to 100.0  {shown}"]
    report.json_text(pairing).encode()
    assert json.loads(report.json_text(pairing))["benchmark"] == name
