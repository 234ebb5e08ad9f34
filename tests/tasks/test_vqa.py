"""Questions and answers: the kind of answer, options, turns, and what is right."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft import config, registry
from vrft.checks import check
from vrft.errors import UserError
from vrft.evaluation.benchmark import load_benchmark
from vrft.rewards import from_trl, rewards_of
from vrft.types import Completion, Sample, Turn
from vrft_tasks._vqa import Gold, right
from vrft_tasks._vqa_answers import Kind
from vrft_tasks.vqa import Vqa

HERE = RECORDS / "formats"
FILES = (
    "canonical_vqa.jsonl", "trl.jsonl", "llava.json", "swift_solution.jsonl", "sharegpt.jsonl",
    "openai.jsonl", "verl.parquet",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


NAN = float("nan")


def answered(answer: str) -> Completion:
    return Completion(f"<think>I look.</think><answer>{answer}</answer>")


def task_of(folder: Path, answers: list[Any], **settings: Any) -> Vqa:
    """The task of rows with these answers, or of rows that are mappings themselves."""
    rows = [a if isinstance(a, dict) else {"question": "Q?", "answer": a} for a in answers]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Vqa(str(file), **settings)


@pytest.mark.parametrize("file", FILES)
def test_every_format_passes_the_check(file: str) -> None:
    result = check.check(Vqa(str(HERE / file)), ["train"])
    assert result.ok, result.lines()


@pytest.mark.parametrize(
    ("answers", "kind", "texts"),
    [
        # letters alone, however they are written; the last of several kinds needs all rows
        (["A", "(b)", "C."], "option", ["A", "B", "C"]),
        (["yes", "No", True, "false"], "yes_no", ["yes", "no", "yes", "no"]),
        ([3, 2.5, 4.0, "7 cm", "1/2"], "number", ["3", "2.5", "4", "7 cm", "1/2"]),
        (["red", "3"], "text", ["red", "3"]),
        (["yes", "maybe"], "text", ["yes", "maybe"]),
        (["<answer> a cup </answer>"], "text", ["a cup"]),
        # yes and no by their first letters, which are no options where they are all
        (["Y", "n"], "yes_no", ["yes", "no"]),
        (["T", "F"], "yes_no", ["yes", "no"]),
        (["F"], "option", ["F"]),
        # in boxes, brackets or marks, as ViRL39K writes every answer
        (["\\boxed{B}", "\\boxed{\\text{A}}", "[C]", "**D**"], "option", ["B", "A", "C", "D"]),
        (["\\boxed{Yes}", "(no)", "True."], "yes_no", ["yes", "no", "yes"]),
        (["\\boxed{Y}", "(N)"], "yes_no", ["yes", "no"]),
        (["\\boxed{0042}", "7"], "text", ["\\boxed{0042}", "7"]),
        (["Y", "N", "A"], "option", ["Y", "N", "A"]),
        # numbers however they are held: repr() would write 5e-05
        ([5e-05, 0.5, "€3.50", "12 500", "1½"], "number",
         ["0.00005", "0.5", "€3.50", "12 500", "1½"]),
        (["5 N", "9.8 m/s²", "3×10⁸ m/s"], "number", ["5 N", "9.8 m/s²", "3×10⁸ m/s"]),
        (["12A", "3C"], "text", ["12A", "3C"]),
        (["$5M", "$300", "5 m"], "number", ["$5M", "$300", "5 m"]),
        # neither grams nor seconds
        (["4G", "5G"], "text", ["4G", "5G"]),
        (["1990s"], "text", ["1990s"]),
        # several numbers in one answer are no number: dates, times, scores, ranges, sizes
        (["2024-05-01"], "text", ["2024-05-01"]),
        (["05/01/2024"], "text", ["05/01/2024"]),
        (["10:30", "3:30 pm"], "text", ["10:30", "3:30 pm"]),
        (["5 May", "10 am"], "text", ["5 May", "10 am"]),
        (["500 BC", "30 left"], "text", ["500 BC", "30 left"]),
        (["10-15 cm", "3 – 5"], "text", ["10-15 cm", "3 – 5"]),
        (["1920×1080"], "text", ["1920×1080"]),
        # with units, currencies, labels and brackets too
        (["5cm×7cm", "€10-15"], "text", ["5cm×7cm", "€10-15"]),
        (["10-15°C", "A. 10-15", "(3-5)"], "text", ["10-15°C", "A. 10-15", "(3-5)"]),
        (["3:4", "16:9", "-5", "4-2π"], "number", ["3:4", "16:9", "-5", "4-2π"]),
    ],
)  # fmt: skip
def test_the_kind_is_found_from_all_answers(
    answers: list[Any], kind: str, texts: list[str], tmp_path: Path
) -> None:
    samples = task_of(tmp_path, answers).samples("train")
    assert [(s.answer.kind, s.answer.text) for s in samples] == [(kind, text) for text in texts]


def test_the_kind_can_be_forced(tmp_path: Path) -> None:
    (sample,) = task_of(tmp_path, ["3"], kind="text").samples("train")
    assert sample.answer.kind == "text"
    with pytest.raises(UserError, match=r"line 2: the answer 'red' is no number"):
        task_of(tmp_path, [3, "red"], kind="number").samples("train")
    # several numbers are none where a kind is forced either: arithmetic would read 5 and 15
    for several in ("10-15", "3x5", "10:30", "2024-05-01", "10–15 km/h", "3:30-4:30"):
        with pytest.raises(UserError, match=rf"line 1: the answer '{several}' is no number"):
            task_of(tmp_path, [several], kind="number").samples("train")
    with pytest.raises(UserError, match=r"line 1: the answer 'red' is neither yes nor no"):
        task_of(tmp_path, ["red"], kind="yes_no").samples("train")


@pytest.mark.parametrize(
    ("answers", "kind", "right", "wrong"),
    [
        ([["A cup", "mug", "a cup"], "jug"], "text", ["a cup.", "Mug"], ["jug", "a cup, mug"]),
        (['["red", "scarlet"]'], "text", ["Scarlet"], ["blue"]),
        # as A-OKVQA and pandas write them
        (["['red', \"it's scarlet\"]"], "text", ["It's scarlet"], ["blue"]),
        ([[3, "1/4 m"], 7], "number", ["3.0", "25 cm"], ["4", "3 or 25 cm"]),
        ([["A", "C"], "B"], "option", ["(C)", "A"], ["B"]),
        ([[True], "no"], "yes_no", ["yes"], ["no"]),
    ],
)
def test_any_of_several_answers_is_enough_where_a_setting_says_so(
    answers: list[Any], kind: str, right: list[str], wrong: list[str], tmp_path: Path
) -> None:
    task = task_of(tmp_path, answers, accept_any=True)
    sample = task.samples("train")[0]
    assert sample.answer.kind == kind
    reward = task.rewards()["accuracy"]
    for said, worth in [(text, 1.0) for text in right] + [(text, 0.0) for text in wrong]:
        assert reward(sample, Completion(f"<answer>{said}</answer>")) == worth, said
    assert reward(sample, Completion(task.reference(sample, ()))) == 1.0


@pytest.mark.parametrize(
    "answer", [[], [["red"]], ["red", {"a": 1}], [None], ["", "?"], [3, NAN], [float("inf")]]
)
def test_every_one_of_several_answers_must_be_one(answer: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 1: the answer"):
        task_of(tmp_path, [answer], accept_any=True).samples("train")


def test_blank_answers_beside_others_are_left_out_and_counted(tmp_path: Path) -> None:
    # as annotators of VQAv2 and TextVQA leave them
    rows = [["?", "red", "", "scarlet", " "], ["blue", "-"], "green"]
    task = task_of(tmp_path, rows, accept_any=True)
    first, second, third = (sample.answer for sample in task.samples("train"))
    assert (first.text, first.others) == ("red", ("scarlet",))
    assert (second.text, second.others, third.text) == ("blue", (), "green")
    assert "texts (4 blank among several are left out); first" in task.describe("train")
    assert "left out" not in task_of(tmp_path, [["red", "blue"]], accept_any=True).describe("train")


@pytest.mark.parametrize("accept_any", [False, True])
def test_a_list_within_a_text_is_refused_unless_it_is_read(
    accept_any: bool, tmp_path: Path
) -> None:
    # as pandas writes tuples and arrays of numpy into CSV, and lists
    written = ["('red', 'blue')", "['red' 'blue']"]
    lists = ["['red', 'scarlet']", "[\"it's\", 'red']", '["red", "scarlet"]']
    for answer in [*written, *([["['red']"]] if accept_any else lists)]:
        with pytest.raises(UserError, match=r"line 1: the answer .* is a list within a text; give"):
            task_of(tmp_path, [answer], accept_any=accept_any).samples("train")
    # brackets that hold no list of texts
    for answer in ("[0, 1)", "(red)", '("red")', "['red'"):
        (sample,) = task_of(tmp_path, [answer], accept_any=accept_any).samples("train")
        assert sample.answer.text == answer


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"question": "Q?", "answer": [1, 2, 3]}, "is neither text nor number"),
        ({"question": "Q?", "answer": {"a": 1}}, "is neither text nor number"),
        ({"question": "Q?", "answer": "???"}, "has no letter or digit"),
        ({"question": "Q?", "answer": ""}, "has no letter or digit"),
        ({"question": "Q?", "answer": "jar", "options": ["cup", "jug"]}, "none of the options"),
        ({"question": "Q?", "answer": "C", "options": ["cup", "jug"]}, "none of the options"),
        ({"question": "Q?", "answer": "A", "options": ["cup"]}, "none of the options"),
        ({"question": "Q?", "answer": 1, "images": ["gone.png"]}, "no picture"),
        (
            {"question": "Q?", "answer": ["red", "blue"]},
            r"give one, all in one text, or set task\.accept_any=true",
        ),
        # no number: what pandas writes for an empty cell, and what a division by zero leaves
        ({"question": "Q?", "answer": NAN}, r"answer is empty \(NaN\)"),
        ({"prompt": "Q?", "reward_model": {"ground_truth": NAN}}, "reward_model has no ground_tr"),
        ({"question": "Q?", "answer": float("inf")}, "answer is no finite number"),
        # options that name the right one twice
        ({"question": "Q?", "answer": 1, "options": ["cup", "jug"]}, "counts the options"),
        ({"question": "Q?", "answer": "B", "options": ["red", "red", "blue"]}, "stands twice"),
        ({"question": "Q?", "answer": "B", "options": ["B. jug", "A. cup"]}, "letters B, A"),
        ({"question": "Q?", "answer": "A", "options": ["B", "A"]}, "letters B, A"),
        (
            {"question": "Q?\n(A) jug\n(B) cup", "answer": "A", "options": ["cup", "jug"]},
            r"lists the options \('cup', 'jug'\) by other letters",
        ),
    ],
)
def test_a_row_that_cannot_be_asked_is_named(
    row: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"rows\.jsonl: line 1: .*{complaint}"):
        task_of(tmp_path, [row]).samples("train")


def test_an_answer_that_makes_texts_of_numbers_is_named(tmp_path: Path) -> None:
    line = task_of(tmp_path, [3, "N/A", 4]).describe("train")
    assert "answers are texts (2 of 3 look like numbers, but 'N/A' of " in line
    assert (
        "rows.jsonl: line 2 is none: correct it, or set task.kind=number, text or by_row); " in line
    )
    # a decimal comma may be a number of another language, and is not read as one
    assert "(2 of 2 look like numbers, but '1,5' of " in task_of(tmp_path, ["1,5", "2"]).describe(
        "train"
    )
    for answers in (["red"] * 10 + ["3"], ["10:30", "3:30"], ["5 May", "12 June"]):
        assert "answers are texts; first" in task_of(tmp_path, answers).describe("train")
    forced = task_of(tmp_path, [3, "N/A", 4], kind="text").describe("train")
    assert "answers are texts; first" in forced


def test_codes_with_a_leading_zero_are_texts_unless_numbers_are_meant(tmp_path: Path) -> None:
    task = task_of(tmp_path, ["0042", "4711"])
    (code, _) = task.samples("train")
    assert (right(code.answer, "0042"), right(code.answer, "42")) == (True, False)
    assert "(2 of 2 look like numbers, but '0042' of " in task.describe("train")
    (number, _) = task_of(tmp_path, ["0042", "4711"], kind="number").samples("train")
    assert right(number.answer, "42")
    (decimal,) = task_of(tmp_path, ["0.5"]).samples("train")
    assert decimal.answer.kind == "number"


def test_texts_that_no_model_gives_word_for_word_are_counted(tmp_path: Path) -> None:
    line = task_of(tmp_path, ["red", "a " * 50 + "cup", "one\ntwo"]).describe("train")
    assert "(2 of 3 have several lines or over 100 characters, and only the same text is" in line
    assert "over 100" not in task_of(tmp_path, ["red", "a cup"]).describe("train")


def test_options_may_be_numbers_however_they_are_held(tmp_path: Path) -> None:
    row = {"question": "Q?", "answer": 1.0, "options": [1.0, 2.5]}
    (sample,) = task_of(tmp_path, [row]).samples("train")
    assert (sample.answer.text, sample.answer.options) == ("A", ("1", "2.5"))


def test_empty_cells_of_pandas_are_no_options_and_no_names(tmp_path: Path) -> None:
    row = {"question": "Q?", "answer": "A", "A": "cup", "B": "jug", "C": NAN, "D": NAN}
    task = task_of(tmp_path, [{**row, "id": NAN, "subset": NAN, "images": NAN}])
    (sample,) = task.samples("train")
    assert (sample.id, sample.subset, sample.images) == ("0", "", ())
    assert sample.answer.options == ("cup", "jug")


def test_equal_options_that_are_wrong_do_no_harm(tmp_path: Path) -> None:
    row = {"question": "Q?", "answer": "A", "options": ["blue", "red", "red"]}
    (sample,) = task_of(tmp_path, [row]).samples("train")
    assert sample.answer.text == "A"


@pytest.mark.parametrize(
    ("options", "letter", "answer", "others"),
    [
        # alleles and prefixes of units differ in case alone, sentences in their last stop
        (["tt", "Tt", "TT"], "C", "TT", ("tt", "Tt", "tT")),
        (["tt", "Tt", "TT"], "B", "Tt", ("TT", "tt")),
        (["5 mW", "5 MW"], "B", "5 MW", ("5 mW", "5mw")),
        (["You see me.", "You see me?"], "B", "You see me?", ("You see me.", "You see me")),
    ],
)
def test_options_that_differ_in_case_or_stops_alone_are_told_apart(
    options: list[str], letter: str, answer: str, others: tuple[str, ...], tmp_path: Path
) -> None:
    row = {"question": "Which?", "answer": answer, "options": options}
    (sample,) = task_of(tmp_path, [row]).samples("train")
    assert sample.answer.text == letter
    assert accuracies(sample, letter, answer, f"({letter}) {answer}") == [1, 1, 1]
    assert set(accuracies(sample, *others)) == {0}
    # a question that lists them in another order is refused, and not asked as it stands
    marks = [f"({mark}) {option}" for mark, option in zip("ABC", options[::-1], strict=False)]
    listed = {**row, "question": "\n".join(["Which?", *marks])}
    with pytest.raises(UserError, match="by other letters than those of their places"):
        task_of(tmp_path, [listed]).samples("train")


def test_options_may_be_pictures(tmp_path: Path) -> None:
    options: list[str] = ["<image>", "<image>"]
    pictures = []
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
        pictures.append(name)
    row = {"question": "Which?", "answer": "B", "options": options, "images": pictures}
    (sample,) = task_of(tmp_path, [row], template="{question}").samples("train")
    assert sample.answer.text == "B"
    text = Vqa("", template="{question}").prompt(sample).text
    assert text == "Which?\nChoose one of these options:\n(A) <image>\n(B) <image>"


def test_options_in_some_rows_only_are_refused(tmp_path: Path) -> None:
    rows = [{"question": "Q?", "answer": "A", "options": ["cup", "jug"]}, "B"]
    complaint = r"line 2: no options, as .*line 1 has; add them, or set task\.kind=by_row to ask"
    with pytest.raises(UserError, match=complaint):
        task_of(tmp_path, rows).samples("train")


@pytest.mark.parametrize("kind", [None, "by_row"])
def test_right_options_of_one_letter_are_noted(kind: Kind | None, tmp_path: Path) -> None:
    # as in SAT, whose right option is the first
    row = {"question": "Which?", "answer": "cup", "options": ["cup", "jug"]}
    line = task_of(tmp_path, [row] * 20, kind=kind).describe("train")
    assert "(the right option is A in all 20 rows with options, which a model learns" in line
    assert "--task spatial shuffles options whose right one is given as a text); first" in line
    for rows in ([row] * 19, [*[row] * 20, {**row, "answer": "jug"}], ["A"] * 19):
        assert "in all" not in task_of(tmp_path, rows, kind=kind).describe("train")


COUNTS = ["1", "2", "3", "0"]


@pytest.mark.parametrize(
    ("first", "answer", "options", "letter"),
    [
        # as in ScienceQA and A-OKVQA, where 1 is the place of "2"
        (0, 1, COUNTS, "B"),
        (1, 1, COUNTS, "A"),
        (1, 4, COUNTS, "D"),
        # in CSV a text, and in pandas a float beside gaps
        (0, "0", ["cup", "jug"], "A"),
        (1, 2.0, ["cup", "jug"], "B"),
        (0, "1.0", ["cup", "jug"], "B"),
        (0, 1, ["x", "x", "B"], None),
        # a whole number that is the text of its place, or no place, or a text, is that option
        (None, 1, ["0", "1", "2"], "B"),
        (None, 7, ["5", "7"], "B"),
        (None, "1", COUNTS, "A"),
    ],
)
def test_an_answer_may_count_the_options_where_a_setting_says_so(
    first: Literal[0, 1] | None, answer: Any, options: list[str], letter: str | None, tmp_path: Path
) -> None:
    row = {"question": "How many?", "answer": answer, "options": options}
    task = task_of(tmp_path, [row], option_index=first)
    if letter is None:
        with pytest.raises(UserError, match="stands twice"):
            task.samples("train")
        return
    (sample,) = task.samples("train")
    assert (sample.answer.kind, sample.answer.text) == ("option", letter)


def test_an_answer_that_counts_the_options_of_a_question_counts_them_in_any_row(
    tmp_path: Path,
) -> None:
    rows: list[Any] = [{"question": LISTED, "answer": 1}, {"question": "How many?", "answer": 1}]
    for kind in (None, "option"):
        (sample,) = task_of(tmp_path, rows[:1], option_index=0, kind=kind).samples("train")
        assert sample.answer.text == "B"
    samples = task_of(tmp_path, rows, option_index=0, kind="by_row").samples("train")
    assert [(s.answer.kind, s.answer.text) for s in samples] == [("option", "B"), ("number", "1")]
    several = {"question": "Q?", "answer": [0, 2, 0], "options": COUNTS}
    (sample,) = task_of(tmp_path, [several], option_index=0, accept_any=True).samples("train")
    assert (sample.answer.text, sample.answer.others) == ("A", ("C",))


@pytest.mark.parametrize(
    ("settings", "answer", "complaint"),
    [
        ({}, 1, r"line 1: the answer 1 is the text of one option, and the place of another if"),
        ({}, 9, r"none of the options .*; if it counts the options, set task\.option_index=0 or 1"),
        ({"option_index": 0}, 4, r"line 1: the answer 4 is the place of none of 4 options"),
        ({"option_index": 1}, 0, r"the first has the number 1 \(task\.option_index\)"),
        (
            {"option_index": 0},
            "B",
            r"the answer 'B' is no whole number, which task\.option_index=0",
        ),
        ({"option_index": 0}, True, r"the answer True is no whole number"),
        ({"option_index": 0}, 1.5, r"the answer 1\.5 is no whole number"),
    ],
)
def test_a_number_that_may_be_text_or_place_is_refused(
    settings: dict[str, Any], answer: Any, complaint: str, tmp_path: Path
) -> None:
    row = {"question": "How many?", "answer": answer, "options": COUNTS}
    with pytest.raises(UserError, match=complaint):
        task_of(tmp_path, [row], **settings).samples("train")


def test_a_count_of_options_needs_options(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task\.option_index=0: no row has options"):
        task_of(tmp_path, [3, 4], option_index=0).samples("train")
    with pytest.raises(UserError, match=r"task\.option_index=1 counts .* task\.kind=text reads no"):
        Vqa("", option_index=1, kind="text")


LISTED = "Which?\nA. cup\nB. jug"
MIXED: list[Any] = [  # as in RealWorldQA and MathVista: options listed twice over, and none
    {"question": "Which?", "answer": "jug", "options": ["cup", "jug"]},
    {"question": LISTED, "answer": "\\boxed{B}", "options": []},
    {"question": "Pour from it?", "answer": "Yes"},
    {"question": "How wide?", "answer": "7 cm"},
    {"question": "What colour?", "answer": "red"},
]


def test_each_row_has_its_own_kind_where_a_setting_says_so(tmp_path: Path) -> None:
    task = task_of(tmp_path, MIXED, kind="by_row", template="{question} {answer}")
    samples = task.samples("train")
    kinds = ["option", "option", "yes_no", "number", "text"]
    assert [sample.answer.kind for sample in samples] == kinds
    asked = [task.prompt(sample).text for sample in samples]
    letter = "the letter of the right option"
    assert asked[0] == f"Which?\nChoose one of these options:\n(A) cup\n(B) jug {letter}"
    assert asked[1:3] == [f"{LISTED} {letter}", "Pour from it? yes or no"]
    assert accuracies(samples[1], "B", "jug", "A") == [1, 1, 0]
    assert accuracies(samples[3], "70 mm", "7") == [1, 1]
    for sample in samples:
        assert accuracies(sample, sample.answer.text) == [1]
    line = task.describe("train")
    assert (
        "of each row's own kind: options (2), numbers (1), yes or no (1), texts (1); first" in line
    )
    result = check.check(task, ["train"])
    assert result.ok, result.lines()


def test_letters_of_rows_without_options_are_yes_and_no_in_short_if_they_can_be(
    tmp_path: Path,
) -> None:
    rows = ["Y", "n", {"question": LISTED, "answer": "B"}]
    samples = task_of(tmp_path, rows, kind="by_row").samples("train")
    assert [sample.answer.text for sample in samples] == ["yes", "no", "B"]
    samples = task_of(tmp_path, [*rows, "C"], kind="by_row").samples("train")
    assert [sample.answer.text for sample in samples] == ["Y", "N", "B", "C"]


def test_a_row_of_its_own_kind_is_refused_by_the_rules_of_that_kind(tmp_path: Path) -> None:
    rows = [*MIXED, {"question": "Q?", "answer": "pot", "options": ["cup", "jug"]}]
    with pytest.raises(UserError, match=r"line 6: the answer 'pot' is none of the options"):
        task_of(tmp_path, rows, kind="by_row").samples("train")


def test_many_answers_of_other_kinds_among_texts_are_counted(tmp_path: Path) -> None:
    texts: list[Any] = [f"colour {number}" for number in range(8)]
    line = task_of(tmp_path, [*texts, "3", "yes"]).describe("train")
    assert (
        "answers are texts (numbers (1), yes or no (1), texts (8) by themselves: "
        "task.kind=by_row asks each row for its own kind, task.kind=text takes all as texts); first"
    ) in line
    assert "(options (1), texts (8) by" in task_of(tmp_path, [*texts, MIXED[1]]).describe("train")
    # few are exceptions, and a user who says that all are texts is not asked again
    assert "texts; first" in task_of(tmp_path, [*texts, *texts, "3"]).describe("train")
    forced = task_of(tmp_path, [*texts, "3", "yes"], kind="text").describe("train")
    assert "texts; first" in forced


@pytest.mark.parametrize(
    ("kind", "answer", "asked", "right", "wrong"),
    [
        ("text", "jug", "- cup\n- jug", "jug", "cup"),
        # a letter needs the letters
        ("text", "B", "(A) cup\n(B) jug", "B", "A"),
        ("number", "7", "- cup\n- jug", "7.0", "8"),
        ("yes_no", "yes", "- cup\n- jug", "Yes", "no"),
    ],
)
def test_options_are_asked_whatever_kind_an_answer_is_of(
    kind: Kind, answer: str, asked: str, right: str, wrong: str, tmp_path: Path
) -> None:
    row = {"question": "Which?", "answer": answer, "options": ["cup", "jug"]}
    task = task_of(tmp_path, [row], kind=kind, template="{question}")
    (sample,) = task.samples("train")
    assert task.prompt(sample).text == f"Which?\nChoose one of these options:\n{asked}"
    assert accuracies(sample, right, wrong) == [1, 0]
    (listed,) = task_of(tmp_path, [{**row, "question": LISTED}], kind=kind).samples("train")
    assert listed.answer.asked(listed.question) == LISTED


@pytest.mark.parametrize("answers", [["(B) jug", "A. cup"], ["B", "b. jug"], ["jug", "\\boxed{A}"]])
def test_an_option_that_the_question_lists_is_one_with_its_letter_and_without(
    answers: list[str], tmp_path: Path
) -> None:
    rows = [{"question": LISTED, "answer": answer} for answer in answers]
    first, second = task_of(tmp_path, rows).samples("train")
    assert (first.answer.kind, second.answer.kind) == ("option", "option")
    assert accuracies(first, "B", "jug", "(B) jug", "A") == [1, 1, 1, 0]
    # a letter beside another option's text names none, and no list makes texts of both
    for row in ({"question": LISTED, "answer": "(B) cup"}, {"question": "Q?", "answer": "B. jug"}):
        (sample,) = task_of(tmp_path, [row]).samples("train")
        assert sample.answer.kind == "text"


def test_options_are_asked_by_letters_and_once(tmp_path: Path) -> None:
    options = {"question": "Which?", "answer": "jug", "options": ["cup", "jug"]}
    lines = {"question": "Which?\nA. cup\nB. jug", "answer": "B", "options": ["cup", "jug"]}
    first, second = task_of(tmp_path, [options, lines], template="{question}").samples("train")
    task = Vqa("", template="{question}")
    assert task.prompt(first).text == "Which?\nChoose one of these options:\n(A) cup\n(B) jug"
    assert task.prompt(second).text == "Which?\nA. cup\nB. jug"
    assert first.answer.text == second.answer.text == "B"


def test_options_within_the_question_are_read_there(tmp_path: Path) -> None:
    (sample,) = task_of(
        tmp_path, [{"question": "Which?\n(A) cup\n(B) jug", "answer": "B"}]
    ).samples("train")
    assert (sample.answer.options, sample.answer.listed) == (("cup", "jug"), True)


def accuracies(sample: Sample[Gold], *said: str) -> list[float]:
    reward = Vqa("").rewards()["accuracy"]
    return [reward(sample, answered(text)) or 0.0 for text in said]


def test_words_of_a_question_are_not_its_options(tmp_path: Path) -> None:
    row = {"question": "Closer: the cup or the jug?", "options": ["cup", "jug"], "answer": "jug"}
    (sample,) = task_of(tmp_path, [row]).samples("train")
    asked = "Closer: the cup or the jug?\nChoose one of these options:\n(A) cup\n(B) jug"
    assert Vqa("", template="{question}").prompt(sample).text == asked


def test_options_are_asked_without_letters_of_their_own(tmp_path: Path) -> None:
    row = {"question": "Q?", "options": ["A. up", "B. down", "C. none of these"], "answer": "C"}
    lines = {
        **row,
        "question": "Q?\nA. up\nB. down\nC. none of these",
        "answer": "C. none of these",
    }
    first, second = task_of(tmp_path, [row, lines]).samples("train")
    asked = "Q?\nChoose one of these options:\n(A) up\n(B) down\n(C) none of these"
    assert Vqa("", template="{question}").prompt(first).text == asked
    assert second.answer.listed
    for sample in (first, second):
        said = ["C", "(C) none of these", "C: none of these", "none of these", "(A) none of these"]
        assert accuracies(sample, *said) == [1, 1, 1, 1, 0]


def test_a_denial_in_an_option_of_the_question_denies_nothing(tmp_path: Path) -> None:
    for question in ("Q?\n- A. moving\n- B. not moving", "Q? A. moving B. not moving"):
        (sample,) = task_of(tmp_path, [{"question": question, "answer": "B"}]).samples("train")
        assert accuracies(sample, "B. not moving", "not moving", "not B.") == [1, 1, 0]
    # nor in one that a picture shows
    (sample,) = task_of(tmp_path, [{"question": "Q?", "answer": "B"}]).samples("train")
    assert accuracies(sample, "B. not moving", "not B.") == [1, 0]


@pytest.mark.parametrize(
    ("kind", "gold", "answer", "right", "read"),
    [
        # options: by letter, by text, never by two
        ("option", "B", "B", True, "B"),
        ("option", "B", "(b) jug", True, "B"),
        ("option", "B", "jug", True, "B"),
        ("option", "B", "A", False, "A"),
        ("option", "B", "A or B", False, None),
        ("option", "B", "a vase", False, None),
        # numbers: the same amount, whatever its spelling
        ("number", "0.5", "\\frac{1}{2}", True, "\\frac{1}{2}"),
        ("number", "7 cm", "70 mm", True, "70 mm"),
        ("number", "7", "8", False, "8"),
        ("number", "7", "about seven", False, None),
        ("number", "5", "5 million", False, "5 million"),
        ("number", "5 million", "5,000,000", True, "5,000,000"),
        ("number", "$5M", "$5 million", True, "$5 million"),
        ("number", "$5M", "5 m", False, "5 m"),
        ("number", "$50", "50 cents", False, "50 cents"),
        ("number", "9.8", "9.8 m/s²", True, "9.8 m/s²"),
        ("number", "9.8 m/s²", "9.8 m/s", False, "9.8 m/s"),
        ("number", "5", "5 N", True, "5 N"),
        ("number", "5 N", "5 J", False, "5 J"),
        ("number", "3e8", "3×10⁸ m/s", True, "3×10⁸ m/s"),
        ("number", "1024", "2^10", True, "2^10"),
        ("number", "0.001", "10^-3", True, "10^-3"),
        ("number", "-5", "10-15", False, None),
        ("number", "-5 cm", "10cm - 15cm", False, None),
        # yes and no: by the first word, unless both are named
        ("yes_no", "yes", "Yes, it is.", True, "yes"),
        ("yes_no", "yes", "True", True, "yes"),
        ("yes_no", "yes", "No", False, "no"),
        ("yes_no", "yes", "yes and no", False, None),
        ("yes_no", "yes", "I think yes", False, None),
        ("yes_no", "yes", "Y", True, "yes"),
        ("yes_no", "no", "**F**", True, "no"),
        ("yes_no", "yes", "N", False, "no"),
        ("yes_no", "yes", "Y or N", False, None),
        ("yes_no", "yes", "T-shirt", False, None),
        # compounds and amounts among texts: no blank counts beside a digit or a sign
        ("text", "10-15 cm", "10 - 15cm", True, "10 - 15cm"),
        ("text", "10-15 cm", "10–15 cm", True, "10-15 cm"),
        ("text", "10-15 cm", "10-16 cm", False, "10-16 cm"),
        ("text", "1920×1080", "1920 x 1080", True, "1920 x 1080"),
        ("text", "5cm×7cm", "5 cm x 7 cm", True, "5 cm x 7 cm"),
        ("text", "5 x 7", r"$5 \times 7$", True, r"5 \times 7"),
        ("text", "5cm×7cm", "35 cm", False, "35 cm"),
        ("text", "10:30 AM", "10:30AM", True, "10:30am"),
        ("text", "10 am", "10 a.m.", True, "10 a.m"),
        ("text", "10 am", "10", False, "10"),
        ("text", "10 am", "10 pm", False, "10 pm"),
        ("text", "1,000 km", "1000 km", True, "1000 km"),
        ("text", "1 1/2 cups", "11/2 cups", False, "11/2 cups"),
        ("text", "1,5", "15", False, "15"),
        ("text", "room 1 A", "room 1A", False, "room 1a"),
        # texts: the same words, in any case, with or without quotes and stops
        ("text", "a red cup", "A red  cup.", True, "a red cup"),
        ("text", "a red cup", '"A red cup"', True, "a red cup"),
        ("text", "a red cup", "red cup", False, "red cup"),
        ("text", "a red cup", "a red cup or a jug", False, "a red cup or a jug"),
        ("text", "a red cup", "...", False, None),
        # accents as one character or two, and the signs of typesetters
        ("text", "cafe\u0301", "caf\u00e9", True, "caf\u00e9"),
        ("text", "1990\u20131995", "1990-1995", True, "1990-1995"),
        ("text", "Joe\u2019s bar", "Joe's bar", True, "joe's bar"),
    ],
)
def test_answers_are_compared_by_their_kind(
    kind: Kind, gold: str, answer: str, right: bool, read: str | None
) -> None:
    options = ("cup", "jug") if kind == "option" else ()
    sample = Sample("1", "Q?", Gold(kind, gold, options))
    task = Vqa("")
    score = task.score(sample, answered(answer))
    assert score.metrics == {"accuracy": float(right)}
    assert score.parsed == read
    assert rewards_of(task, sample, answered(answer)) == {"accuracy": float(right), "format": 1.0}


def test_turns_and_system_texts_reach_the_prompt() -> None:
    task = Vqa(str(HERE / "trl.jsonl"), template="{question}", system="Look closely.")
    first, second = task.samples("train")
    prompt = task.prompt(first)
    assert prompt.system == "Be brief."  # the row's own
    assert prompt.turns == (Turn("user", "<image>Which colour?"), Turn("assistant", "Red."))
    assert prompt.text == "How many?"
    assert task.prompt(second).system == "Look closely."
    assert task.prompt(second).text == "<image>How wide?"


def test_the_base_style_writes_turns_pictures_and_system_text_into_a_transcript() -> None:
    task = Vqa(str(HERE / "trl.jsonl"), style="base", system="Look closely.")
    first, second = map(task.prompt, task.samples("train"))
    assert (first.raw, first.turns, first.prefill) == (True, (), "<think>")
    assert first.system == "Be brief.\n"  # the row's own
    assert first.text.endswith(
        "the number, with its unit if it has one, between <answer> and </answer>.\n"
        "User: <image>Which colour?\nAssistant: Red.\nUser: How many?\n"
        "Assistant: I go through it one step at a time.\n"
    )
    assert second.system == "Look closely.\n"
    assert "User: <image>How wide?\n" in second.text


def test_the_base_style_asks_options_and_takes_another_template(tmp_path: Path) -> None:
    options = {"question": "Which?", "answer": "jug", "options": ["cup", "jug"]}
    task = task_of(tmp_path, [options], style="base")
    (sample,) = task.samples("train")
    lines = "User: Which?\nChoose one of these options:\n(A) cup\n(B) jug\nAssistant: "
    assert lines in task.prompt(sample).text
    assert "the letter of the right option" in task.prompt(sample).text
    own = Vqa("", style="base", template="Q: {question} Give {answer}. A:")
    assert own.prompt(Sample("1", "Why?", Gold("text", "so"))).text == (
        "Q: Why? Give a short answer. A:"
    )
    with pytest.raises(UserError, match=r"task\.template has no place; write \{turns\}"):
        own.prompt(Sample("1", "Why?", Gold("text", "so", turns=(Turn("user", "Hi"),))))


def test_an_answer_in_the_base_style_continues_the_tag_of_its_prompt() -> None:
    sample = Sample("1", "Why?", Gold("text", "so"))
    continued = Completion("I look.</think><answer>so</answer>")
    task = Vqa("", style="base")
    assert rewards_of(task, sample, continued) == {"accuracy": 1.0, "format": 1.0}
    reference = Completion(task.reference(sample, ()))
    assert rewards_of(task, sample, reference) == {"accuracy": 1.0, "format": 1.0}
    assert rewards_of(Vqa(""), sample, continued) == {"accuracy": 1.0, "format": 0.0}


def test_every_format_passes_the_check_in_the_base_style() -> None:
    for file in FILES:
        result = check.check(Vqa(str(HERE / file), style="base"), ["train"])
        assert result.ok, result.lines()


def test_the_first_prompt_of_the_base_style_is_shown_to_its_end() -> None:
    line = Vqa(str(HERE / "trl.jsonl"), style="base").describe("train")
    assert "first prompt: 'Be brief.\\nA user asks" in line
    assert line.endswith(
        "User: How many?\\nAssistant: I go through it one step at a time.\\n<think>'"
    )


def test_the_reading_is_said_in_one_line() -> None:
    line = Vqa(str(HERE / "llava.json")).describe("train")
    assert line.startswith(
        "read as LLaVA conversations, answers are texts; first prompt: 'Its colo"
    )
    assert "\n" not in line


def test_samples_carry_their_columns_and_can_be_pickled() -> None:
    sample = Vqa(str(HERE / "canonical_vqa.jsonl")).samples("train")[0]
    assert sample.columns["options"] == ["red", "blue"]
    assert pickle.loads(pickle.dumps(sample)) == sample


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"question": "?", "answer": "14"}, {}),
        ({"query": "?", "label": ["14"]}, {"question": "query", "answer": "label.0"}),
        ({"prompt": "?", "solution": "<answer>14</answer>"}, {}),
        ({"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "14"}],
          "image": None}, {}),
        ({"prompt": [{"role": "user", "content": "?"}], "reward_model": {"ground_truth": "14"}},
         {}),
    ],
)  # fmt: skip
def test_a_reward_of_trl_gets_the_answer_whatever_the_data_call_it(
    row: dict[str, Any], columns: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    task = Vqa(str(tmp_path / "rows.jsonl"), columns=columns)
    (sample,) = task.samples("train")
    seen: list[Any] = []

    def right(completions: Any, answer: Any, **more: Any) -> list[float]:
        seen.extend(answer)
        return [float(c[0]["content"] == a) for c, a in zip(completions, answer, strict=True)]

    assert from_trl(right)(sample, Completion("14", ())) == 1.0
    assert seen == ["14"]


def test_mistakes_in_the_settings_are_named() -> None:
    with pytest.raises(UserError, match=r"task\.template: write \{question\}"):
        Vqa("", template="Well?")
    with pytest.raises(UserError, match=r"task\.rows: expected at least 1"):
        Vqa("", rows=0)


def test_the_shipped_configuration_and_benchmark_name_the_task() -> None:
    settings = ["task.data_dir=x", "data.format=trl", "task.kind=text"]
    task = registry.build(config.load("vqa", settings).task)
    assert task == Vqa("x", data_format="trl", kind="text")
    assert load_benchmark("vqa", [], "rows.jsonl").task.settings["data_dir"] == "rows.jsonl"
