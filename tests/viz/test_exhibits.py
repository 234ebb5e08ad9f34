"""The marks and captions of samples that are shown."""

from vrft.boxes import Box
from vrft.viz.exhibits import Answer, Exhibit
from vrft.viz.palette import PREDICTED, TRUTH


def exhibit(answer: Answer) -> Exhibit:
    return Exhibit("a", "Where?", (answer,), None, (Box(0.1, 0.1, 0.4, 0.4),))


def test_true_boxes_lie_below_the_answered_ones() -> None:
    answer = Answer("answer", "x", {}, readable=True, boxes=(Box(0.5, 0.5, 0.9, 0.9),))
    labels = [(mark.label, mark.colour) for mark in exhibit(answer).marks]
    assert labels == [("true", TRUTH), ("answer", PREDICTED)]


def test_an_answer_without_a_box_has_no_mark() -> None:
    answer = Answer("answer", "?", {"iou": 0.0}, readable=False)
    assert [mark.label for mark in exhibit(answer).marks] == ["true"]
    assert answer.caption == "unreadable · iou 0.0"


def test_a_caption_has_the_metrics_in_percent() -> None:
    answer = Answer("answer", "", {"iou": 0.375, "acc@0.5": 0.0}, readable=True)
    assert answer.caption == "iou 37.5 · acc@0.5 0.0"
