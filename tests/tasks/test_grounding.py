"""Boxes and points of any data: units, kinds of answer, matching, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS

from vrft import config, registry
from vrft.annotations.frames import Point, Shape
from vrft.boxes import IN_FRACTIONS, THOUSANDTHS, Box
from vrft.checks import check
from vrft.errors import UserError
from vrft.images import stored_size
from vrft.rewards import rewards_of, with_rewards
from vrft.types import Completion, Prediction, Sample, Scored, Turn, View
from vrft_tasks import _grounding
from vrft_tasks._grounding import Kind, Target, match, read_answer
from vrft_tasks.grounding import Grounding

HERE = RECORDS / "formats"
FILES = (
    "canonical.jsonl", "vlm_r1.jsonl", "swift.jsonl", "r1v.jsonl", "easyr1.parquet", "coco.json",
    "labelme", "reasonseg",
)  # fmt: skip
BOX = Box(0.1, 0.2, 0.5, 0.5)
PIXELS = View(280, 140, "pixels")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


def task_of(folder: Path, answers: list[Any], **settings: Any) -> Grounding:
    """The task of rows about a picture of 120 x 90 pixels with these answers."""
    shutil.copy(HERE / "a.png", folder)
    rows = [{"images": ["a.png"], "question": "Where?", "answer": answer} for answer in answers]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Grounding(str(file), **settings)


@pytest.mark.parametrize("file", FILES)
def test_every_format_passes_the_check(file: str) -> None:
    result = check.check(Grounding(str(HERE / file)), ["train"])
    assert result.ok, result.lines()


@pytest.mark.parametrize(
    ("answer", "settings"),
    [
        # the same box in each unit and order
        ([12, 18, 60, 45], {}),
        ([12, 18, 48, 27], {"box_format": "xywh"}),
        ([100, 200, 500, 500], {"box_unit": "thousandths"}),
        ([0.1, 0.2, 0.5, 0.5], {"box_unit": "fractions"}),
        ([0.1, 0.2, 0.4, 0.3], {"box_unit": "fractions", "box_format": "xywh"}),
        # a picture of 120 x 90 is shown as 112 x 84
        ([11.2, 16.8, 56, 42], {"box_unit": "resized"}),
        # as text, and as the corners of a box where that is said
        ("(12,18),(60,45)", {}),
        ([[12, 18], [60, 45]], {"kind": "box"}),
    ],
)
def test_a_box_is_read_in_the_unit_of_the_data(
    answer: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    (sample,) = task_of(tmp_path, [answer], **settings).samples("train")
    (box,) = sample.answer.boxes
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((0.1, 0.2, 0.5, 0.5))


@pytest.mark.parametrize(
    ("answers", "settings", "complaint"),
    [
        # units that cannot be meant, with the remedy
        ([[100, 200, 500, 500]], {}, r"line 1: .*data\.boxes=thousandths"),
        ([[0.1, 0.2, 0.5, 0.5]], {}, r"line 1: .*set data\.boxes=fractions"),
        ([[1, 2, 3, 4], [60, 45, 12, 18]], {}, r"line 2: .*data\.box_format=xywh"),
        ([[12, 18, 110, 80]], {"box_format": "xywh"}, r"line 1: .*data\.box_format=xyxy"),
        # kinds that do not agree
        ([[1, 2, 3, 4], [1, 2]], {}, r"line 2: .*another kind than those before"),
        ([[[1, 2], [3, 4]]], {}, r"line 1: .*two points or the corners of a box"),
        ([[[1, 2, 3, 4], [5, 6, 7, 8]]], {"kind": "box"}, r"line 1: 2 answers; task\.kind=box"),
        ([[1, 2]], {"kind": "box"}, r"line 1: a point"),
        (["red"], {}, r"line 1: the answer 'red' is neither boxes nor points"),
        # several pictures, of which nobody says which has the boxes
        ([[1, 2, 3, 4]], {"picture": 2}, r"line 1: no picture 2"),
    ],
)
def test_rows_that_cannot_be_meant_so_are_refused(
    answers: list[Any], settings: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=complaint):
        task_of(tmp_path, answers, **settings).samples("train")


TRUE = {
    "box": [12, 18, 60, 45],
    "boxes": [[12, 18, 60, 45], [0, 0, 30, 9]],
    "point": [12, 18],
    "points": [[12, 18], [60, 45]],
}
"""Kind -> an answer in pixels of a picture of 120 x 90."""

WRITTEN = {
    None: "(28,28),(140,70)",  # of 280 x 140, as the family writes
    "pixels": "(28,28),(140,70)",
    "thousandths": "(100,200),(500,500)",
    "fractions": "(0.1,0.2),(0.5,0.5)",
}
"""The setting ``coordinates`` -> the box of TRUE for a model that is shown 280 x 140 pixels."""


@pytest.mark.parametrize("coordinates", WRITTEN)
@pytest.mark.parametrize("kind", TRUE)
def test_answers_are_written_and_read_in_the_coordinates_of_the_setting(
    kind: str, coordinates: Any, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"coordinates": coordinates, "kind": kind}
    task = task_of(tmp_path, [TRUE[kind]], **settings)
    (sample,) = task.samples("train")
    gold = task.reference(sample, (PIXELS,))
    first = WRITTEN[coordinates].split("),")[0].removesuffix(")") + ")"
    assert (WRITTEN[coordinates] if "box" in kind else first) in gold
    assert rewards_of(task, sample, Completion(gold, (PIXELS,))) == {"match": 1, "format": 1}
    for other in {*WRITTEN.values()} - {WRITTEN[coordinates]}:
        text = f"<answer>{other}</answer>"
        if kind == "box":
            assert rewards_of(task, sample, Completion(text, (PIXELS,)))["match"] < 0.5
    assert check.check(task, ["train"]).ok


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ([30, 30], "(0.5,0.5)"),
        ([[30, 30], [10, 10], [5, 5]], "(0.5,0.5)\n(0.1,1)"),
        ([[1, 2, 30, 40], [2, 3, 40, 45]], "(0.1,0.2),(0.5,0.5)\n(0,0.5),(1,1)"),
    ],
)
def test_fractions_are_refused_and_counted_for_every_kind_of_answer(
    answer: Any, text: str, tmp_path: Path
) -> None:
    task = task_of(tmp_path, [answer])
    (sample,) = task.samples("train")
    prompt, said = task.prompt(sample), f"<answer>{text}</answer>"
    score = task.score(sample, Completion(said, (PIXELS,)))
    assert score.parsed is None
    scored = [Scored(sample, prompt, Prediction("0", said, (PIXELS,)), score)]
    assert task.aggregates(scored) == {IN_FRACTIONS: 1.0}
    asked = task_of(tmp_path, [answer], coordinates="fractions")
    assert asked.score(sample, Completion(said, (PIXELS,))).parsed is not None


def test_boxes_in_fractions_are_counted_with_the_setting_that_reads_them(tmp_path: Path) -> None:
    task = task_of(tmp_path, [[12, 18, 60, 45]])
    (sample,) = task.samples("train")
    texts = ("<answer>(0.1,0.2),(0.5,0.5)</answer>", "<answer>(28,28),(140,70)</answer>")
    prompt, score = task.prompt(sample), task.score(sample, Completion(texts[0], (PIXELS,)))
    scored = [Scored(sample, prompt, Prediction("0", text, (PIXELS,)), score) for text in texts]
    assert task.aggregates(scored) == {IN_FRACTIONS: 0.5}
    assert task_of(tmp_path, [[1, 2, 3, 4]], coordinates="fractions").aggregates(scored) == {}


def test_a_row_that_tells_its_unit_is_believed_and_must_agree() -> None:
    second = Grounding(str(HERE / "swift.jsonl")).samples("train")[1]
    assert second.answer.boxes == (Box(0.1, 0.3, 0.9, 0.8),)
    with pytest.raises(UserError, match=r"line 2: boxes in fractions; data\.boxes=pixels is wrong"):
        Grounding(str(HERE / "swift.jsonl"), box_unit="pixels").samples("train")


def test_with_several_pictures_a_setting_says_which_has_the_boxes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        shutil.copy(HERE / name, tmp_path)
    row = {"images": ["a.png", "b.png"], "question": "Where?", "answer": [20, 30, 180, 80]}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(UserError, match=r"line 1: 2 pictures; task\.picture=1 says which"):
        Grounding(str(file)).samples("train")
    task = Grounding(str(file), picture=2)
    (sample,) = task.samples("train")
    views = (View(112, 84, "pixels"), View(200, 100, "pixels"))
    assert "(20,30),(180,80)" in task.reference(sample, views)
    assert (task.boxed_picture(sample), Grounding(str(file)).boxed_picture(sample)) == (1, 0)
    more = with_rewards(task, {"brief": lambda sample, completion: 1.0})
    assert more.boxed_picture(sample) == 1


@pytest.mark.parametrize(
    ("shapes", "kind", "view", "written"),
    [
        ((BOX,), "box", THOUSANDTHS, "(100,200),(500,500)"),
        ((BOX,), "box", PIXELS, "(28,28),(140,70)"),
        ((BOX, Box(0, 0, 1, 1)), "boxes", THOUSANDTHS, "(100,200),(500,500)\n(0,0),(1000,1000)"),
        ((Point(0.25, 0.5),), "point", PIXELS, "(70,70)"),
        ((Point(0, 0), Point(1, 1)), "points", THOUSANDTHS, "(0,0)\n(1000,1000)"),
        # a point is asked for where boxes are true: their middles
        ((BOX,), "point", THOUSANDTHS, "(300,350)"),
    ],
)
def test_answers_are_written_as_the_model_writes_and_read_back(
    shapes: tuple[Shape, ...], kind: Kind, view: View, written: str
) -> None:
    task, sample = Grounding(""), Sample("1", "Where?", Target(kind, shapes))
    completion = Completion(task.reference(sample, (view,)), (view,))
    assert completion.text.endswith(f"<answer>{written}</answer>")
    assert rewards_of(task, sample, completion) == {"match": pytest.approx(1), "format": 1.0}
    assert task.score(sample, completion).metrics == {"match": pytest.approx(1), "acc@0.5": 1.0}


@pytest.mark.parametrize(
    ("text", "kind", "count"),
    [
        ("(1,2),(3,4)", "box", 1),
        ("The cup is at [1, 2, 3, 4].", "box", 1),
        ("[[1,2,3,4],[5,6,7,8]]", "boxes", 2),
        ('[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6, 7, 8]}]', "boxes", 2),
        ("(1,2)", "point", 1),
        ('{"point_2d": [1, 2]}', "point", 1),
        ("(1,2), (3,4)", "points", 2),
        # the same one again, in any form, is one; among several each counts
        ("(1,2),(3,4), that is [1, 2, 3.0, 4]", "box", 1),
        ("(1,2): (1,2)", "point", 1),
        ("(1,2),(3,4) (1,2),(3,4)", "boxes", 2),
        # several where one is asked for; cut off; empty; outside; of the other kind; nothing
        ("(1,2),(3,4) or (5,6),(7,8)", "box", None),
        ("(1,2) or (3,4)", "point", None),
        ("(1,2),(3,4) and (1,2),(1,4)", "box", None),
        ("(1,2) and again (1,2", "point", None),
        ("(1,2),(3,4)\n(5,6),(7", "boxes", None),
        ("(1,2),(1,4)", "boxes", None),
        ("(1,2),(3,1001)", "boxes", None),
        ("(1,1001)", "point", None),
        ("[1,2,3,4]", "point", None),
        ("(1,2)", "box", None),
        ("nowhere", "points", None),
        ("", "boxes", None),
    ],
)
def test_answers_are_read_strictly(text: str, kind: Kind, count: int | None) -> None:
    shapes = read_answer(text, kind, THOUSANDTHS)
    assert (None if shapes is None else len(shapes)) == count


LEFT, RIGHT = Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)
MIDDLE = Box(0.25, 0, 0.75, 1)
CROWD = (Point(0.5, 0.5), Point(0.54, 0.5), Point(0.58, 0.5))


@pytest.mark.parametrize(
    ("true", "answered", "value"),
    [
        ((LEFT,), (LEFT,), 1),
        # half of the box: IoU 0.5
        ((LEFT,), (Box(0, 0, 0.25, 1),), 0.5),
        ((LEFT,), (RIGHT,), 0),
        # two boxes in the other order; one of two; one too many; the same one twice
        ((LEFT, RIGHT), (RIGHT, LEFT), 1),
        ((LEFT, RIGHT), (RIGHT,), 0.5),
        ((LEFT,), (LEFT, RIGHT), 0.5),
        ((LEFT, RIGHT), (LEFT, LEFT), 0.5),
        # the best pair first: the second answer is the exact one of the only box
        ((LEFT,), (Box(0, 0, 0.25, 1), LEFT), 0.5),
        # points: within the distance of 0.05, or in the box
        ((Point(0.5, 0.5),), (Point(0.54, 0.5),), 1),
        ((Point(0.5, 0.5),), (Point(0.56, 0.5),), 0),
        ((Point(0, 0), Point(1, 1)), (Point(1, 1), Point(0.5, 0.5)), 0.5),
        ((LEFT,), (Point(0.2, 0.9),), 1),
        ((LEFT,), (Point(0.7, 0.9),), 0),
        # points so near to each other that each hits its neighbour too
        (CROWD, CROWD, 1),
        (CROWD, (CROWD[1], CROWD[2], CROWD[0]), 1),
        ((LEFT, MIDDLE), (Point(0.4, 0.5), Point(0.1, 0.5)), 1),
        ((LEFT, MIDDLE), (Point(0.1, 0.5), Point(0.4, 0.5)), 1),
        ((LEFT,), None, 0),
    ],
)
def test_shapes_are_matched_with_the_truth(
    true: tuple[Shape, ...], answered: tuple[Shape, ...] | None, value: float
) -> None:
    assert match(Target("boxes", true), answered, radius=0.05) == pytest.approx(value)


def test_the_order_of_an_answer_makes_no_difference() -> None:
    boxes = [Box(x / 8, 0, x / 8 + 0.3, 1) for x in range(4)]
    values = [match(Target("boxes", tuple(boxes)), order, 0.05) for order in permutations(boxes)]
    assert values == pytest.approx([1.0] * 24)


def test_a_reward_for_many_guesses_does_not_grow() -> None:
    guesses = tuple(Box(x / 10, 0, x / 10 + 0.1, 1) for x in range(9))
    assert match(Target("boxes", (LEFT,)), guesses, 0.05) < 0.03


def test_true_boxes_are_drawn_where_boxes_are_answered() -> None:
    task = Grounding("")
    assert task.boxes(Sample("1", "", Target("box", (BOX,)))) == (BOX,)
    assert task.boxes(Sample("1", "", Target("point", (BOX,)))) == ()


def test_the_reading_is_said_in_one_line() -> None:
    line = Grounding(str(HERE / "vlm_r1.jsonl")).describe("train")
    start = "read as VLM-R1 conversations, boxes in pixels of the original picture; first prompt: "
    assert line.startswith(start + "'<image>Please")
    coco = Grounding(str(HERE / "coco.json")).describe("train")
    assert "one or several boxes in pixels of the original picture" in coco
    swift = Grounding(str(HERE / "swift.jsonl")).describe("train")
    assert "in fractions of the picture's sides or pixels of the original picture" in swift


def test_the_base_style_writes_a_transcript_that_opens_the_answer() -> None:
    turns = (Turn("user", "Look at <image>."), Turn("assistant", "Yes?"))
    sample = Sample("1", "Where?", Target("box", (BOX,), "Be brief.", turns), (HERE / "a.png",))
    task = Grounding("", style="base")
    prompt = task.prompt(sample)
    assert (prompt.raw, prompt.system, prompt.turns) == (True, "Be brief.\n", ())
    assert prompt.text.endswith(
        "the corners of its bounding box between <answer> and </answer>, exactly in this form:\n"
        "<answer>(x1,y1),(x2,y2)</answer>\n"
        "User: Look at <image>.\nAssistant: Yes?\nUser: Where?\n"
        "Assistant: I go through it one step at a time.\n"
    )
    own = Grounding("", style="base", template="{question} {form}")
    with pytest.raises(UserError, match=r"task\.template has no place; write \{turns\}"):
        own.prompt(sample)


def test_an_answer_in_the_base_style_continues_the_tag_of_its_prompt() -> None:
    sample = Sample("1", "Where?", Target("box", (BOX,)))
    continued = Completion("I look.</think><answer>(100,200),(500,500)</answer>")
    for style, kept in (("base", 1.0), ("chat", 0.0)):
        task = registry.build(
            config.load("grounding", ["task.data_dir=x", f"task.style={style}"]).task
        )
        assert rewards_of(task, sample, continued) == {"match": pytest.approx(1), "format": kept}


def test_every_format_passes_the_check_in_the_base_style_and_is_shown() -> None:
    for file in FILES:
        task = Grounding(str(HERE / file), style="base")
        result = check.check(task, ["train"])
        assert result.ok, result.lines()
        assert "User: " in task.describe("train") and task.describe("train").endswith("<think>'")


def test_samples_can_be_pickled() -> None:
    sample = Grounding(str(HERE / "canonical.jsonl")).samples("train")[0]
    assert pickle.loads(pickle.dumps(sample)) == sample


def test_settings_have_their_names_of_the_command_line() -> None:
    settings = ["task.data_dir=x", "data.format=llava", "data.boxes=pixels"]
    task = registry.build(config.load("grounding", settings).task)
    assert task == Grounding("x", data_format="llava", box_unit="pixels")
    with pytest.raises(UserError, match=r"task\.box_unit: 'inches' is not one of"):
        registry.build(config.load("grounding", ["task.data_dir=x", "data.boxes=inches"]).task)
    with pytest.raises(UserError, match=r"task\.picture: expected at least 1"):
        Grounding("x", picture=0)
    with pytest.raises(UserError, match=r"task\.template: write \{question\}"):
        Grounding("x", template="Well?")
    for radius in (0.0, -0.1, 50.0, float("nan")):
        with pytest.raises(UserError, match=r"task\.radius: expected a fraction of the sides"):
            Grounding("x", radius=radius)
    for least, largest in ((0, 9), (10, 9)):
        with pytest.raises(UserError, match=r"task\.min_pixels: expected 1 to task\.max_pixels=9"):
            Grounding("x", min_pixels=least, max_pixels=largest)


def test_the_size_of_a_picture_is_read_once_for_all_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(
        _grounding, "stored_size", lambda path: opened.append(path.name) or stored_size(path)
    )
    task = task_of(tmp_path, [[12, 18, 60, 45], [0, 0, 60, 45], [1, 2, 3, 4]])
    assert task.samples("train")[0].answer.shapes == (BOX,)
    assert opened == ["a.png"]


def test_columns_of_annotated_pictures_reach_rewards() -> None:
    (first, _) = Grounding(str(HERE / "coco.json")).samples("train")
    assert first.columns["category"] == "rectangle" and first.columns["width"] == 120
