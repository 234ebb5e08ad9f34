"""Average precision against values worked out by hand and against COCO's evaluator on pixels."""

import contextlib
import io
import random
import warnings

import numpy as np
import pytest

from vrft.average_precision import Found, Query, average_precision
from vrft.boxes import Box

LEFT, RIGHT = Box(0.1, 0.1, 0.3, 0.3), Box(0.6, 0.6, 0.9, 0.9)
UPPER_HALF = Box(0.1, 0.1, 0.3, 0.2)
ELSEWHERE = Box(0.4, 0.1, 0.5, 0.2)


def test_every_box_found_exactly_is_full_precision() -> None:
    query = Query("cat", [LEFT, RIGHT], [Found(RIGHT, 0.9), Found(LEFT, 0.2)])
    assert average_precision([query]) == {"cat": (pytest.approx(1), pytest.approx(1))}


def test_one_of_two_found_has_precision_up_to_half_of_the_recall() -> None:
    # recall points 0, 0.01 ... 0.5 have precision 1, the other 50 of 101 have none
    found = average_precision([Query("cat", [LEFT, RIGHT], [Found(LEFT, 0.9)])])
    assert found["cat"] == (pytest.approx(51 / 101), pytest.approx(51 / 101))


def test_a_surer_wrong_box_halves_the_precision_and_a_less_sure_one_costs_nothing() -> None:
    for confidence, expected in ((0.9, 0.5), (0.1, 1.0)):
        query = Query("cat", [LEFT], [Found(LEFT, 0.5), Found(ELSEWHERE, confidence)])
        assert average_precision([query])["cat"][0] == pytest.approx(expected)


def test_a_rough_box_counts_at_the_thresholds_it_reaches() -> None:
    # an IoU of 0.69 reaches 0.5, 0.55, 0.6 and 0.65, four of ten
    rough = Box(0.1, 0.1, 0.3, 0.1 + 0.2 * 0.69)
    ap, ap50 = average_precision([Query("cat", [LEFT], [Found(rough, 1.0)])])["cat"]
    assert (ap, ap50) == (pytest.approx(0.4), pytest.approx(1))


def test_boxes_found_where_nothing_is_lower_the_precision_of_their_category_alone() -> None:
    queries = [
        Query("cat", [LEFT], [Found(LEFT, 0.5)]),
        Query("cat", [], [Found(LEFT, 0.9)]),
        Query("dog", [RIGHT], [Found(RIGHT, 0.5)]),
    ]
    found = average_precision(queries)
    assert found["cat"][0] == pytest.approx(0.5)
    assert found["dog"][0] == pytest.approx(1)


def test_a_box_in_a_crowd_is_neither_right_nor_wrong() -> None:
    in_crowd = Found(Box(0.65, 0.65, 0.7, 0.7), 0.9)
    query = Query("cat", [LEFT], [in_crowd, Found(LEFT, 0.5)], crowds=[RIGHT])
    assert average_precision([query])["cat"][0] == pytest.approx(1)


def test_a_category_without_true_boxes_has_no_precision_and_one_without_answers_has_zero() -> None:
    queries = [Query("cat", [], [Found(LEFT, 0.9)]), Query("dog", [LEFT], [])]
    assert average_precision(queries) == {"dog": (0.0, 0.0)}
    assert average_precision([]) == {}


def test_fractions_give_what_cocos_evaluator_gives_on_pixels() -> None:
    """Compare on fifty pictures of different sizes with noisy answers, scored in pixels by COCO."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    draw = random.Random(0)
    queries, truth, found, images = [], [], [], []
    for number in range(1, 51):
        width, height = draw.randrange(100, 900), draw.randrange(100, 900)
        images.append({"id": number, "width": width, "height": height})
        true = [random_box(draw) for _ in range(draw.randrange(1, 4))]
        answers = [Found(jitter(box, draw), draw.random()) for box in true]
        answers += [Found(random_box(draw), draw.random())]
        queries.append(Query("cat", true, answers))
        truth += [pixels(number, box, width, height) | {"iscrowd": 0} for box in true]
        found += [pixels(number, d.box, width, height) | {"score": d.confidence} for d in answers]
    coco = COCO()
    coco.dataset = {
        "images": images,
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": i, **one} for i, one in enumerate(truth, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    expected = evaluation.stats[:2]
    assert 0.05 < expected[0] < 0.95
    assert np.allclose(average_precision(queries)["cat"], expected)


def random_box(draw: random.Random) -> Box:
    x, y = draw.random() * 0.6, draw.random() * 0.6
    return Box(x, y, x + 0.1 + draw.random() * 0.3, y + 0.1 + draw.random() * 0.3)


def jitter(box: Box, draw: random.Random) -> Box:
    shift = draw.random() * 0.03
    return Box(box.x1 + shift, box.y1, min(box.x2 + shift, 1.0), box.y2)


def pixels(picture: int, box: Box, width: int, height: int) -> dict[str, object]:
    x1, y1, x2, y2 = box.pixels(width, height)
    sides = [x1, y1, x2 - x1, y2 - y1]
    return {"image_id": picture, "category_id": 1, "bbox": sides, "area": sides[2] * sides[3]}
