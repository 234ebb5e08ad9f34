"""The detection task: all three kinds of data, the published rewards, and answers that cheat."""

import json
import math
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS

from vrft import config, registry
from vrft.boxes import IN_FRACTIONS, THOUSANDTHS, Box
from vrft.checks import check
from vrft.config import coercion
from vrft.errors import UserError
from vrft.evaluation import scoring, summary
from vrft.evaluation.benchmark import load_benchmark
from vrft.images import open_image
from vrft.types import Completion, Prediction, Sample, View
from vrft_tasks._detection import read_answer
from vrft_tasks.detection import Detection, Objects

HERE = RECORDS / "detection"
TASK = Detection(str(HERE / "coco"))
VIEWS = (View(84, 56),)

LEFT, RIGHT = Box(0.1, 0.1, 0.4, 0.6), Box(0.5, 0.5, 0.9, 0.9)
TWO = Sample("two", "cat", Objects((LEFT, RIGHT)))
NONE = Sample("none", "cat", Objects(()))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


def item(position: str = "100, 100, 400, 600", confidence: object = 1) -> str:
    return f"{{'Position': [{position}], 'Confidence': {confidence}}}"


def answered(answer: str, views: tuple[View, ...] = VIEWS) -> Completion:
    return Completion(f"<think>there</think>\n<answer>{answer}</answer>", views)


def rewards(sample: Sample[Objects], answer: str) -> tuple[float | None, float | None]:
    """Return the rewards of an answer for overlap and for confidence."""
    given = TASK.rewards()
    completion = answered(answer)
    return given["iou"](sample, completion), given["confidence"](sample, completion)


# --- reading


def test_cocos_pictures_are_asked_for_what_they_show() -> None:
    found = [(s.id, s.question, s.subset, s.answer) for s in TASK.samples("val2017")]
    assert found == [
        ("139#cat", "cat", "cat", Objects((LEFT, RIGHT))),
        ("285#dog", "dog", "dog", Objects((Box(0.1, 0.2, 0.3, 0.8), Box(0.9, 0.8, 1, 1)))),
    ]


def test_samples_carry_the_fields_of_their_picture_in_cocos_file() -> None:
    tree = json.loads((HERE / "coco/annotations/instances_val2017.json").read_text())
    entries = {str(entry["id"]): entry for entry in tree["images"]}
    for sample in TASK.samples("val2017"):
        boxes = [list(astuple(box)) for box in sample.answer.boxes]
        entry = entries[sample.id.partition("#")[0]]
        assert sample.columns == {**entry, "answer": boxes}


def test_cocos_pictures_may_be_asked_for_everything_but_crowds() -> None:
    # of 139 a crowd of dogs is shown and no single dog: nothing is asked
    task = replace(TASK, queries="all")
    asked = [s.id for s in task.samples("val2017")]
    assert asked == ["139#cat", "285#cat", "285#dog", "632#cat", "632#dog"]
    only = replace(task, categories=("dog",))
    assert [s.id for s in only.samples("val2017")] == ["285#dog", "632#dog"]
    assert only.samples("val2017")[1].answer == Objects(())


def test_an_unknown_category_is_named() -> None:
    with pytest.raises(UserError, match=r"no 'cow' in the data; there is cat, dog"):
        replace(TASK, categories=("cow",)).samples("val2017")


def test_published_rows_are_read_with_their_categories_and_pictures() -> None:
    light, bus, cat = Detection(str(HERE / "virft")).samples("train")
    assert (light.question, light.subset) == ("traffic light", "traffic light")
    assert light.answer == Objects((LEFT, RIGHT))
    assert (bus.question, bus.answer) == ("bus", Objects(()))
    # rounding has left the cat no width at the picture's edge: it becomes a thousandth wide
    assert cat.answer == Objects((Box(0.999, 0, 1, 0.5),))
    # a picture with a palette and one in CMYK
    sizes = [open_image(sample.images[0]).size for sample in (light, bus, cat)]
    assert sizes == [(80, 60), (80, 60), (60, 40)]


def test_rows_by_hand_name_the_category_and_list_the_boxes() -> None:
    task = Detection(str(HERE / "by_hand.jsonl"))
    a, b = task.samples("train")
    assert (a.id, a.question, a.answer) == ("a", "cat", Objects((LEFT, RIGHT)))
    assert (b.id, b.question, b.answer) == ("b", "cat", Objects(()))
    assert replace(task, categories=("cat",)).samples("train") == [a, b]
    with pytest.raises(UserError, match=r"task\.categories: no 'dog' in the data; there is cat$"):
        replace(task, categories=("cat", "dog")).samples("train")


ROW = {"images": [str(HERE / "coco/val2017/000000000139.jpg")], "question": "cat"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "somewhere"}, "line 1: expected .*'Position'.* or 'No Objects'"),
        ({"answer": [{"Position": [1, 2, 3]}]}, "line 1: expected .*'Position'"),
        ({"answer": [{"Position": [30, 0, 20, 10]}]}, "line 1: expected .*'Position'"),
        ({"answer": [{"Position": [0, 0, 20, 1001]}]}, "line 1: expected .*'Position'"),
        ({"answer": [{"Position": [0, 0, 20, True]}]}, "line 1: expected .*'Position'"),
        ({"answer": {"Position": [0, 0, 20, 20]}}, "line 1: expected .*'Position'"),
        ({"answer": "No Objects", "question": "word " * 30}, "no category '...' is named in"),
        ({"answer": "No Objects", "images": ROW["images"] * 2}, "2 pictures; expected one"),
        ({}, "no solution or answer; there is images, question"),
    ],
)
def test_a_broken_row_is_named_in_one_line(
    row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW | row) + "\n")
    with pytest.raises(UserError, match=message) as raised:
        Detection(str(path), allow_outside=True).samples("train")
    assert "\n" not in str(raised.value)


def test_boxes_of_captions_are_no_objects_of_a_category(tmp_path: Path) -> None:
    size = {"file_name": "a.png", "width": 80, "height": 60}
    box = {"image_id": 1, "category_id": 1, "bbox": [8, 6, 24, 30], "tokens_positive": [[0, 9]]}
    tree = {
        "images": [{"id": 1, **size, "caption": "the woman in red"}],
        "annotations": [box],
        "categories": [{"id": 1, "name": "person"}],
    }
    file = tmp_path / "finetune_refcoco_train.json"
    file.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"tokens_positive.*read it by --task grounding"):
        Detection(str(file)).samples("train")


def test_cocos_json_has_no_columns_to_name() -> None:
    with pytest.raises(
        UserError, match=r"coco: COCO's json has no columns .* data\.columns\.label$"
    ):
        replace(TASK, columns={"label": "name"}).samples("val2017")


# --- asking


def test_the_prompt_names_the_category_and_the_contract() -> None:
    prompt = TASK.prompt(TASK.samples("val2017")[0])
    for part in ("'cat'", "'No Objects'", "'Position': [x1, y1, x2, y2]", "'Confidence': number"):
        assert part in prompt.text
    assert "between 0 and 1000" in prompt.text and "{" not in prompt.text.partition("<answer>")[0]
    assert len(prompt.images) == 1


def test_boxes_are_asked_for_and_read_in_pixels_where_the_setting_says_so() -> None:
    task = replace(TASK, coordinates="pixels")
    assert "pixels" in task.prompt(TWO).text and "1000" not in task.prompt(TWO).text
    one = Sample("one", "cat", Objects((Box(0.25, 0.25, 0.5, 0.5),)))
    # a quarter and a half of 84 x 56, whatever space the model is said to write
    completion = answered(f"[{item('21, 14, 42, 28')}]")
    assert task.score(one, completion).metrics["iou"] == pytest.approx(1)
    assert TASK.score(one, completion).metrics["iou"] == 0.0
    assert "[21, 14, 42, 28]" in task.reference(one, VIEWS)


def test_a_template_without_the_category_is_refused() -> None:
    with pytest.raises(UserError, match=r"task\.template: write \{category\}"):
        Detection(template="Find them!")


def test_references_earn_full_marks() -> None:
    for task in (TASK, replace(TASK, queries="all"), replace(TASK, coordinates="pixels")):
        result = check.check(task, ["val2017"])
        assert result.ok, result.lines()
    assert "No Objects" in TASK.reference(NONE, VIEWS)


# --- rewards and scores

# IoU 0.7 with LEFT: seven tenths of its height, 0.1 to 0.45
ROUGH = item("100, 100, 400, 450", 0.9)


def test_the_golden_overlap_is_the_sum_over_the_larger_count() -> None:
    # one of two objects, overlapped by 0.7: 0.7 / 2
    assert rewards(TWO, f"[{ROUGH}]")[0] == pytest.approx(0.35)
    # both exactly, and a third box: 2 / 3
    three = f"[{item()}, {item('500, 500, 900, 900')}, {item('0, 0, 50, 50')}]"
    assert rewards(TWO, three)[0] == pytest.approx(2 / 3)


def test_the_golden_confidence_is_sure_of_right_and_doubts_wrong_boxes() -> None:
    # matched with 0.9 and unmatched with 0.8: (0.9 + 0.2) / 2
    answer = f"[{ROUGH}, {item('0, 0, 50, 50', 0.8)}]"
    assert rewards(TWO, answer)[1] == pytest.approx(0.55)


def test_an_overlap_of_half_is_no_match() -> None:
    half = item("100, 100, 400, 350")
    assert rewards(Sample("s", "cat", Objects((LEFT,))), f"[{half}]") == (0.0, 0.0)


def test_the_surest_box_takes_its_object_first() -> None:
    one = Sample("s", "cat", Objects((LEFT,)))
    # the rough box is surer, so the exact one is the double: 0.7 / 2, and (0.9 + 0.6) / 2
    answer = f"[{item(confidence=0.4)}, {ROUGH}]"
    assert rewards(one, answer) == (pytest.approx(0.35), pytest.approx(0.75))


def test_saying_that_there_is_none_is_rewarded_where_there_is_none() -> None:
    for text in ("No Objects", "'No Objects'", "no objects."):
        assert rewards(NONE, text) == (1.0, 1.0)
        assert rewards(TWO, text) == (0.0, 0.0)
        score = TASK.score(NONE, answered(text))
        # the published reward can never be earned so
        assert (score.parsed, score.metrics) == ([], {"iou": 1.0, "legacy_iou": 0.0})
    assert rewards(NONE, f"[{item()}]") == (0.0, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        # one object without a list around it, in Python's notation and as Qwen2.5-VL writes it
        item(),
        '{"bbox_2d": [100, 100, 400, 600], "label": "cup"}',
        '```json\n{"bbox_2d": [100, 100, 400, 600], "label": "cup"}\n```',
        # labels with signs that are unified or taken off elsewhere
        '[{"bbox_2d": [100, 100, 400, 600], "label": "《cup》"}]',
        '```json\n[{"bbox_2d": [100, 100, 400, 600], "label": "「cup」 \\"(2)\\""}]\n```',
        # full-width signs of the notation itself
        '[{"bbox_2d": [100，100，400，600]}]',
    ],
)
def test_an_object_alone_is_read_and_its_label_is_none_of_its_notation(text: str) -> None:
    read = read_answer(text, THOUSANDTHS)
    assert read is not None and [box.box for box in read.boxes] == [LEFT] and not read.senseless


def test_parsed_are_the_corners_of_all_boxes() -> None:
    score = TASK.score(TWO, answered(f"[{item()}, {item('500,500,900,900')}]"))
    assert score.parsed == [0.1, 0.1, 0.4, 0.6, 0.5, 0.5, 0.9, 0.9]


UNREADABLE = [
    # empty, tags alone, text, no list, an empty list, a list in a list
    "",
    "<answer></answer>",
    "there are two",
    "7",
    "[]",
    f"[[{item()}]]",
    # inverted, without area, outside, three or five numbers
    f"[{item('400, 600, 100, 100')}]",
    f"[{item('100, 100, 100, 600')}]",
    f"[{item('100, 100, 400, 1001')}]",
    f"[{item('-1, 100, 400, 600')}]",
    f"[{item('100, 100, 400')}]",
    f"[{item('100, 100, 400, 600, 700')}]",
    # nothing but bad boxes
    f"[{item('400, 600, 100, 100')}, {item('500, 500, 400, 900')}]",
    # fractions of the picture, where thousandths are asked for
    f"[{item('0.1, 0.1, 0.4, 0.6')}]",
    # two names of the box, or an unknown one
    "[{'Position': [100, 100, 400, 600], 'bbox_2d': [100, 100, 400, 600]}]",
    "[{'box': [100, 100, 400, 600]}]",
    # confidence above 1, below 0, a text, a truth value, not a number, endless
    f"[{item(confidence=1.01)}]",
    f"[{item(confidence=-0.1)}]",
    "[" + item(confidence="'high'") + "]",
    f"[{item(confidence='true')}]",
    f"[{item(confidence='NaN')}]",
    f"[{item(confidence='1e999')}]",
    # huge numbers, digits of another script, more than was asked, cut off
    f"[{item('1e400, 100, 400, 600')}]",
    f"[{item('1, 1, 4, ' + '9' * 4000)}]",
    f"[{item('1, 1, 4, ' + '9' * 5000)}]",
    f"[{item('١٠٠, 100, 400, 600')}]",
    "[{'Position': [100, 100, 400, 600], 'Confidence': 1, 'Label': 'cat'}]",
    f"[{item()}, {{'Position': [500, 5",
    # the prompt echoed
    "[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]",
    "[" * 100_000,
]


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
def test_an_unreadable_answer_earns_nothing_whether_or_not_there_is_something(text: str) -> None:
    for sample in (TWO, NONE):
        assert rewards(sample, text) == (0.0, 0.0)
        score = TASK.score(sample, answered(text))
        assert (score.parsed, score.metrics["iou"]) == (None, 0.0)


QWENS = '{"bbox_2d": [100, 100, 400, 600], "label": "cat"}'
READABLE = [
    # as Qwen2.5-VL writes, bare and in a fence, with an apostrophe, without a label
    f"[{QWENS}]",
    f"```json\n[\n\t{QWENS}\n]\n```",
    '[{"bbox_2d": [100, 100, 400, 600], "label": "the cat\'s"}]',
    '[{"bbox_2d": [100, 100, 400, 600]}]',
    # without a confidence, in either notation
    "[{'Position': [100, 100, 400, 600]}]",
    '[{"Position": [100, 100, 400, 600]}]',
    # wrapped, full-width
    f"**Answer:** [{item()}]",
    f"\\boxed{{[{item()}]}}",
    f"So the answer is [{item()}].",
    "[{'Position'：[１００，１００，４００，６００]，'Confidence'：１}]",
]


@pytest.mark.parametrize("text", READABLE)
def test_an_answer_is_read_however_it_is_wrapped(text: str) -> None:
    assert rewards(Sample("s", "cat", Objects((LEFT,))), text) == (pytest.approx(1), 1.0)


def test_a_bad_box_among_good_ones_counts_as_a_box_that_matches_nothing() -> None:
    one = Sample("s", "cat", Objects((LEFT,)))
    for bad in (item("500, 500, 400, 900"), item("0.5, 0.5, 0.6, 0.9"), "7", item(confidence=2)):
        text = f"[{item(confidence=0.8)}, {bad}]"
        # one of two boxes is right; the confidences are 0.8 and none
        assert rewards(one, text) == (pytest.approx(0.5), pytest.approx(0.4))
        assert TASK.score(one, answered(text)).parsed == [0.1, 0.1, 0.4, 0.6]
        assert rewards(NONE, text) == (0.0, 0.0)
        # of two objects one is found, as if the bad box were not there
        assert rewards(TWO, text)[0] == pytest.approx(0.5)


def test_boxes_in_fractions_are_asked_for_and_read_where_the_setting_says_so() -> None:
    task = replace(TASK, coordinates="fractions")
    asked = task.prompt(TWO).text
    assert "bounding box as fractions of its width and height, from 0 to 1, and" in asked
    completion = answered(f"[{item('0.1, 0.1, 0.4, 0.6')}, {item('0.5, 0.5, 0.9, 0.9')}]")
    assert task.score(TWO, completion).metrics["iou"] == pytest.approx(1)
    assert task.score(TWO, answered(f"[{item()}]")).parsed is None
    gold = Completion(task.reference(TWO, VIEWS), VIEWS)
    assert "[0.1, 0.1, 0.4, 0.6]" in gold.text
    assert task.score(TWO, gold).metrics["iou"] == pytest.approx(1)


def test_answers_in_fractions_are_counted_with_the_name_of_the_setting() -> None:
    report = report_on({"139#cat": f"[{item('0.1, 0.1, 0.4, 0.6')}]", "632#dog": "No Objects"})
    # one of five questions
    assert report.metrics[IN_FRACTIONS].mean == pytest.approx(1 / 5)
    assert IN_FRACTIONS not in report_on({"139#cat": f"[{item()}]"}).metrics
    task = replace(TASK, coordinates="fractions")
    scored = scoring.score_answers(task, [NONE_WITH_PICTURE], [])
    assert IN_FRACTIONS not in task.aggregates(scored)


def test_an_answer_outside_the_tags_is_unreadable() -> None:
    for text in (f"[{item()}]", "No Objects", TASK.prompt(TWO).text):
        score = TASK.score(NONE, Completion(text, VIEWS))
        assert (score.parsed, score.metrics["iou"]) == (None, 0.0)


def test_cheating_pays_less_than_answering() -> None:
    honest = f"[{item()}]"
    one = Sample("s", "cat", Objects((LEFT,)))
    assert rewards(one, honest) == (pytest.approx(1), 1.0)
    # the same box many times: one matches, the rest are wrong
    assert rewards(one, f"[{', '.join([item()] * 10)}]") == (pytest.approx(0.1), 0.1)
    # boxes everywhere, the right one among them
    grid = [
        item(f"{x}, {y}, {x + 99}, {y + 99}") for x in range(1, 900, 99) for y in range(1, 900, 99)
    ]
    assert rewards(one, f"[{', '.join([item(), *grid])}]")[0] == pytest.approx(1 / 101)
    # the right box, unsure, and doubtful ones to look honest: less than the right box alone
    for doubtful in (1, 10, 100):
        made_up = [item("0, 0, 50, 50", 0)] * doubtful
        earned = rewards(one, f"[{', '.join([item(confidence=0.3), *made_up])}]")
        alone = rewards(one, f"[{item(confidence=0.3)}]")
        assert sum(map(float, earned)) < sum(map(float, alone))
    # made-up boxes without confidence
    for sample in (one, NONE):
        assert rewards(sample, f"[{item('0, 0, 50, 50', 0)}]") == (0.0, 0.0)
    # repeated blocks: the last counts, and the format reward is lost
    twice = Completion(f"{answered(honest).text}\n{answered('No Objects').text}", VIEWS)
    assert TASK.score(one, twice).metrics["iou"] == 0.0
    assert TASK.rewards()["format"](one, twice) == 0.0


@pytest.mark.timeout(60)
def test_a_megabyte_of_text_is_scored_in_linear_time() -> None:
    many = f"[{', '.join([item()] * 20_000)}]"
    for text in (many, "[" * 1_000_000, "<answer>" * 100_000, "'Position': [" * 70_000):
        completion = answered(text)
        TASK.score(TWO, completion)
        assert rewards(TWO, text)[0] == pytest.approx(1 / 20_000 if text == many else 0.0)


# --- the published reading

LEGACY = [
    # the plain answer; cut off in the second box; line ends, dots and doubled brackets
    (f"[{item()}]", 0.5),
    (f"[{item()}, {{'Position': [500, 5", 0.5),
    (f"[{item()},\n {item('500, 500, 900, 900')}, ...]", 1.0),
    (f"[[{item()}]]", 0.5),
    # confidences that are no numbers, the same box twice, a box over the edge
    ("[" + item(confidence="'high'") + "]", 0.5),
    (f"[{item()}, {item()}]", 0.5),
    (f"[{item()}, {item('500, 500, 900, 900')}, {item('500, 500, 400, 9')}]", 1.0),
    # nothing to mend, no list, a list of something else
    ("No Objects", 0.0),
    ("", 0.0),
    ("{'Position': 1}", 0.0),
    ("[1, 'a', {'Position': [1, 2]}]", 0.0),
    ("[{'Position': [1, 2, 3, 1e999], 'Confidence': 1}]", 0.0),
]


@pytest.mark.parametrize(("text", "expected"), LEGACY, ids=range(len(LEGACY)))
def test_the_published_reading_mends_what_it_can(text: str, expected: float) -> None:
    assert TASK.score(TWO, answered(text)).metrics["legacy_iou"] == pytest.approx(expected)


def test_the_published_format_rule_is_a_setting() -> None:
    loose = replace(TASK, format="legacy").rewards()["format"]
    assert loose(TWO, Completion("<think></think><answer></answer>")) == 1.0
    assert TASK.rewards()["format"](TWO, Completion("<think></think><answer></answer>")) == 0.0


# --- average precision


def report_on(answers: dict[str, str]) -> Any:
    task = replace(TASK, queries="all")
    predictions = [Prediction(name, answered(text).text, VIEWS) for name, text in answers.items()]
    return summary.summarize(task, task.samples("val2017"), predictions, "two")


def test_average_precision_is_reported_for_all_and_for_each_category() -> None:
    # of two cats one is found exactly: 51 of 101 recall points; both dogs are
    dogs = f"[{item('100, 200, 300, 800')}, {item('900, 800, 1000, 1000', 0.5)}]"
    report = report_on({"139#cat": f"[{item()}]", "285#dog": dogs, "632#dog": "No Objects"})
    assert report.subsets["cat"]["map"].mean == pytest.approx(51 / 101)
    assert report.subsets["dog"]["map"].mean == pytest.approx(1)
    assert report.metrics["map"].mean == pytest.approx((51 / 101 + 1) / 2)
    assert report.metrics["map@0.5"].mean == pytest.approx((51 / 101 + 1) / 2)
    # overlaps: 1/2 and 1, and one of two right to say none; two of five questions are unanswered
    assert report.metrics["iou"].mean == pytest.approx((0.5 + 1 + 1) / 5)
    assert (report.n, report.unreadable) == (5, 2)


def test_a_surer_box_where_nothing_is_lowers_average_precision() -> None:
    right = f"[{item(confidence=0.5)}, {item('500, 500, 900, 900', 0.5)}]"
    report = report_on({"139#cat": right, "632#cat": f"[{item(confidence=0.9)}]"})
    # the wrong box comes first: precision 1/2 at half the recall, 2/3 at all of it, so 2/3
    assert report.subsets["cat"]["map"].mean == pytest.approx(2 / 3)
    assert report.subsets["cat"]["legacy_map"].mean == pytest.approx(2 / 3)


def test_legacy_average_precision_reads_what_was_cut_off() -> None:
    report = report_on({"139#cat": f"[{item()}, {{'Position': [5"})
    assert report.subsets["cat"]["map"].mean == 0.0
    assert report.subsets["cat"]["legacy_map"].mean == pytest.approx(51 / 101)


def test_without_objects_there_is_no_average_precision() -> None:
    scored = scoring.score_answers(TASK, [NONE_WITH_PICTURE], [])
    assert math.isnan(TASK.aggregates(scored)["map"])


NONE_WITH_PICTURE = replace(NONE, images=(HERE / "coco/val2017/000000000632.jpg",))


# --- shipped benchmarks and configuration


@pytest.mark.parametrize(("name", "count"), [("coco_fewshot", 8), ("coco_open", 15)])
def test_the_benchmarks_say_what_is_asked(name: str, count: int) -> None:
    found = load_benchmark(name, data_dir=str(HERE / "coco"))
    task = registry.build(found.task)
    assert isinstance(task, Detection)
    assert (len(set(task.categories)), task.queries) == (count, "present")
    assert "where they are present" in found.title
    # in the report's settings too
    assert coercion.to_plain(found)["task"]["settings"]["queries"] == "present"


def test_the_configuration_trains_on_the_published_rows() -> None:
    found = config.load("detection", [])
    assert registry.build(found.task) == Detection("laolao77/ViRFT_COCO_base65")
    assert (found.algorithm.num_generations, found.train.num_train_epochs) == (8, 2)
