import json
import math
import re
from dataclasses import replace

import pytest
from PIL import Image

from vrft.boxes import Box
from vrft.evaluation import report
from vrft.types import Change, Comparison, Interval, Pairing, Report
from vrft.viz import Answer, Exhibit
from vrft.viz.palette import BEFORE

HALF = Interval(0.534, 0.501, 0.567, 200)
FULL = Report(
    benchmark="lisa_val",
    n=200,
    unreadable=7,
    metrics={"iou": HALF, "legacy_iou": Interval(0.5, 0.47, 0.53, 200)},
    subsets={"use": {"iou": Interval(0.25, 0.2, 0.3, 80)}},
    paper={"gpg": 51.4},
    missing=2,
)
CHANGE = Comparison(
    "held-out",
    "iou",
    Interval(0.3, 0.2, 0.4, 60),
    Interval(0.5, 0.4, 0.6, 60),
    Interval(0.2, -0.01, 0.35, 60),
)
UNKNOWN = Interval(0.1, math.nan, math.nan, 60)
PAIRING = Pairing(
    "lisa_val",
    (CHANGE, Comparison("mask_ciou", "mask_ciou", UNKNOWN, UNKNOWN, UNKNOWN)),
    (Change("lamp", 0.0, 1.0), Change("stool", 0.25, 0.75), Change("kettle", 1.0, 0.5)),
)
SETTINGS = {"benchmark": {"title": "ReasonSeg val"}, "model": {"name": "runs/x/final"}}


def exhibit(text: str = "x", image: Image.Image | None = None) -> Exhibit:
    before = Answer("before", text, {"iou": 0.1}, True, BEFORE, (Box(0.1, 0.1, 0.5, 0.5),))
    after = Answer("after", "y", {"iou": 0.2}, False)
    return Exhibit("sample-1", "Where is <it>?", (before, after), image, (Box(0, 0, 0.5, 0.5),))


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.5346, False, "53.5"),
        (0.2, True, "+20.0"),
        (-0.123, True, "-12.3"),
        (-0.0001, True, "0.0"),  # nothing has no sign
        (0.0001, True, "0.0"),
        (-0.1004, True, "-10.0"),
        (1.0, False, "100.0"),
        (math.nan, False, "–"),
    ],
)
def test_percent(value: float, signed: bool, text: str) -> None:
    assert report.percent(value, signed) == text


def test_a_pairing_shows_every_metric_and_counts_the_samples_that_changed() -> None:
    shown = report.text(report.pairing_table(PAIRING))
    assert "lisa_val" in shown.splitlines()[0]
    assert re.search(r"held-out .* 30.0 .* 50.0 .* \+20.0 .* -1.0 to \+35.0 .* 60", shown)
    assert re.search(r"mask_ciou .* \+10.0 .* – .* 60", shown)
    assert "iou of 60 samples: 2 better, 1 worse" in shown


def test_the_greatest_changes_are_listed_gains_first() -> None:
    assert report.change_lines(PAIRING, count=1) == [
        "better  +100.0    0.0 to 100.0  lamp",
        "worse    -50.0  100.0 to  50.0  kettle",
    ]
    assert len(report.change_lines(PAIRING)) == 3


def test_a_pairing_is_plain_json() -> None:
    tree = json.loads(json.dumps(report.to_json(PAIRING), allow_nan=False))
    assert tree["metrics"][1]["difference"] == {"mean": 0.1, "low": None, "high": None, "n": 60}
    assert tree["changes"][0] == {"id": "lamp", "before": 0.0, "after": 1.0}


def test_published_values_stand_beside_the_metrics_they_are_of() -> None:
    masks = {"mask_giou": Interval(0.4, 0.3, 0.5, 200), "legacy_mask_giou": HALF}
    by_metric = {"mask_giou": {"gpg": 49.5}, "mask_ciou": {"gpg": 50.0}}
    masked = replace(FULL, metrics={**FULL.metrics, **masks}, paper_by_metric=by_metric)
    assert report.published_rows(masked) == [
        ("gpg", "iou", 0.534, 0.514),
        ("gpg", "legacy_iou", 0.5, 0.514),
        ("gpg", "mask_giou", 0.4, 0.495),
        ("gpg", "legacy_mask_giou", 0.534, 0.495),
    ]


def test_an_interval_that_is_not_known_is_a_dash() -> None:
    assert report.ends(HALF) == "50.1 to 56.7"
    assert report.ends(Interval(0.5, math.nan, math.nan, 1)) == "–"


def test_the_table_has_every_part_and_metric_and_the_paper() -> None:
    lines = report.text(report.table(FULL)).splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]
    assert cells == [
        ["all", "iou", "53.4", "50.1 to 56.7", "200"],
        ["all", "legacy_iou", "50.0", "47.0 to 53.0", "200"],
        ["use", "iou", "25.0", "20.0 to 30.0", "80"],
        ["paper: gpg", "iou", "51.4", "ours +2.0", ""],
        ["paper: gpg", "legacy_iou", "51.4", "ours -1.4", ""],
    ]
    assert "200 samples, 7 unreadable (2 of them missing)" in lines[-1]


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
        lines = report.text(shown, width, notes=["note: " + "several words " * 9]).splitlines()
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
    assert long.strip() in report.text(report.comparison_table([replace(CHANGE, name=long)]))


def test_the_comparison_table_has_both_means_and_the_signed_difference() -> None:
    shown = report.text(report.comparison_table([CHANGE]))
    (line,) = [line for line in shown.splitlines() if "held-out" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["held-out", "30.0", "50.0", "+20.0", "-1.0 to +35.0", "60"]


def test_json_has_no_nan() -> None:
    lonely = Report("b", 1, 0, {"iou": Interval(0.5, math.nan, math.nan, 1)})
    tree = json.loads(json.dumps(report.to_json(lonely), allow_nan=False))
    assert tree["metrics"]["iou"] == {"mean": 0.5, "low": None, "high": None, "n": 1}


def test_a_page_holds_scores_paper_settings_and_answers() -> None:
    html = report.page(FULL, [("Worst", [exhibit("the answer")])], SETTINGS)
    for text in ("ReasonSeg val", "runs/x/final", "53.4", "50.1 to 56.7", "+2.0", "the answer"):
        assert text in html
    assert "unreadable · iou 20.0" in html
    assert "pictures blanked" not in html


def test_a_page_says_that_pictures_were_blanked_or_samples_left_out() -> None:
    assert "pictures blanked" in report.page(FULL, [], {**SETTINGS, "blank_images": True})
    assert "only the first 20 samples" in report.page(FULL, [], {**SETTINGS, "limit": 20})
    assert "only the first" not in report.page(FULL, [], SETTINGS)


def test_what_a_model_writes_is_shown_and_never_run() -> None:
    html = report.page(FULL, [("Worst", [exhibit("<script>alert(1)</script>")])], SETTINGS)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "Where is &lt;it&gt;?" in html


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("</pre><script src=//x.y></script>", "&lt;/pre&gt;&lt;script src=//x.y&gt;"),
        ('<a href="javascript:alert(1)">x</a>', "&lt;a href=&#34;javascript:alert(1)&#34;&gt;x"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("\" onmouseover='alert(1)' \"", "&#34; onmouseover=&#39;alert(1)&#39; &#34;"),
        # marks that would turn all that stands behind them
        ("7\u202e18", "7\\u202e18"),
        ("\u2067abc\u2066", "\\u2067abc\\u2066"),
        # a word of a megabyte
        ("w" * 2**20, "w" * 2**20),
    ],
)
def test_a_page_holds_what_was_written_as_text(written: str, shown: str) -> None:
    named = replace(FULL, benchmark=written, subsets={written: FULL.metrics})
    html = report.page(
        named, [(written, [exhibit(written)])], {**SETTINGS, "model": {"name": written}}
    )
    assert html.count(shown) >= 3  # title, subset, heading and answer
    assert not re.search(
        r"<script|<img src=x|<a |href=\"javascript|onmouseover='|[\u202a-\u202e]", html
    )


def test_a_page_needs_no_other_file() -> None:
    picture = Image.new("RGB", (112, 112), "white")
    html = report.page(FULL, [("Worst", [exhibit(image=picture)])], SETTINGS)
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert len(sources) == 1 and sources[0].startswith("data:image/jpeg;base64,/9j/")
    assert not re.search(r"https?://|url\(|@import", html)


def test_an_empty_section_has_no_heading() -> None:
    assert "Worst" not in report.page(FULL, [("Worst", [])], SETTINGS)


def test_a_report_of_one_sample_has_a_page() -> None:
    lonely = Report("b", 1, 0, {"iou": Interval(0.5, math.nan, math.nan, 1)})
    assert "50.0" in report.page(lonely, [], {})


def test_a_comparison_page_shows_both_answers() -> None:
    html = report.comparison_page("Demo", [CHANGE], [("Random", [exhibit("was")])])
    for text in ("<h1>Demo</h1>", "+20.0", "-1.0 to +35.0", "before", "after", "was"):
        assert text in html


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
    text = report.text(report.table(named))
    text.encode()
    assert text.count(shown) == 5  # the title, a row for each metric, of subset and of paper
    row = replace(CHANGE, name=name)
    pairing = Pairing(name, (row,), (Change(name, 0.0, 1.0),))
    assert report.text(report.pairing_table(pairing)).count(shown) == 2
    assert report.change_lines(pairing) == [f"better  +100.0    0.0 to 100.0  {shown}"]
    report.json_text(pairing).encode()
    assert json.loads(report.json_text(pairing))["benchmark"] == name
