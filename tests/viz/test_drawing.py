"""Boxes drawn where they lie, panels and sheets as large as their texts need."""

from pathlib import Path

import pytest
from PIL import Image, ImageColor

from vrft.boxes import Box
from vrft.errors import UserError
from vrft.viz import drawing
from vrft.viz.exhibits import Answer, Exhibit, Mark
from vrft.viz.palette import BEFORE, PAPER, PREDICTED, TRUTH

GREY = (128, 128, 128)


def plain(width: int = 112, height: int = 112) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def exhibit(text: str = "<answer>x</answer>", **fields: object) -> Exhibit:
    answer = Answer("answer", text, {"iou": 0.5}, readable=True, boxes=(Box(0.5, 0.5, 0.9, 0.9),))
    truth = (Box(0.1, 0.1, 0.4, 0.4),)
    given = {"name": "a", "question": "Where?", "answers": (answer,), "truth": truth} | fields
    return Exhibit(**given)  # type: ignore[arg-type]


def colours(image: Image.Image) -> set[tuple[int, ...]]:
    counts = image.getcolors(maxcolors=1 << 24)
    assert counts is not None
    return {colour for _, colour in counts if isinstance(colour, tuple)}


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((112, 112), (336, 336)),  # small: enlarged
        ((56, 28), (336, 168)),  # wide
        ((1000, 2000), (168, 336)),  # large: reduced
        ((1, 1), (336, 336)),
        ((10, 2000), (2, 336)),  # as thin as pictures may be
    ],
)
def test_the_longer_side_is_scaled_to_the_wanted_one(
    size: tuple[int, int], drawn: tuple[int, int]
) -> None:
    assert drawing.draw_marks(plain(*size)).size == drawn


def test_a_picture_without_marks_is_only_scaled() -> None:
    assert colours(drawing.draw_marks(plain())) == {GREY}


def test_a_box_is_drawn_where_it_lies() -> None:
    green = ImageColor.getrgb(TRUTH)
    image = drawing.draw_marks(plain(), [Mark(Box(0.25, 0.5, 0.75, 1.0), "true", TRUTH)], side=401)
    # Fractions of 400 steps between 401 pixels: the left side runs at x = 100, the top at y = 200.
    assert image.getpixel((100, 300)) == green
    assert image.getpixel((300, 300)) == green
    assert image.getpixel((200, 200)) == green
    assert image.getpixel((200, 300)) == GREY  # inside
    assert image.getpixel((50, 300)) == GREY  # outside
    assert image.getpixel((390, 100)) == GREY  # neither the box nor its label


def test_equal_boxes_of_truth_and_answers_are_all_seen() -> None:
    box = Box(0.25, 0.25, 0.75, 0.75)
    marks = [Mark(box, "true", TRUTH), Mark(box, "b", BEFORE), Mark(box, "a", PREDICTED)]
    image = drawing.draw_marks(plain(), marks, side=401)
    assert image.getpixel((98, 200)) == ImageColor.getrgb(TRUTH)  # a rim around the answer's
    assert image.getpixel((101, 200)) == ImageColor.getrgb(PREDICTED)
    assert ImageColor.getrgb(BEFORE) in colours(image)  # its outline is covered, its label is not


def test_every_true_box_leaves_a_rim_and_no_answer_does() -> None:
    left, right = Box(0.1, 0.25, 0.4, 0.75), Box(0.6, 0.25, 0.9, 0.75)
    answers = [Mark(box, "answer", PREDICTED) for box in (left, right)]
    truths = [Mark(box, "true", TRUTH) for box in (left, right)]
    both, alone = (drawing.draw_marks(plain(), m, side=401) for m in (truths + answers, answers))
    for x in (40, 240):  # the left sides: 0.1 and 0.6 of 400 steps
        assert both.getpixel((x - 2, 200)) == ImageColor.getrgb(TRUTH)
        assert both.getpixel((x + 1, 200)) == ImageColor.getrgb(PREDICTED)
        assert alone.getpixel((x - 2, 200)) == GREY


@pytest.mark.parametrize(
    "box",
    [
        Box(0.0, 0.0, 1.0, 1.0),  # the whole picture: labels go inside
        Box(0.99, 0.99, 1.0, 1.0),  # the last corner
        Box(0.0, 0.0, 0.001, 0.001),  # thinner than its own line
    ],
)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_label_never_leaves_the_picture(box: Box, number: int) -> None:
    marks = [Mark(Box(0.4, 0.4, 0.6, 0.6), "", "#000000")] * number
    label = "answer" if number else "true"
    image = drawing.draw_marks(plain(), [*marks, Mark(box, label, "#ff0000")])
    red = sum(count for count, colour in image.getcolors(1 << 24) or [] if colour == (255, 0, 0))
    assert red > 150  # at least the label's ground


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("not a picture")
    with pytest.raises(UserError, match=r"a\.jpg"):
        drawing.draw_marks(path)


def test_a_panel_grows_with_the_text_below_its_picture() -> None:
    short = drawing.draw_panel(exhibit(image=plain()))
    long = drawing.draw_panel(exhibit("many words " * 20, image=plain()))
    assert short.width == long.width == 336
    assert 336 < short.height < long.height
    assert short.getpixel((2, short.height - 2)) == ImageColor.getrgb(PAPER)


def test_a_panel_of_a_question_without_a_picture_is_text_alone() -> None:
    assert drawing.draw_panel(exhibit(truth=())).height < 336


@pytest.mark.parametrize("text", ["", "\n\n", "é" * 3000, "a\u2028b", "漢字 " * 50, "x\ty"])
def test_any_answer_can_be_shown(text: str) -> None:
    assert drawing.draw_panel(exhibit(text, image=plain())).width == 336


def test_a_gallery_has_rows_of_panels() -> None:
    five = [exhibit(image=plain())] * 5
    one, two = drawing.draw_gallery(five[:1], 2, side=112), drawing.draw_gallery(five, 2, side=112)
    gap = 112 // 20
    assert one.width == 112 + 2 * gap
    assert two.width == 2 * 112 + 3 * gap
    assert two.height == 3 * (one.height - 2 * gap) + 4 * gap


def test_an_empty_gallery_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        drawing.draw_gallery([])


def test_a_picture_that_has_gone_is_a_sheet_that_says_so(tmp_path: Path) -> None:
    gone = exhibit(image=tmp_path / "gone.jpg")
    sheet, picture = drawing.draw_exhibit(gone), drawing.draw_exhibit(exhibit(image=plain()))
    assert sheet is not None and picture is not None
    assert sheet.size == (336, 168) and picture.size == (336, 336)
    assert drawing.draw_panel(gone).width == 336
    assert drawing.draw_exhibit(exhibit(image=None)) is None
