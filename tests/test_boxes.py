"""Boxes: what is read and what is not, both coordinate spaces, and overlap worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vrft.boxes import IN_FRACTIONS, Box, giou, iou, is_bounded, share_in_fractions, view_in
from vrft.images import resized_size
from vrft.types import View

THOUSANDTHS = View(56, 28, "thousandths")
PIXELS = View(200, 100, "pixels")

READ = [
    ("(100,200),(300,400)", (0.1, 0.2, 0.3, 0.4)),
    # spaces, line breaks and decimals
    (" ( 100 , 200 ) ,\n( 300.0 , 400.5 ) ", (0.1, 0.2, 0.3, 0.4005)),
    # the whole picture, and a plus sign
    ("(0,0),(1000,+1000)", (0, 0, 1, 1)),
    # Qwen2-VL's own form after its special tokens are dropped
    ("the owl(100,200),(300,400)", (0.1, 0.2, 0.3, 0.4)),
    # Qwen2.5-VL's own forms; digits in words and labels are no coordinates
    ("[100, 200, 300, 400]", (0.1, 0.2, 0.3, 0.4)),
    ('{"bbox_2d": [100, 200, 300, 400], "label": "owl 7"}', (0.1, 0.2, 0.3, 0.4)),
    ('```json\n[{"bbox_2d": [100, 200, 300, 400]}]\n```', (0.1, 0.2, 0.3, 0.4)),
    # two points in square brackets, four numbers in round ones, any brackets around them
    ("[[100,200],[300,400]]", (0.1, 0.2, 0.3, 0.4)),
    ("[100,200],[300,400]", (0.1, 0.2, 0.3, 0.4)),
    ("[(100,200),(300,400)]", (0.1, 0.2, 0.3, 0.4)),
    ("((100,200),(300,400))", (0.1, 0.2, 0.3, 0.4)),
    ("(100,200,300,400)", (0.1, 0.2, 0.3, 0.4)),
    ("\\boxed{(100,200),(300,400)}", (0.1, 0.2, 0.3, 0.4)),
    ("$(100,200),(300,400)$", (0.1, 0.2, 0.3, 0.4)),
    # full-width brackets, commas and digits
    ("（１００，２００），（３００，４００）", (0.1, 0.2, 0.3, 0.4)),
    ("【100，200，300，400】", (0.1, 0.2, 0.3, 0.4)),
    # a denial in the description of what is in the box
    ("the man not wearing a hat(100,200),(300,400)", (0.1, 0.2, 0.3, 0.4)),
    ('{"label": "no entry", "bbox_2d": [100, 200, 300, 400]}', (0.1, 0.2, 0.3, 0.4)),
    ('{"bbox_2d": [100, 200, 300, 400], "label": "is not lit"}', (0.1, 0.2, 0.3, 0.4)),
    ("(100,200),(300,400) is the owl, not the cat", (0.1, 0.2, 0.3, 0.4)),
    # the same box again, in the same form or in another
    ("(100,200),(300,400) (100,200),(300,400)", (0.1, 0.2, 0.3, 0.4)),
    ("[100,200,300,400] is (100,200),(300.0,400)", (0.1, 0.2, 0.3, 0.4)),
    # a box of one thousandth, and decimals that are no fractions
    ("(0,0),(1,1)", (0, 0, 0.001, 0.001)),
    ("(0.5,0.5),(1,1.5)", (0.0005, 0.0005, 0.001, 0.0015)),
]

UNREADABLE = [
    "",
    "the owl in the middle",
    # three numbers, one point, five numbers
    "(100,200),(300)",
    "(100,200)",
    "(100,200,300)",
    "[100,200,300,400,500]",
    "[[100,200],[300,400],[500,600]]",
    # brackets that do not belong together
    "(100,200],[300,400)",
    "[100,200,300,400)",
    # two boxes; a box and a point; a box and the start of another
    "(100,200),(300,400) (100,200),(300,401)",
    "[100,200,300,400] (100,200),(300,401)",
    "(100,200),(300,400) (100,200),(300,400) (1,2)",
    "[[100,200,300,400],[100,200,300,401]]",
    "(100,200),(300,400),(500,600)",
    "(1,2) or (100,200),(300,400)",
    # no area: no width, no height, a point
    "(100,200),(100,400)",
    "(100,200),(300,200)",
    "(100,200),(100,200)",
    # corners in another order
    "(300,400),(100,200)",
    "(300,200),(100,400)",
    # out of the picture
    "(0,0),(1001,1000)",
    "(0,0),(1000,1000.5)",
    "(-1,0),(500,500)",
    # numbers that are none of ours: exponents, other digits, very many digits
    "(1e2,200),(300,400)",
    "(1e999,200),(1e9999,400)",
    "(١٠٠,٢٠٠),(٣٠٠,٤٠٠)",
    # a denial beside the box
    "not [100,200,300,400]",
    "It is not at (100,200),(300,400)",
    "anything but [[100,200],[300,400]]",
    "[100,200,300,400] is wrong",
    "(100,200),(300,400) is not the owl",
    "不是[100,200,300,400]",
    # fractions of the picture
    "(0.1,0.2),(0.3,0.4)",
    "[0.1, 0.2, 0.3, 0.4]",
    "(0,0),(1,0.5)",
    "(0.0,0.2),(1.0,1.0)",
    "(nan,nan),(inf,inf)",
    f"(0,0),({'9' * 5000},{'9' * 5000})",
]


@pytest.mark.parametrize(("text", "box"), READ)
def test_one_box_is_read_in_thousandths(text: str, box: tuple[float, ...]) -> None:
    assert Box.parse(text, THOUSANDTHS) == Box(*box)


@pytest.mark.parametrize("text", UNREADABLE)
def test_anything_but_one_proper_box_inside_the_picture_is_unreadable(text: str) -> None:
    assert Box.parse(text, THOUSANDTHS) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"bbox_2d": [100, 200, 300, 400], "label": "cup (2)"}',
        '{"label": "number [3], not this \\"(1,2)\\"", "bbox_2d": [100, 200, 300, 400]}',
        "{'bbox_2d': [100, 200, 300, 400], 'name': 'the (100,200),(300,401) one'}",
        '```json\n[{"bbox_2d": [100, 200, 300, 400], "label": "《(2)》 不是"}]\n```',
    ],
)
def test_a_label_is_no_place_for_a_box(text: str) -> None:
    assert Box.parse(text, THOUSANDTHS) == Box(0.1, 0.2, 0.3, 0.4)


FRACTIONS = [
    ("(0.1,0.2),(0.3,0.4)", (0.1, 0.2, 0.3, 0.4)),
    ('```json\n{"bbox_2d": [0.1, 0.2, 0.3, 0.4]}\n```', (0.1, 0.2, 0.3, 0.4)),
    ("[[0.1,0.2],[0.3,0.4]]", (0.1, 0.2, 0.3, 0.4)),
    ("(0,0),(1,1)", (0, 0, 1, 1)),
    ("(0,0.5),(1.0,1)", (0, 0.5, 1, 1)),
    # beyond the picture: thousandths and pixels are no fractions
    ("(0.1,0.2),(0.3,1.4)", None),
    ("(100,200),(300,400)", None),
    ("(0,0),(0,1)", None),
    ("(0.3,0.2),(0.1,0.4)", None),
]


@pytest.mark.parametrize(("text", "box"), FRACTIONS)
@pytest.mark.parametrize("view", [THOUSANDTHS, PIXELS])
def test_fractions_are_read_where_they_are_asked_for(
    text: str, box: tuple[float, ...] | None, view: View
) -> None:
    assert Box.parse(text, view, fractions=True) == (None if box is None else Box(*box))


def test_answers_in_fractions_are_counted_under_the_name_of_the_setting() -> None:
    texts = ["(0.1,0.2),(0.3,0.4)", "(100,200),(300,400)", "(0,0),(1,1)", None, "nowhere"]
    assert share_in_fractions(texts) == {IN_FRACTIONS: 0.2}
    assert "task.coordinates=fractions" in IN_FRACTIONS
    assert share_in_fractions(texts[1:]) == {}
    assert share_in_fractions([]) == {}


def test_a_box_is_written_in_fractions_of_four_decimals_and_never_empty() -> None:
    assert Box(0.1, 0.2, 1 / 3, 1).fractions() == [0.1, 0.2, 0.3333, 1.0]
    assert Box(0.99999, 0, 1, 0.00001).fractions() == [0.9999, 0.0, 1.0, 0.0001]


def test_pixels_are_those_of_the_resized_picture() -> None:
    # 20 of 200 wide, 10 of 100 high
    assert Box.parse("(20,10),(100,50)", PIXELS) == Box(0.1, 0.1, 0.5, 0.5)
    assert Box.parse("(0,0),(200,100)", PIXELS) == Box(0, 0, 1, 1)
    assert Box.parse("(0,0),(201,100)", PIXELS) is None
    assert Box.parse("(0,0),(200,101)", PIXELS) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "(" * 1_000_000,
        "(1," * 300_000,
        "(" + " " * 1_000_000,
        "(1,2)" + " " * 1_000_000 + ",",
        "9" * 1_000_000,
        "(1,2),(3,4)" * 90_000 + "(1,2),(3,5)",
        "[1,2],[3,4]," * 90_000 + "[1,2],[3,5]",
        "[[" * 500_000,
    ],
)
def test_a_megabyte_of_text_is_unreadable_in_linear_time(text: str) -> None:
    assert Box.parse(text, THOUSANDTHS) is None


def test_a_view_takes_the_coordinates_of_the_setting() -> None:
    view = View(200, 100, "pixels")
    assert view_in(view, "thousandths") == View(200, 100, "thousandths")
    assert view_in(View(56, 28, "thousandths"), "pixels") == View(56, 28, "pixels")
    assert view_in(view, None) is view
    assert view_in(view, "fractions") is view  # they are read apart from its space


def test_a_box_is_written_in_the_space_of_the_view() -> None:
    box = Box(0.1, 0.2, 0.5, 1.0)
    assert box.format(THOUSANDTHS) == "(100,200),(500,1000)"
    # 0.1 * 200 = 20, 0.2 * 100 = 20, 0.5 * 200 = 100, 1 * 100 = 100
    assert box.format(PIXELS) == "(20,20),(100,100)"


@pytest.mark.parametrize(
    ("box", "text"),
    [
        # thinner than a unit in the middle, at the right edge and at the left edge
        (Box(0.5001, 0, 0.5002, 1), "(500,0),(501,1000)"),
        (Box(0.9999, 0, 1, 1), "(999,0),(1000,1000)"),
        (Box(0, 0, 0.0001, 1), "(0,0),(1,1000)"),
    ],
)
def test_a_thin_box_is_written_one_unit_wide_and_stays_readable(box: Box, text: str) -> None:
    assert box.format(THOUSANDTHS) == text
    assert Box.parse(text, THOUSANDTHS) is not None


@pytest.mark.parametrize("size", [(100, 60), (61, 200), (28, 28), (900, 41), (640, 480)])
def test_boxes_make_the_round_trip_through_what_the_processor_really_shows(
    size: tuple[int, int],
) -> None:
    processor = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=112 * 112)
    grid = processor(images=[Image.new("RGB", size)], return_tensors="np")["image_grid_thw"][0]
    width, height = int(grid[2]) * 14, int(grid[1]) * 14  # patches of 14 pixels
    assert (width, height) == resized_size(*size, 56 * 56, 112 * 112)

    view = View(width, height, "pixels")
    for x1, y1, x2, y2 in np.random.default_rng(0).integers(0, 113, (200, 4)).tolist():
        text = f"({x1},{y1}),({x2},{y2})"
        if x1 < x2 <= width and y1 < y2 <= height:
            box = Box.parse(text, view)
            assert box is not None
            assert box.format(view) == text
            # a pixel of the model is W_original / W_resized pixels of the picture
            wanted = (x1 * size[0] / width, y1 * size[1] / height)
            assert box.pixels(*size)[:2] == pytest.approx(wanted, rel=1e-12)
        else:
            assert Box.parse(text, view) is None


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4))
def test_every_box_in_thousandths_survives_the_round_trip(numbers: list[int]) -> None:
    x1, x2 = sorted(numbers[:2])
    y1, y2 = sorted(numbers[2:])
    text = f"({x1},{y1}),({x2},{y2})"
    box = Box.parse(text, THOUSANDTHS)
    if x1 == x2 or y1 == y2:
        assert box is None
    else:
        assert box is not None
        assert box.format(THOUSANDTHS) == text
        assert Box.parse(box.format(PIXELS), PIXELS) is not None


@pytest.mark.parametrize(
    "corners",
    [(0.5, 0, 0.5, 1), (0.6, 0, 0.5, 1), (0, 0, 1.1, 1), (-0.1, 0, 1, 1), (0, 0, float("nan"), 1)],
)
def test_a_box_that_is_none_cannot_be_made(corners: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="not a box"):
        Box(*corners)


def test_pixels_of_a_picture_are_cut_to_it() -> None:
    assert Box.of_pixels(-5, 10, 50, 120, width=100, height=100) == Box(0, 0.1, 0.5, 1)
    assert Box.of_pixels(20, 10, 20, 30, width=100, height=100) is None
    assert Box.of_pixels(100, 0, 120, 50, width=100, height=100) is None


def test_overlap_is_worked_out_by_hand() -> None:
    a, b = Box(0.1, 0.1, 0.3, 0.3), Box(0.2, 0.1, 0.4, 0.3)
    # intersection 0.1 x 0.2 = 0.02; union 0.04 + 0.04 - 0.02 = 0.06; hull 0.3 x 0.2 = 0.06
    assert iou(a, b) == pytest.approx(1 / 3)
    assert giou(a, b) == pytest.approx(1 / 3)
    # side by side, touching: no intersection, hull 0.4 x 0.2 = union
    c = Box(0.3, 0.1, 0.5, 0.3)
    assert iou(a, c) == 0
    assert giou(a, c) == pytest.approx(0, abs=1e-12)


def test_a_coordinate_is_a_number_of_a_sensible_size() -> None:
    assert all(map(is_bounded, (0, -3, 0.5, 1e6, -1_000_000)))
    refused = (True, "5", None, [5], math.nan, math.inf, 1_000_001, 10**400)
    assert not any(map(is_bounded, refused))


def test_generalised_overlap_gives_the_golden_values() -> None:
    truth = Box(0.1, 0.1, 0.3, 0.3)
    assert giou(truth, truth) + 1 == 2
    # the whole picture: 0.04 of it is covered, and the hull is the union
    assert giou(truth, Box(0, 0, 1, 1)) + 1 == pytest.approx(1.04)
    # far away: union 0.04 + 0.01, hull 0.8 x 0.8 = 0.64: 1 - 0.59 / 0.64
    assert giou(truth, Box(0.8, 0.8, 0.9, 0.9)) + 1 == pytest.approx(0.078125)


fractions = st.lists(st.integers(0, 100), min_size=2, max_size=2, unique=True).map(sorted)


@settings(deadline=None)
@given(fractions, fractions, fractions, fractions)
def test_overlap_keeps_its_bounds_and_does_not_care_for_order(
    x: list[int], y: list[int], u: list[int], v: list[int]
) -> None:
    a = Box(x[0] / 100, y[0] / 100, x[1] / 100, y[1] / 100)
    b = Box(u[0] / 100, v[0] / 100, u[1] / 100, v[1] / 100)
    assert 0 <= iou(a, b) <= 1 + 1e-12
    assert -1 < giou(a, b) <= iou(a, b) + 1e-12
    assert iou(a, b) == pytest.approx(iou(b, a))
    assert giou(a, b) == pytest.approx(giou(b, a))
    assert iou(a, a) == pytest.approx(1)
