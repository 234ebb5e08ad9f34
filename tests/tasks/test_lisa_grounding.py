"""The grounding task: both published formats, strict and published scores, and bad data."""

import json
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft import masks
from vrft.boxes import IN_FRACTIONS, Box
from vrft.errors import UserError
from vrft.types import Completion, Prediction, Sample, Scored, View
from vrft_tasks.lisa_grounding import LisaGrounding, Target, legacy_box

TASK = LisaGrounding(RECORDS / "reasonseg")
THOUSANDTHS = (View(84, 56, "thousandths"),)
PIXELS = (View(84, 56, "pixels"),)

TRUTH = Box(0.1, 0.1, 0.3, 0.3)
SAMPLE = Sample("s", "the kettle", Target(TRUTH, TRUTH))
AS_PUBLISHED = pytest.approx(1, abs=1e-4)
"""A full overlap: published is a millionth of the picture more in the denominator."""


def answered(box: str, views: tuple[View, ...] = THOUSANDTHS) -> Completion:
    return Completion(f"<think>there</think>\n<answer>{box}</answer>", views)


# --- reading ReasonSeg


def test_training_asks_every_instruction_of_a_picture() -> None:
    samples = TASK.samples("train")
    assert [(s.id, s.question) for s in samples] == [
        ("kettle#0", "the thing that makes water hot"),
        ("kettle#1", "what would you fill before tea?"),
        # the record is in cp1252, with a typographic apostrophe
        ("stool#0", "where the cook’s helper may sit"),
    ]


def test_evaluation_asks_the_first_instruction_of_a_picture() -> None:
    assert [(s.id, s.question) for s in TASK.samples("val")] == [("lamp", "what lights the desk")]


def test_samples_carry_the_fields_of_their_record() -> None:
    first, second, stool = TASK.samples("train")
    record = json.loads((RECORDS / "reasonseg/train/kettle.json").read_text(encoding="utf-8"))
    answer = first.columns["answer"]
    assert first.columns == second.columns == {**record, "answer": answer}
    assert Box(*answer) == first.answer.box
    assert stool.columns["text"] == [stool.question]


def test_a_picture_within_a_record_is_no_column(split: Callable[..., LisaGrounding]) -> None:
    (sample,) = split(imageData="iVBORw0KGgo=", imagePath="a.png").samples("val")
    assert "imageData" not in sample.columns
    assert sample.columns["imagePath"] == "a.png"


def test_the_true_box_holds_all_targets_and_the_legacy_box_the_first_shape() -> None:
    kettle, _, stool = TASK.samples("train")
    # targets: x 8 to 24 and 24 to 40 of 80, y 6 to 36 of 60; the ignored shape counts nowhere
    assert kettle.answer.box == Box(0.1, 0.1, 0.5, 0.6)
    assert kettle.answer.first == Box(0.1, 0.1, 0.3, 0.6)
    # the first shape is a flag of 10 x 10 pixels, and the published code takes it all the same
    assert stool.answer.box == Box(0.5, 0.5, 0.9, 0.9)
    assert stool.answer.first == Box(0, 0, 0.125, 1 / 6)


def test_the_shapes_are_kept_for_masks() -> None:
    kettle, _, stool = TASK.samples("train")
    region = TASK.region(kettle)
    assert region is not None
    assert (len(region.wanted), len(region.ignored)) == (2, 1)
    assert region.first == region.wanted[0]
    # a flag is neither wanted nor ignored, and yet it is the first shape
    region = TASK.region(stool)
    assert region is not None
    assert (len(region.wanted), len(region.ignored), region.first[1]) == (1, 0, (10.0, 0.0))


def test_the_optional_fields_kind_and_label_are_read() -> None:
    kettle, _, stool = TASK.samples("train")
    assert (stool.subset, stool.answer.label) == ("use", "stool")
    assert (kettle.subset, kettle.answer.label) == ("", "")


def test_pictures_lie_beside_their_records() -> None:
    for sample in TASK.samples("train"):
        assert sample.images[0].is_file()  # type: ignore[union-attr]


@pytest.fixture
def split(tmp_path: Path) -> Callable[..., LisaGrounding]:
    """Write a data folder whose split "val" holds one record: the given fields over a good one."""

    def write(raw: bytes | None = None, picture: bool = True, **fields: Any) -> LisaGrounding:
        folder = tmp_path / "val"
        folder.mkdir()
        shape = {"label": "target", "points": [[10, 10], [30, 10], [30, 30]]}
        record = {"text": ["it"], "is_sentence": False, "shapes": [shape], **fields}
        (folder / "a.json").write_bytes(json.dumps(record).encode() if raw is None else raw)
        if picture:
            Image.new("RGB", (100, 100)).save(folder / "a.jpg")
        return LisaGrounding(tmp_path)

    return write


def test_points_outside_the_picture_are_cut_to_it(split: Callable[..., LisaGrounding]) -> None:
    shape = {"label": "target", "points": [[-3.5, 20], [50, 20], [50, 104]]}
    assert split(shapes=[shape]).samples("val")[0].answer.box == Box(0, 0.2, 0.5, 1)


def test_a_first_shape_without_area_leaves_the_true_box(
    split: Callable[..., LisaGrounding],
) -> None:
    shapes = [
        {"label": "ignore", "points": [[5, 5]]},
        {"label": "target", "points": [[10, 10], [30, 30]]},
    ]
    answer = split(shapes=shapes).samples("val")[0].answer
    assert answer.first == answer.box == Box(0.1, 0.1, 0.3, 0.3)


def test_a_text_may_be_a_single_string(split: Callable[..., LisaGrounding]) -> None:
    assert split(text="the one").samples("val")[0].question == "the one"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"raw": b'{"text": ['}, r"a\.json: not readable JSON .*; mend or remove it"),
        ({"raw": b"[" * 100_000}, r"a\.json: not readable JSON"),
        ({"raw": b"[]"}, r"a\.json: expected an object"),
        ({"text": []}, r"a\.json: `text` must hold at least one instruction"),
        ({"text": [7]}, r"a\.json: `text` must hold at least one instruction"),
        ({"shapes": []}, r"a\.json: `shapes` must hold at least one shape"),
        ({"shapes": [{"label": "target"}]}, r"a\.json: shape 0 has no points"),
        ({"shapes": [{"label": "target", "points": []}]}, r"a\.json: shape 0 has no points"),
        ({"shapes": ["target"]}, r"a\.json: shape 0 has no points"),
        ({"shapes": [{"label": "target", "points": [[1, 2], [3]]}]}, r"no \[x, y\]: \[3\]"),
        ({"shapes": [{"label": "target", "points": [["1", 2]]}]}, r"no \[x, y\]"),
        ({"shapes": [{"label": "target", "points": [[1, float("nan")]]}]}, r"no \[x, y\]"),
        ({"shapes": [{"label": "target", "points": [[1, 10**400]]}]}, r"no \[x, y\]: \[1, 1000"),
        ({"shapes": [{"label": "target", "points": [[True, 2]]}]}, r"no \[x, y\]"),
        ({"images": [], "annotations": []}, "COCO's json, which the tasks grounding and detection"),
        ({"shapes": [{"label": "flag", "points": [[1, 2], [3, 4]]}]}, "no shape is a target"),
        ({"shapes": [{"label": "ignore", "points": [[1, 2], [3, 4]]}]}, "no shape is a target"),
        ({"shapes": [{"label": "target", "points": [[1, 2], [1, 9]]}]}, "span no area"),
        ({"shapes": [{"label": "target", "points": [[200, 0], [300, 9]]}]}, "span no area"),
        (
            {"shapes": [{"label": "target", "points": [[0.1, 0.1], [0.3, 0.1], [0.3, 1]]}]},
            r"a\.json: all points lie in 0..1, and ReasonSeg writes pixels",
        ),
        ({"picture": False}, r"a\.jpg: no such picture"),
    ],
)
def test_broken_data_is_named_in_one_line(
    fields: dict[str, Any], message: str, split: Callable[..., LisaGrounding]
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        split(**fields).samples("val")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "points", "corners"),
    [
        # centre and rim: a radius of 30; two corners, in the wrong order; a polygon by name
        ("circle", [[50, 50], [80, 50]], (0.2, 0.2, 0.8, 0.8)),
        ("rectangle", [[80, 70], [20, 30]], (0.2, 0.3, 0.8, 0.7)),
        ("polygon", [[20, 30], [80, 30], [80, 70]], (0.2, 0.3, 0.8, 0.7)),
    ],
)
def test_shapes_of_labelme_have_the_box_and_mask_that_was_drawn(
    kind: str, points: list[list[int]], corners: tuple[float, ...],
    split: Callable[..., LisaGrounding],
) -> None:  # fmt: skip
    task = split(shapes=[{"label": "target", "shape_type": kind, "points": points}])
    (sample,) = task.samples("val")
    assert astuple(sample.answer.box) == pytest.approx(corners)
    region = task.region(sample)
    assert region is not None
    assert masks.paint(region, 100, 100)[0].sum() > 1000
    # Published scores know the bare points alone.
    assert list(region.first) == [tuple(point) for point in points]


@pytest.mark.parametrize("kind", ["point", "points", "line", "linestrip", "mask", "ellipse"])
def test_a_shape_without_a_known_area_is_refused_by_name(
    kind: str, split: Callable[..., LisaGrounding]
) -> None:
    shape = {"label": "target", "shape_type": kind, "points": [[10, 10], [30, 10], [30, 30]]}
    with pytest.raises(UserError, match=rf"a\.json: shape 0: a {kind} .*; draw a polygon"):
        split(shapes=[shape]).samples("val")


def turned(path: Path, orientation: int) -> None:
    """Write a picture that is stored in 200 x 100 pixels and lies on its side from 5 on."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (200, 100)).save(path, exif=exif)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        # Points in x 20 to 80 and y 10 to 30, of 200 x 100 as stored and 100 x 200 as shown.
        # Orientation 6 turns (x, y) into (100 - y, x): x 70 to 90 and y 20 to 80.
        ((200, 100), Box(0.7, 0.1, 0.9, 0.4)),
        # annotated upright, as labelme does, and without a size, as ReasonSeg
        ((100, 200), Box(0.2, 0.05, 0.8, 0.15)),
        (None, Box(0.2, 0.05, 0.8, 0.15)),
    ],
)
def test_points_are_turned_with_their_picture(
    size: tuple[int, int] | None, box: Box, split: Callable[..., LisaGrounding]
) -> None:
    shape = {"label": "target", "points": [[20, 10], [80, 10], [80, 30], [20, 30]]}
    told = {} if size is None else {"imageWidth": size[0], "imageHeight": size[1]}
    task = split(shapes=[shape], **told)
    turned(task.data_dir / "val" / "a.jpg", 6)
    assert astuple(task.samples("val")[0].answer.box) == pytest.approx(astuple(box))


@pytest.mark.parametrize(
    ("fields", "orientation", "message"),
    [
        # the size of another picture, also where nothing is turned
        ({"imageWidth": 640, "imageHeight": 480}, 6, "are 640x480, the picture is 100x200"),
        ({"imageWidth": 100, "imageHeight": 200}, 1, "are 100x200, the picture is 200x100"),
        # points that fit the stored picture alone
        ({}, 6, r"points beyond the picture of 100x200.*; write imageWidth 200"),
        ({}, 8, r"points beyond the picture of 100x200"),
    ],
)
def test_points_of_another_frame_are_refused(
    fields: dict[str, Any], orientation: int, message: str, split: Callable[..., LisaGrounding]
) -> None:
    shape = {"label": "target", "points": [[150, 10], [190, 10], [190, 90]]}
    task = split(shapes=[shape], **fields)
    turned(task.data_dir / "val" / "a.jpg", orientation)
    with pytest.raises(UserError, match=rf"a\.json: .*{message}"):
        task.samples("val")


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".JPG", ".Bmp", ".TIF", ".gif"])
def test_a_picture_may_have_another_ending(
    suffix: str, split: Callable[..., LisaGrounding]
) -> None:
    task = split(picture=False)
    Image.new("RGB", (100, 100)).save(task.data_dir / "val" / f"a{suffix}")
    assert task.samples("val")[0].images[0].name == f"a{suffix}"  # type: ignore[union-attr]


def test_records_in_capital_letters_are_records_and_hidden_files_none(
    split: Callable[..., LisaGrounding],
) -> None:
    task = split()
    folder = task.data_dir / "val"
    (folder / "a.json").rename(folder / "a.JSON")
    (folder / "._a.json").write_bytes(b"\0")
    assert len(task.samples("val")) == 1


def test_json_of_another_encoding_is_refused_until_it_is_named(
    split: Callable[..., LisaGrounding],
) -> None:
    shape = {"label": "target", "points": [[10, 10], [30, 10], [30, 30]]}
    record = json.dumps({"text": ["左边的杯子"], "shapes": [shape]}, ensure_ascii=False)
    task = split(raw=record.encode("gb2312"))
    with pytest.raises(UserError, match=r"a\.json: not in UTF-8 .*data\.encoding=gb18030"):
        task.samples("val")
    (sample,) = replace(task, encoding="gb18030").samples("val")
    assert sample.question == "左边的杯子"


def test_a_picture_that_is_none_is_named(split: Callable[..., LisaGrounding]) -> None:
    task = split()
    (task.data_dir / "val" / "a.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"val/a\.jpg: not a picture that can be read"):
        task.samples("val")


def test_missing_data_and_unknown_splits_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no data at .*/nowhere; set task\.data_dir to a Reason"):
        LisaGrounding(tmp_path / "nowhere").samples("train")
    with pytest.raises(UserError, match=r"no split 'dev' in .*; there is train, val$"):
        TASK.samples("dev")
    with pytest.raises(UserError, match="there is none"):
        LisaGrounding(tmp_path).samples("train")


# --- reading Visual-RFT's conversations


@pytest.mark.parametrize(
    ("data_dir", "split"), [(RECORDS / "visual_rft.json", "train"), (RECORDS, "visual_rft")]
)
def test_conversations_are_read_from_a_file_or_a_folder_of_files(
    data_dir: Path, split: str
) -> None:
    kettle, lamp = LisaGrounding(data_dir).samples(split)
    assert (kettle.id, lamp.id) == ("lisa_0", "lisa_1")
    assert kettle.question == "the thing that makes water hot"
    assert kettle.images == (RECORDS / "reasonseg/train/kettle.jpg",)
    assert kettle.answer == Target(Box(0.1, 0.1, 0.5, 0.6), Box(0.1, 0.1, 0.5, 0.6))
    assert TASK.region(kettle) is None
    assert kettle.columns["id"] == "lisa_0" and len(kettle.columns["conversations"]) == 2


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({}, "expected a list of conversations"),
        ([{"id": "a"}], "row 0: expected `conversations` of two turns"),
        ([{"conversations": [{"value": "x"}]}], "row 0: expected `conversations` of two turns"),
        (["text"], "row 0: expected `conversations` of two turns"),
        ([{"conversations": [{"value": "x"}, {"value": "(1,2),(3,4)"}]}], "row 0: expected <img>"),
        (
            [{"conversations": [{"value": "<img>a.jpg</img> it"}, {"value": "(3,4),(1,2)"}]}],
            r"row 0: expected <img>path</img>, answered by one box",
        ),
        (
            [{"conversations": [{"value": "<img>a.jpg</img> it"}, {"value": "(1,2),(3,4)"}]}],
            r"a\.jpg: no such picture",
        ),
    ],
)
def test_broken_conversations_are_named_by_row(records: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(records))
    with pytest.raises(UserError, match=message):
        LisaGrounding(path).samples("train")


# --- asking


def test_the_prompt_holds_picture_instruction_and_contract() -> None:
    sample = TASK.samples("val")[0]
    prompt = TASK.prompt(sample)
    assert prompt.images == sample.images
    assert "what lights the desk" in prompt.text
    assert "<answer>(x1,y1),(x2,y2)</answer>" in prompt.text
    assert prompt.system is None


def test_template_and_system_text_are_settings() -> None:
    # braces in an instruction are text
    sample = Sample("s", "the {odd} one", SAMPLE.answer)
    task = LisaGrounding(RECORDS, template="Find {instruction}!", system="Be brief.")
    assert task.prompt(sample).text == "Find the {odd} one!"
    assert task.prompt(sample).system == "Be brief."


@pytest.mark.parametrize("views", [THOUSANDTHS, PIXELS, ()])
def test_the_reference_earns_full_marks_in_every_space(views: tuple[View, ...]) -> None:
    for sample in TASK.samples("train"):
        completion = Completion(TASK.reference(sample, views), views)
        # one part in 56 is the rounding to whole pixels
        assert TASK.score(sample, completion).metrics["iou"] > 0.95
        assert TASK.rewards()["format"](sample, completion) == 1.0


def test_the_reference_thinks_of_the_object_where_it_is_known() -> None:
    kettle, _, stool = TASK.samples("train")
    assert TASK.reference(kettle, THOUSANDTHS) == (
        "<think>the target</think>\n<answer>(100,100),(500,600)</answer>"
    )
    assert TASK.reference(stool, THOUSANDTHS).startswith("<think>the stool</think>\n")


# --- rewards and scores


GRADED = [
    # exact: 1; half of it, 0.1 x 0.2 of 0.2 x 0.2; the whole picture, 0.04; beside it, 0
    ("(100,100),(300,300)", 1.0),
    ("(100,100),(200,300)", 0.5),
    ("(0,0),(1000,1000)", 0.04),
    ("(800,800),(900,900)", 0.0),
    # empty, inverted, out of range, several, none
    ("(100,100),(100,300)", None),
    ("(300,300),(100,100)", None),
    ("(100,100),(300,3000)", None),
    ("(100,100),(300,300),(100,100),(300,301)", None),
    # the same box twice, four numbers, points in square brackets
    ("(100,100),(300,300),(100,100),(300,300)", 1.0),
    ("(100,100,300,300)", 1.0),
    ("[[100,100],[300,300]]", 1.0),
    ("（１００，１００），（３００，３００）", 1.0),
    # fractions, where none are expected
    ("(0.1,0.1),(0.3,0.3)", None),
    ("in the middle", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "overlap"), GRADED)
def test_reward_and_metric_are_the_overlap_and_an_unreadable_box_scores_zero(
    text: str, overlap: float | None
) -> None:
    completion = answered(text)
    score = TASK.score(SAMPLE, completion)
    assert score.metrics["iou"] == pytest.approx(overlap or 0.0)
    assert score.metrics["acc@0.5"] == float((overlap or 0.0) >= 0.5)
    assert (score.parsed is None) is (overlap is None)
    assert TASK.rewards()["iou"](SAMPLE, completion) == score.metrics["iou"]


def test_boxes_in_pixels_are_those_of_the_resized_picture() -> None:
    # a tenth and three tenths of 84 x 56: (8.4, 5.6) and (25.2, 16.8)
    completion = answered("(8.4,5.6),(25.2,16.8)", PIXELS)
    assert TASK.score(SAMPLE, completion).metrics["iou"] == pytest.approx(1)
    assert TASK.score(SAMPLE, completion).parsed == pytest.approx(astuple(TRUTH))


def test_boxes_are_read_in_fractions_or_thousandths_where_the_setting_says_so() -> None:
    fractions = LisaGrounding(RECORDS, coordinates="fractions")
    completion = answered("(0.1,0.1),(0.3,0.3)", PIXELS)
    assert fractions.score(SAMPLE, completion).metrics["iou"] == pytest.approx(1)
    assert fractions.rewards()["iou"](SAMPLE, completion) == pytest.approx(1)
    assert "<answer>(0.1,0.1),(0.3,0.3)</answer>" in fractions.reference(SAMPLE, PIXELS)
    assert fractions.score(SAMPLE, answered("(100,100),(300,300)")).parsed is None
    # a model whose family writes pixels may have been asked for thousandths
    thousandths = LisaGrounding(RECORDS, coordinates="thousandths")
    completion = answered("(100,100),(300,300)", PIXELS)
    assert thousandths.score(SAMPLE, completion).metrics["iou"] == pytest.approx(1)
    assert "(100,100),(300,300)" in thousandths.reference(SAMPLE, PIXELS)


def test_answers_in_fractions_are_counted_with_the_name_of_the_setting() -> None:
    prompt = TASK.prompt(SAMPLE)
    score = TASK.score(SAMPLE, answered("(0.1,0.1),(0.3,0.3)"))
    predictions = [
        Prediction("s", answered(t).text) for t in ("(0.1,0.1),(0.3,0.3)", "(1,1),(9,9)")
    ]
    scored = [Scored(SAMPLE, prompt, prediction, score) for prediction in predictions]
    assert TASK.aggregates(scored) == {IN_FRACTIONS: 0.5}
    assert TASK.aggregates(scored[1:]) == {}
    assert LisaGrounding(RECORDS, coordinates="fractions").aggregates(scored) == {}


def test_the_last_answer_counts_and_the_format_reward_sees_the_rest() -> None:
    text = "<answer>(0,0),(1000,1000)</answer> no: <answer>(100,100),(300,300)</answer>"
    completion = Completion(text, THOUSANDTHS)
    assert TASK.score(SAMPLE, completion).metrics["iou"] == pytest.approx(1)
    assert TASK.rewards()["format"](SAMPLE, completion) == 0.0


def test_a_box_outside_the_answer_tags_is_unreadable_and_only_legacy_sees_it() -> None:
    completion = Completion("<think>(100,100),(300,300)</think>", THOUSANDTHS)
    score = TASK.score(SAMPLE, completion)
    assert score.parsed is None
    assert score.metrics == {"iou": 0.0, "acc@0.5": 0.0, "legacy_iou": AS_PUBLISHED}


def test_legacy_overlap_is_taken_with_the_first_shape() -> None:
    sample = Sample("s", "", Target(box=Box(0.1, 0.1, 0.5, 0.3), first=TRUTH))
    # 0.2 x 0.2 of 0.4 x 0.2: half of the strict truth, all of the legacy one
    score = TASK.score(sample, answered("(100,100),(300,300)"))
    assert score.metrics["iou"] == pytest.approx(0.5)
    assert score.metrics["legacy_iou"] == AS_PUBLISHED


LEGACY_SCORES = [
    # 0.04 of 0.04, with the published millionth in the denominator
    ("(100,100),(300,300)", 0.04 / 0.040001),
    # corners in another order overlap nothing
    ("(300,300),(100,100)", 0.0),
    ("(300,100),(100,300)", 0.0),
    # outside of the picture area counts: 0.04 of 1.44
    ("(0,0),(1200,1200)", 0.04 / 1.440001),
    # no area, no overlap, no box
    ("(200,200),(200,200)", 0.0),
    ("(800,800),(900,900)", 0.0),
    ("", 0.0),
]


@pytest.mark.parametrize(("text", "score"), LEGACY_SCORES)
def test_the_legacy_score_is_the_published_one_with_its_bugs(text: str, score: float) -> None:
    assert TASK.score(SAMPLE, answered(text)).metrics["legacy_iou"] == pytest.approx(score)


LEGACY_REWARDS = [
    # the golden vectors: the same box, the whole picture, a far box
    ("(100,100),(300,300)", 2.0),
    ("(0,0),(1000,1000)", 1.04),
    ("(800,800),(900,900)", 0.078125),
    # corners are put in order: the published code gave 26 for the first of these
    ("(1000,1000),(0,0)", 1.04),
    ("(300,300),(100,100)", 2.0),
    # the first of several boxes: the published code mixed their corners and gave 1
    ("(100,100),(300,300) (100,100),(300,300)", 2.0),
    # coordinates are limited to the picture
    ("(0,0),(9000,9000)", 1.04),
    # no area, decimals, no box
    ("(200,200),(200,200)", 0.0),
    ("(0.1,0.1),(0.3,0.3)", 0.0),
    ("", 0.0),
]


@pytest.mark.parametrize(("text", "reward"), LEGACY_REWARDS)
def test_the_legacy_reward_gives_the_golden_values_without_the_published_bugs(
    text: str, reward: float
) -> None:
    task = LisaGrounding(RECORDS, reward="legacy", format="legacy")
    assert task.rewards()["legacy"](SAMPLE, answered(text)) == pytest.approx(reward)


def test_legacy_rewards_follow_the_published_rules() -> None:
    task = LisaGrounding(RECORDS, reward="legacy", format="legacy")
    # without tags the whole text is the answer; the format counts outer whitespace
    bare = Completion("(100,100),(300,300)\n")
    assert task.rewards()["legacy"](SAMPLE, bare) == pytest.approx(2)
    assert task.rewards()["format"](SAMPLE, bare) == 0.0
    assert task.rewards()["format"](SAMPLE, Completion("<think></think><answer></answer>")) == 1.0


def test_legacy_rewards_read_pixels_where_the_model_writes_pixels() -> None:
    task = LisaGrounding(RECORDS, reward="legacy")
    target = Target(Box(0.25, 0.25, 0.5, 0.5), Box(0.25, 0.25, 0.5, 0.5))
    # a quarter and a half of 84 x 56
    completion = answered("(21,14),(42,28)", PIXELS)
    sample = Sample("s", "", target)
    assert task.rewards()["legacy"](sample, completion) == pytest.approx(2)
    assert task.score(sample, completion).metrics["legacy_iou"] == AS_PUBLISHED


@pytest.mark.timeout(20)
def test_a_megabyte_of_text_is_scored_in_linear_time() -> None:
    for text in ("<answer>(" * 100_000, "(1,1),(" * 150_000, "<answer>" + "9" * 1_000_000):
        assert legacy_box(text, *THOUSANDTHS) is None
        assert TASK.score(SAMPLE, Completion(text, THOUSANDTHS)).parsed is None
