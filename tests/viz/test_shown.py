"""What Jupyter shows of pictures and samples, and what is saved of them."""

from __future__ import annotations

import base64
import doctest
import io
import re
from pathlib import Path

import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from vrft import viz
from vrft.boxes import Box
from vrft.errors import UserError
from vrft.viz import Answer, Exhibit, Mark
from vrft.viz.palette import LINES, TRUTH

HOSTILE = "<script>alert(1)</script> \u202eabc\u0000"


def plain(width: int = 112, height: int = 56) -> Image.Image:
    return Image.new("RGB", (width, height), "grey")


def exhibit(text: str = "x", image: Image.Image | Path | None = None) -> Exhibit:
    answer = Answer("answer", text, {"iou": 0.5}, readable=True, boxes=(Box(0.5, 0.5, 0.9, 0.9),))
    return Exhibit(text, text, (answer,), image, (Box(0.1, 0.1, 0.4, 0.4),))


def pictures(html: str) -> list[Image.Image]:
    """Return the pictures that a text of HTML holds."""
    data = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(part))) for part in data]


SHOWN = [
    lambda: viz.draw(plain(), [Mark(Box(0, 0, 1, 1), HOSTILE, TRUTH)]),
    lambda: viz.panel(exhibit(HOSTILE, plain())),
    lambda: viz.gallery([exhibit(HOSTILE, plain())]),
]


@pytest.mark.parametrize("make", SHOWN)
def test_every_text_can_be_selected_and_none_becomes_markup(make: object) -> None:
    html = make()._repr_html_()  # type: ignore[operator]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\u202eabc\\x00" in html
    assert "<script" not in html and "\u202e" not in html and "\x00" not in html
    assert len(pictures(html)) == 1


@pytest.mark.parametrize("make", SHOWN)
def test_a_notebook_keeps_one_copy_and_a_picture_only_where_it_is_asked_for(make: object) -> None:
    formatter = DisplayFormatter()
    data, _ = formatter.format(make())  # type: ignore[operator]
    assert sorted(data) == ["text/html", "text/plain"]
    data, _ = formatter.format(make(), include={"image/png"})  # type: ignore[operator]
    assert list(data) == ["image/png"]
    assert Image.open(io.BytesIO(data["image/png"])).format == "PNG"


def test_a_drawing_tells_its_boxes_in_pixels_of_the_picture() -> None:
    boxes = {"true": [Box(0.25, 0.5, 0.75, 1.0)], "one": [Box(0, 0, 1, 1)], "two": []}
    drawing = viz.draw(plain(), boxes)
    assert repr(drawing) == "<Drawing: 112 x 56 pixels, 2 boxes>"
    html = drawing._repr_html_()
    # Of 112 x 56 pixels: 0.25 * 112 = 28, 0.5 * 56 = 28, 0.75 * 112 = 84.
    assert "(28, 28), (84, 56)" in html and TRUTH in html
    assert [mark.colour for mark in drawing.marks] == [TRUTH, LINES[0]]
    assert drawing.image().size == (336, 168)


def test_a_mapping_and_marks_are_the_same_boxes() -> None:
    box = Box(0.1, 0.1, 0.9, 0.9)
    by_name, by_mark = (
        viz.draw(plain(), {"true": [box]}),
        viz.draw(plain(), [Mark(box, "true", TRUTH)]),
    )
    assert by_name.marks == by_mark.marks


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({"true": [(12, 18, 60, 45)]}, r"boxes of 'true': expected vrft\.boxes\.Box, got \(12, 18"),
        ([Box(0, 0, 1, 1)], "expected a mapping of names to boxes, or marks"),
    ],
)
def test_what_is_no_box_is_refused(boxes: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        viz.draw(plain(), boxes)  # type: ignore[arg-type]


def test_a_sample_without_a_picture_or_a_box_is_its_texts() -> None:
    question = Exhibit("a", "Which?", (Answer("answer", "", {"accuracy": 1.0}, readable=True),))
    html = viz.panel(question)._repr_html_()
    assert "Which?" in html and "(no answer)" in html and "accuracy 100.0" in html
    assert "<img" not in html and "■" not in html


def test_two_answers_without_boxes_are_told_apart() -> None:
    both = [Answer(name, "x", {"accuracy": 1.0}, readable=True) for name in ("before", "after")]
    html = viz.panel(Exhibit("a", "Which?", tuple(both)))._repr_html_()
    assert html.index(">before<") < html.index(">after<")


def test_a_picture_that_has_gone_costs_its_place_alone(tmp_path: Path) -> None:
    gallery = viz.gallery([exhibit("a", tmp_path / "gone.png"), exhibit("b", plain())])
    assert repr(gallery) == "<Gallery: 2 samples>"
    assert [picture.size for picture in pictures(gallery._repr_html_())] == [(336, 168)] * 2


@pytest.mark.parametrize("name", ["a.png", "new/a.JPG", "a.webp"])
def test_a_picture_is_saved_by_the_end_of_its_name(name: str, tmp_path: Path) -> None:
    drawing = viz.draw(plain())
    assert drawing.save(tmp_path / name) == tmp_path / name
    with Image.open(tmp_path / name) as saved:
        assert saved.size == (336, 168)


def test_a_page_is_saved_whose_texts_are_escaped(tmp_path: Path) -> None:
    page = viz.panel(exhibit(HOSTILE, plain())).save(tmp_path / "a.html").read_text("utf-8")
    assert page.startswith("<!doctype html>") and "<script" not in page
    assert "&lt;script&gt;" in page and "\u202e" not in page


def test_a_name_or_place_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    drawing = viz.draw(plain())
    with pytest.raises(UserError, match=r"a\.gif: saved as \.png, .* or \.html"):
        drawing.save(tmp_path / "a.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"a\.png cannot be written"):
        drawing.save(tmp_path / "file" / "a.png")


def test_a_gallery_of_nothing_says_so() -> None:
    nothing = viz.gallery([])
    assert repr(nothing) == "<Gallery: 0 samples>" and ">no samples<" in nothing._repr_html_()
    assert nothing.image().size == (336, 168)


@pytest.mark.parametrize("columns", [0, -1])
def test_a_gallery_needs_a_column(columns: int) -> None:
    with pytest.raises(UserError, match="at least one column"):
        viz.gallery([exhibit()], columns=columns)


@pytest.mark.parametrize("side", [0, 23, -336])
def test_a_side_has_room_for_letters(side: int) -> None:
    doors = (lambda: viz.draw(plain(), side=side), lambda: viz.panel(exhibit(), side),
             lambda: viz.gallery([], side=side))  # fmt: skip
    for door in doors:
        with pytest.raises(UserError, match=f"^side: expected at least 24 pixels, got {side}$"):
            door()
    assert viz.panel(exhibit(), 24).image().width == viz.gallery([], side=24).image().width == 24


def test_the_example_of_the_package_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(viz)
    assert result.attempted and not result.failed
