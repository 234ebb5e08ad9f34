"""Spatial reasoning: the published rows, prompts, strict and published reading, and totals."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft import answers, config, mathverify, registry
from vrft.checks import check
from vrft.config.schema import TaskConfig
from vrft.errors import UserError
from vrft.evaluation import summary
from vrft.evaluation.benchmark import load_benchmark
from vrft.images import image_size
from vrft.rewards import rewards_of
from vrft.types import Completion, Prediction, Prompt, Sample
from vrft_tasks import _spatial
from vrft_tasks.spatial import Choice, Spatial

HERE = RECORDS / "spatial"

CUP = Sample("0", "Where is the cup?", Choice(("above", "below"), 1, lettered=True))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    mathverify.close()


def answered(answer: str) -> Completion:
    return Completion(f"<think>I look.</think><answer>{answer}</answer>")


def rows(path: Path, *values: dict[str, Any]) -> str:
    """Write a jsonl file with these rows, and pictures that they may name."""
    Image.new("RGB", (28, 28)).save(path.parent / "a.png")
    path.write_text("\n".join(map(json.dumps, values)), encoding="utf-8")
    return str(path)


def test_sat_is_read_with_its_options_whole_and_the_right_one_kept() -> None:
    samples = Spatial(str(HERE)).samples("train")
    assert [sample.id for sample in samples] == ["0", "1", "2", "3", "4", "5"]
    right = [sample.answer.options[sample.answer.right] for sample in samples]
    assert right == ["no", "the bed", "left, then forward", "did not move", "12", "Yes"]
    assert set(samples[2].answer.options) == {"left, then forward", "left", "forward"}
    assert [sample.subset for sample in samples][:3] == ["obj_rel", "depth", "action_sequence"]
    assert not any(sample.answer.lettered for sample in samples)


@pytest.mark.parametrize("seed", range(4))
def test_the_right_option_is_told_from_others_as_it_is_written(seed: int, tmp_path: Path) -> None:
    def row(answer: str, *options: str) -> dict[str, Any]:
        return {"question": "Which?", "options": options, "answer": answer, "image": "a.png"}

    alleles, twice = row("TT", "tt", "Tt", "TT"), row("cup", "cup", "jug", "cup")
    task = Spatial(rows(tmp_path / "rows.jsonl", alleles, twice), seed=seed)
    genes, cups = task.samples("train")
    accuracy = task.rewards()["accuracy"]
    assert [accuracy(genes, answered(said)) for said in ("TT", "Tt", "tt")] == [1, 0, 0]
    # the options of SAT have no letters, so that one that stands twice is as right in both places
    assert [accuracy(cups, answered(said)) for said in ("cup", "jug")] == [1, 0]


def test_pictures_of_sat_are_whole_upright_and_may_be_several() -> None:
    samples = Spatial(str(HERE)).samples("train")
    sizes = [[image_size(image) for image in sample.images] for sample in samples]
    assert sizes == [
        [(28, 20)],
        [(28, 20)],  # with a thumbnail of 8 x 8 inside, which is a JPEG file of its own
        [(28, 20)],  # CMYK
        [(28, 20), (20, 28)],
        [(20, 28)],  # turned by its EXIF orientation
        [(28, 20)],  # with a palette
    ]


def test_options_are_shuffled_by_seed_and_row_alone() -> None:
    def orders(**settings: Any) -> list[tuple[str, ...]]:
        return [s.answer.options for s in Spatial(str(HERE), **settings).samples("train")]

    assert orders() == orders() == orders(seed=42)
    assert orders(rows=3) == orders()[:3]  # whatever else is read
    assert any(orders(seed=seed) != orders() for seed in range(5))
    asked = [sample.question for sample in Spatial(str(HERE)).samples("train")]
    for text, options in zip(asked, orders(), strict=True):
        assert text.endswith("".join(f"\n- {option}" for option in options))


def test_the_shuffle_leaves_no_place_where_the_right_option_stands(tmp_path: Path) -> None:
    """Expect a fair order, which puts the right option first in 100 +- 25 of 300 rows.

    In SAT's own order it is first in all of them. The standard deviation is
    sqrt(300 * 1/3 * 2/3) = 8.2, and the bound is three of them.
    """
    row = {"image": "a.png", "question": "?", "options": ["x", "y", "z"], "answer": "x"}
    samples = Spatial(rows(tmp_path / "many.jsonl", *[row] * 300)).samples("train")
    first = sum(sample.answer.right == 0 for sample in samples)
    assert 75 <= first <= 125


def test_cv_bench_is_read_with_letters_in_their_order() -> None:
    samples = Spatial(str(HERE)).samples("test")
    assert [sample.id for sample in samples] == ["0", "1", "2", "3", "4", "5"]
    assert [_spatial.named(s.answer, s.answer.right) for s in samples] == [
        "(B)", "(F)", "(B)", "(A)", "(B)", "(A)",
    ]  # fmt: skip
    assert samples[0].question == (
        "How many lamps are in the image?\nChoose one of these options:\n(A) 2\n(B) 3\n(C) 0\n(D) 1"
    )
    assert {s.subset for s in samples} == {"Count", "Relation", "Depth", "Distance"}
    assert {s.answer.source for s in samples} == {"ADE20K", "COCO", "Omni3D"}


def test_rows_written_by_hand_and_rows_of_trl_are_read(tmp_path: Path) -> None:
    source = rows(
        tmp_path / "mine.jsonl",
        {"id": "x", "images": ["a.png"], "question": "?", "options": ["a", "b"], "answer": "b"},
        {"image": "a.png", "prompt": "?", "choices": ["up", "down"], "solution": "(A)"},
        {"images": ["a.png"], "prompt": [{"role": "user", "content": "?"}],
         "options": ["up", "down"], "solution": "<think>so</think><answer>down</answer>"},
    )  # fmt: skip
    mine, lettered, trl = Spatial(source).samples("train")
    assert (mine.id, mine.answer.lettered) == ("x", False)  # "b" is an option, not the letter
    assert mine.answer.options[mine.answer.right] == "b"
    assert lettered.answer == Choice(("up", "down"), 0, lettered=True)
    assert trl.answer.options[trl.answer.right] == "down"


def test_the_first_rows_and_those_of_one_picture_can_be_chosen() -> None:
    published = Spatial(str(HERE), rows=5, single_image=True).samples("train")
    assert [sample.id for sample in published] == ["0", "1", "2", "4"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "sideways"}, r"the answer 'sideways' is none of the options \('up', 'down'\)"),
        ({"answer": ""}, "the answer '' is none of the options"),
        ({"answer": "(C)"}, r"the answer '\(C\)' is none of the options"),
        (
            {"question": "?\n(A) down\n(B) up"},
            r"lists the options .* by other letters",
        ),
        ({"options": ["B. up", "A. down"]}, "options with the letters B, A"),
        ({"options": ["up"]}, "expected 2 to 26 options, none empty"),
        ({"options": ["up", " "]}, "expected 2 to 26 options, none empty"),
        ({"options": "up, down"}, "options is no list of texts"),
        ({"options": None}, r"options is empty \(null\)"),
        ({"image": None}, r"image is empty \(null\)"),
    ],
)
def test_a_mistake_in_a_row_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    good = {"image": "a.png", "question": "?", "options": ["up", "down"], "answer": "up"}
    source = rows(tmp_path / "bad.jsonl", good, good | row)
    with pytest.raises(UserError, match=message) as caught:
        Spatial(source).samples("train")
    assert "bad.jsonl: line 2: " in str(caught.value)


def test_mistakes_in_the_settings_are_named() -> None:
    with pytest.raises(UserError, match=r"task\.template: write \{question\}"):
        Spatial(template="Well?")
    with pytest.raises(UserError, match=r"task\.rows: expected at least 1, got 0"):
        Spatial(rows=0)


def test_an_instruct_model_is_asked_in_its_chat() -> None:
    prompt = Spatial(system="Be brief.").prompt(CUP)
    assert prompt.text.startswith("Where is the cup?\n")
    for tag in answers.TAGS:
        assert tag in prompt.text
    assert (prompt.system, prompt.prefill, prompt.raw) == ("Be brief.", "", False)


def test_a_base_model_continues_a_text_that_opens_its_reasoning() -> None:
    prompt = Spatial(style="base").prompt(CUP)
    assert (prompt.prefill, prompt.raw, prompt.system) == ("<think>", True, None)
    assert "User: Where is the cup?\nAssistant: " in prompt.text
    assert prompt.text.endswith("\n")


def test_the_template_is_the_users_word_for_word() -> None:
    task = Spatial(template="{question} {A or B}?", style="base")
    assert task.prompt(CUP) == Prompt("Where is the cup? {A or B}?", prefill="<think>", raw=True)


@pytest.mark.parametrize(
    ("text", "accuracy", "form"),
    [
        # as a base model goes on after <think>
        ("I look.</think><answer>(B)</answer>", 1.0, 1.0),
        ("I look.</think><answer>(A)</answer>", 0.0, 1.0),
        # as the reference has it, whole
        ("<think>I look.</think><answer>(B)</answer>", 1.0, 1.0),
        # the reasoning is empty
        ("</think><answer>(B)</answer>", 1.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_a_base_models_answer_is_read_with_the_tag_of_its_prompt(
    text: str, accuracy: float, form: float
) -> None:
    task = Spatial(style="base")
    assert rewards_of(task, CUP, Completion(text)) == {"accuracy": accuracy, "format": form}


@pytest.mark.parametrize("style", ["chat", "base"])
def test_the_reference_earns_full_marks_in_every_split(style: Any) -> None:
    task = Spatial(str(HERE), style=style)
    result = check.check(task, ["train", "test"])
    assert result.ok, result.lines()
    for split in result.splits:
        assert split.gold == {"reward accuracy": 1.0, "reward format": 1.0, "accuracy": 1.0}


ATTACKS = [
    # empty text, tags only, an answer without its block
    "",
    "<think></think><answer></answer>",
    "<answer>",
    "B",
    # every option at once, by letter and by text
    "<think>x</think><answer>(A) (B)</answer>",
    "<think>x</think><answer>above below</answer>",
    # the prompt echoed
    Spatial().prompt(CUP).text,
    _spatial.ask("Where is the cup?", CUP.answer),
    # the right option under denial, or beside another's letter
    "<think>x</think><answer>not below</answer>",
    "<think>x</think><answer>not above but below</answer>",
    "<think>x</think><answer>(A) below</answer>",
    # blocks repeated until one fits: the last one counts
    "<think>x</think>" + "<answer>(B)</answer><answer>(A)</answer>" * 3,
    # letters of other scripts, exponents, a megabyte
    "<think>x</think><answer>(Β)</answer>",
    "<think>x</think><answer>9^9^9^9</answer>",
    "<answer>" * 120_000,
    "<think>" + "x " * 500_000,
    "<think>x</think><answer>" + "above below " * 80_000 + "</answer>",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("style", ["chat", "base"])
@pytest.mark.parametrize("text", ATTACKS)
def test_an_attack_earns_nothing_for_accuracy(text: str, style: Any) -> None:
    task = Spatial(style=style)
    score = task.score(CUP, Completion(text))
    assert score.metrics["accuracy"] == 0.0
    assert rewards_of(task, CUP, Completion(text))["accuracy"] == 0.0


def test_letters_that_were_not_shown_name_no_option() -> None:
    unlettered = replace(CUP, answer=replace(CUP.answer, lettered=False))
    for text, right in (("(B)", 0.0), ("B", 0.0), ("below", 1.0), ("It is below.", 1.0)):
        assert Spatial().accuracy(unlettered, answered(text)) == right
        assert Spatial().score(unlettered, answered(text)).metrics["accuracy"] == right


def test_options_that_the_question_lists_keep_their_order(tmp_path: Path) -> None:
    row = {"image": "a.png", "question": "?\n(A) up\n(B) down", "options": ["up", "down"]}
    samples = Spatial(rows(tmp_path / "a.jsonl", *[row | {"answer": "down"}] * 20)).samples("train")
    for sample in samples:
        assert sample.answer == Choice(("up", "down"), 1, lettered=True)
        assert sample.question == "?\n(A) up\n(B) down"
        assert Spatial().accuracy(sample, answered("(B)")) == 1.0


def test_letters_that_options_bring_along_are_not_shuffled_with_them(tmp_path: Path) -> None:
    row = {"image": "a.png", "question": "?", "options": ["A. up", "B. down"], "answer": "B. down"}
    for sample in Spatial(rows(tmp_path / "a.jsonl", *[row] * 20)).samples("train"):
        assert sorted(sample.answer.options) == ["down", "up"]
        assert sample.answer.options[sample.answer.right] == "down"


def test_what_was_read_is_told() -> None:
    assert Spatial().score(CUP, answered("It is (B).")).parsed == "below"
    assert Spatial().score(CUP, answered("above")).parsed == "above"
    assert Spatial().score(CUP, answered("above or below")).parsed is None


# Verdicts of the published evaluator on answers, measured; the right option is given.
PUBLISHED = [
    # the number, the letter in every form, text and letter together
    ("2", ("1", "2", "3"), 1, True),
    ("C", ("1", "2", "3"), 2, True),
    ("(C)", ("1", "2", "3"), 2, True),
    ("(C) 2", ("0", "1", "2"), 2, True),
    ("C. 2", ("0", "1", "2"), 2, True),
    ("three", ("2", "3"), 1, False),
    # the option alone and in a sentence; capitals only as the option has them
    ("above", ("above", "below"), 0, True),
    ("The cup is above", ("above", "below"), 0, True),
    ("Chair", ("table", "chair"), 1, False),
    # the article is option A
    ("A chair", ("table", "chair"), 0, True),
    ("A chair", ("table", "chair"), 1, False),
    ("a chair", ("table", "chair"), 0, True),
    # a denial is read by its place
    ("not above but below", ("above", "below"), 1, True),
    ("above, not below", ("above", "below"), 0, True),
    # answer blocks: the first of one line, else everything
    ("<think>A</think><answer>B</answer><answer>A</answer>", ("above", "below"), 1, True),
    ("<answer>\nB\n</answer>", ("above", "below"), 1, True),
    ("<answer>so it is\nB</answer>", ("above", "below"), 1, False),
    ("I think the answer is B", ("above", "below"), 1, True),
    ("Answer: B, though A is near", ("above", "below"), 1, True),
    ("", ("above", "below"), 0, False),
    ("12", ("1", "2"), 0, False),
]


@pytest.mark.parametrize(("text", "options", "right", "counts"), PUBLISHED)
def test_the_published_reading_gives_the_measured_verdicts(
    text: str, options: tuple[str, ...], right: int, counts: bool
) -> None:
    assert _spatial.legacy_right(Choice(options, right), text) is counts


# Verdicts of math-verify itself, asked for LaTeX, numbers and strings as published.
PUBLISHED_MATH = [
    # an option in a box or between dollar signs, a letter in a box, but no letter in a text
    ("\\boxed{2}", ("1", "2"), 1, True),
    ("$2$", ("1", "2"), 1, True),
    ("\\boxed{B}", ("1", "2"), 1, True),
    ("The final answer is: $\\boxed{B}$", ("1", "2"), 1, True),
    ("$\\text{B}$", ("1", "2"), 1, False),
    # a number that is no word of its own; one that is no option; a letter goes before it
    ("02", ("1", "2"), 1, True),
    ("the answer is 2m", ("1", "2"), 1, True),
    ("x=2", ("1", "2"), 1, True),
    ("2/2", ("1", "2"), 0, False),
    ("$\\frac{1}{2}$ B", ("1", "2"), 1, True),
    ("answer: 3 B", ("0", "1", "3"), 1, False),
]


@pytest.mark.parametrize(("text", "options", "right", "counts"), PUBLISHED_MATH)
def test_the_published_reading_sees_latex_and_numbers(
    text: str, options: tuple[str, ...], right: int, counts: bool
) -> None:
    assert _spatial.legacy_right(Choice(options, right), text) is counts


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ["<answer>", "</answer>", "<answer>\n", "answer ", "answer: ", "(b) ", " ", "**", "b"]
)
def test_the_published_reading_of_a_megabyte_ends_within_its_limit(piece: str) -> None:
    _spatial.legacy_right(CUP.answer, piece * (1_000_000 // len(piece)))


ITEMS = {"Count": 788, "Relation": 650, "Depth": 600, "Distance": 600}
# Published percentages by task, and the total that they make of 2638 items.
TOTALS = [
    ("GPG, paper", {"Count": 65.36, "Relation": 82.62, "Depth": 67.83, "Distance": 60.67}, 69.11),
    ("GPG, README", {"Count": 66.62, "Relation": 83.23, "Depth": 81.66, "Distance": 75.50}, 76.15),
    ("GRPO", {"Count": 59.64, "Relation": 66.76, "Depth": 54.16, "Distance": 56.66}, 59.47),
    ("SFT", {"Count": 60.02, "Relation": 68.92, "Depth": 55.00, "Distance": 45.83}, 57.84),
    # The table's 31.38 is not what its own rows add up to.
    ("base", {"Count": 54.69, "Relation": 22.46, "Depth": 0.16, "Distance": 31.66}, 29.11),
]


@pytest.mark.parametrize(("method", "by_task", "total"), TOTALS)
def test_accuracy_is_the_micro_total_of_cv_bench(
    method: str, by_task: dict[str, float], total: float
) -> None:
    samples, predictions = [], []
    for name, count in ITEMS.items():
        right = round(by_task[name] / 100 * count)
        for number in range(count):
            samples.append(replace(CUP, id=f"{name} {number}", subset=name))
            text = answered("below" if number < right else "above").text
            predictions.append(Prediction(samples[-1].id, text))
    report = summary.summarize(Spatial(), samples, predictions, "cvbench")
    assert report.n == 2638
    assert total in published(report.metrics["accuracy"].mean)
    for name, percent in by_task.items():
        assert percent in published(report.subsets[name]["accuracy"].mean)


def published(share: float) -> tuple[float, float]:
    """Return a share in percent with two decimals, rounded and cut: the table has rows of both."""
    return round(100 * share, 2), math.floor(10_000 * share) / 100


def test_the_official_total_weighs_sources_and_dimensions() -> None:
    # 2D (0.6 + 0.8) / 2 = 0.7, 3D 0.5, total (0.7 + 0.5) / 2 = 0.6.
    found = _spatial.official({"ADE20K": 0.6, "COCO": 0.8, "Omni3D": 0.5})
    assert found == pytest.approx({"official_2d": 0.7, "official_3d": 0.5, "official_total": 0.6})
    assert _spatial.official({"ADE20K": 0.6, "COCO": 0.8}) == {}
    assert _spatial.official({"": 0.6}) == {}


def test_the_report_on_cv_bench_has_both_totals() -> None:
    task = Spatial(str(HERE))
    samples = task.samples("test")
    # Right: all but the two of Omni3D: ADE20K 2/2, COCO 2/2, Omni3D 0/2.
    predictions = [
        Prediction(s.id, task.reference(s, ()) if s.answer.source != "Omni3D" else "")
        for s in samples
    ]
    report = summary.summarize(task, samples, predictions, "cvbench")
    assert report.metrics["accuracy"].mean == pytest.approx(4 / 6)
    assert report.metrics["official_total"].mean == pytest.approx((1 + 0) / 2)
    assert report.unreadable == 2
    assert report.subsets["Depth"]["accuracy"].mean == 0.0
    assert "official_total" not in report.subsets["Depth"]


def test_the_shipped_files_say_what_was_published() -> None:
    benchmark = load_benchmark("cvbench")
    assert benchmark.paper == {"base": 31.38, "sft": 57.84, "grpo": 59.47, "gpg": 69.11}
    assert benchmark.sampling.max_completion_length == 1024
    task = registry.build(benchmark.task)
    assert (task.data_dir, task.style) == ("nyu-visionx/CV-Bench", "base")
    trained = registry.build(config.load("spatial").task)
    assert (trained.data_dir, trained.rows, trained.single_image) == ("array/SAT", 15000, True)


def test_names_of_columns_come_from_the_command_line(tmp_path: Path) -> None:
    row = {"img": "a.png", "ask": "?", "options": ["up", "down"], "gold": "up"}
    source = rows(tmp_path / "mine.jsonl", row)
    settings = ["task=spatial", f"task.data_dir={source}", "data.columns.question=ask"]
    settings += ["data.columns.image=img", "data.columns.answer=gold"]
    (sample,) = registry.build(config.load(None, settings).task).samples("train")
    assert sample.images == (tmp_path / "a.png",)


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("spatial", {"options": ["up", "down"], "answer": "up"}),
        ("counting", {"answer": 3}),
        ("geoqa", {"answer": 3}),
        ("math", {"answer": "3", "images": []}),
        ("detection", {"category": "cat", "solution": "<answer>No Objects</answer>"}),
        ("fewshot_classification", {"label": "cat"}),
        ("vqa", {"answer": 3}),
        ("grounding", {"answer": [1, 1, 2, 2]}),
    ],
)
def test_a_mistyped_name_of_a_column_is_refused_by_every_task(
    task: str, row: dict[str, Any], tmp_path: Path
) -> None:
    full = {"images": ["a.png"], "question": "?", **row, "mine": "x"}
    source = rows(tmp_path / "mine.jsonl", full)
    settings = [f"task={task}", f"task.data_dir={source}"]
    assert registry.build(config.load(None, settings).task).samples("train")
    for name in ("answr", "lable"):
        mistyped = config.load(None, [*settings, f"data.columns.{name}=mine"]).task
        with pytest.raises(UserError, match=rf"^data\.columns\.{name}=mine: these rows are not"):
            registry.build(mistyped).samples("train")


def test_task_and_samples_travel_to_other_processes() -> None:
    task = registry.build(TaskConfig("spatial", {"data_dir": str(HERE), "style": "base"}))
    (sample, *_) = task.samples("train")
    assert pickle.loads(pickle.dumps((task, sample))) == (task, sample)


def test_a_model_sees_every_picture_of_a_row_in_either_style(
    load_tiny: Callable[..., Any],
) -> None:
    from vrft.models import encoding

    sample = Spatial(str(HERE)).samples("train")[3]
    for style in ("chat", "base"):
        prompt = Spatial(style=style).prompt(sample)  # type: ignore[arg-type]
        encoded = encoding.encode(load_tiny("qwen2_vl"), prompt)
        assert len(encoded.views) == len(sample.images) == 2


def test_an_answer_that_counts_the_options_is_read_by_a_setting_and_refused_in_doubt(
    tmp_path: Path,
) -> None:
    row = {"image": "a.png", "question": "How many?", "options": ["1", "2", "3", "0"], "answer": 1}
    file = rows(tmp_path / "rows.jsonl", row)
    with pytest.raises(UserError, match=r"line 1: the answer 1 is the text of one option, and the"):
        Spatial(file).samples("train")
    for first, text in ((0, "2"), (1, "1")):
        (sample,) = Spatial(file, option_index=first).samples("train")
        assert sample.answer.options[sample.answer.right] == text
    file = rows(tmp_path / "names.jsonl", {**row, "options": ["cup", "jug"]})
    with pytest.raises(UserError, match=r"none of the options .*; if it counts them, set task\.op"):
        Spatial(file).samples("train")
