"""Counting: the published rows, strict and published reading, and the published totals."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS
from PIL import Image

from vrft import answers, config, registry
from vrft.checks import check
from vrft.errors import UserError
from vrft.evaluation import summary
from vrft.evaluation.benchmark import load_benchmark
from vrft.images import image_size
from vrft.rewards import rewards_of
from vrft.types import Completion, Prediction, Prompt, Sample
from vrft_tasks import counting
from vrft_tasks.counting import Counting

HERE = RECORDS / "counting"
LIST = HERE / "superclevr" / "superclevr_test200_counting_problems.jsonl"

SEVEN = Sample("0", "How many items are there in the image?", 7)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


def answered(answer: str) -> Completion:
    return Completion(f"<think>I count.</think><answer>{answer}</answer>")


def test_clevr_is_read_as_published() -> None:
    samples = Counting(str(HERE)).samples("train")
    assert [(sample.id, sample.answer) for sample in samples] == [
        ("0", 3), ("1", 7), ("2", 10), ("3", 0),
    ]  # fmt: skip
    assert samples[0].question == "How many items are there in the image?"
    assert [image_size(*sample.images) for sample in samples] == [(32, 24)] * 4


def test_superclevr_finds_its_pictures_beside_its_list() -> None:
    samples = Counting(str(LIST)).samples("test")
    assert [sample.answer for sample in samples] == [3, 5, 10]
    assert [image_size(*sample.images) for sample in samples] == [(64, 48)] * 3


def test_rows_written_by_hand_and_rows_of_trl_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "a.png")
    rows: list[dict[str, Any]] = [
        {"id": "x", "images": ["a.png"], "question": "How many?", "answer": 3, "subset": "easy"},
        {"image": "a.png", "prompt": [{"role": "user", "content": "And now?"}], "solution": "4."},
    ]
    (tmp_path / "mine.json").write_text(json.dumps(rows), encoding="utf-8")
    first, second = Counting(str(tmp_path / "mine.json")).samples("train")
    assert (first.id, first.answer, first.subset) == ("x", 3, "easy")
    assert (second.question, second.answer) == ("And now?", 4)
    assert Counting(str(tmp_path / "mine.json"), rows=1).samples("train") == [first]


@pytest.mark.parametrize("gold", [3, 3.0, "3", "3.0", "<answer> 3.00 </answer>"])
def test_a_whole_number_is_read_however_the_data_write_it(gold: object, tmp_path: Path) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "a.png")
    row = {"image": "a.png", "problem": "How many?", "solution": gold}
    (tmp_path / "a.json").write_text(json.dumps([row]), encoding="utf-8")
    assert [sample.answer for sample in Counting(str(tmp_path) + "/a.json").samples("train")] == [3]


def test_csv_with_a_missing_answer_is_read_up_to_it(tmp_path: Path) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "a.png")
    (tmp_path / "train.csv").write_text("image,question,answer\na.png,How many?,3.0\na.png,And?,\n")
    assert Counting(str(tmp_path), rows=1).samples("train")[0].answer == 3
    with pytest.raises(UserError, match=r"train\.csv: line 3: answer is empty"):
        Counting(str(tmp_path)).samples("train")


def test_rows_without_a_picture_stand_beside_others(tmp_path: Path) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "a.png")
    rows: list[dict[str, Any]] = [
        {"images": ["a.png"], "question": "How many?", "answer": 3},
        {"images": [], "question": "What is one and one?", "answer": 2},
        {"images": None, "question": "And two?", "answer": 3},
    ]
    (tmp_path / "mine.json").write_text(json.dumps(rows), encoding="utf-8")
    task = Counting(str(tmp_path / "mine.json"))
    assert [len(sample.images) for sample in task.samples("train")] == [1, 0, 0]
    notes = check.check(task, ["train"]).splits[0].findings.notes
    assert "2 have no picture, where others have one: 1, 2" in [str(note) for note in notes]
    # A column of another name is no row without a picture.
    (tmp_path / "mine.json").write_text('[{"img": "a.png", "question": "?", "answer": 3}]')
    with pytest.raises(UserError, match="no images or image or image_path; there is img"):
        task.samples("train")


@pytest.mark.parametrize("gold", ["", "three", "3 or 4", "3.5", "-1", "<answer></answer>", "٣"])
def test_an_answer_that_is_no_number_of_things_is_named(gold: str, tmp_path: Path) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "a.png")
    row = {"image": "a.png", "problem": "How many?", "solution": gold}
    (tmp_path / "bad.json").write_text(json.dumps([row]), encoding="utf-8")
    with pytest.raises(UserError, match=r"bad\.json: row 0: the answer .* is no number of things"):
        Counting(str(tmp_path / "bad.json")).samples("train")


def test_mistakes_in_the_settings_are_named() -> None:
    with pytest.raises(UserError, match=r"task\.template: write \{question\}"):
        Counting(template="Well?")
    with pytest.raises(UserError, match=r"task\.rows: expected at least 1, got -1"):
        Counting(rows=-1)


def test_the_prompt_asks_for_the_contract_or_what_the_user_wants() -> None:
    prompt = Counting().prompt(SEVEN)
    assert prompt.text.startswith(f"{SEVEN.question}\n")
    for tag in answers.TAGS:
        assert tag in prompt.text
    own = Counting(template="{question} {n}", system="Be brief.")
    assert own.prompt(SEVEN) == Prompt(f"{SEVEN.question} {{n}}", system="Be brief.")


def test_the_reference_earns_full_marks() -> None:
    for task, split in ((Counting(str(HERE)), "train"), (Counting(str(LIST)), "test")):
        result = check.check(task, [split])
        assert result.ok, result.lines()
        (found,) = result.splits
        assert found.gold == {"reward accuracy": 1.0, "reward format": 1.0, "accuracy": 1.0}


# The answer, what is read of it, whether 7 is right strictly and by the published rule.
READINGS = [
    ("7", 7, 1.0, 1.0),
    (" 7\n", 7, 1.0, 1.0),
    ("007", 7, 1.0, 1.0),
    # words around the number: the published rule sees no answer
    ("There are 7 items.", 7, 1.0, 0.0),
    ("**7**", 7, 1.0, 0.0),
    ("7.", 7, 1.0, 0.0),
    # another number
    ("8", 8, 0.0, 0.0),
    ("-7", -7, 0.0, 0.0),
    ("77", 77, 0.0, 0.0),
    # a decimal, a sum, a range, an exponent, a word
    ("7.0", None, 0.0, 0.0),
    ("3+4", None, 0.0, 0.0),
    ("6-7", None, 0.0, 0.0),
    ("7e0", None, 0.0, 0.0),
    ("7^9^9^9", None, 0.0, 0.0),
    ("seven", None, 0.0, 0.0),
    # every number at once
    ("3 4 5 6 7 8 9 10", None, 0.0, 0.0),
    # digits of another script count by the published rule alone, but full-width ones are read
    ("٧", None, 0.0, 1.0),
    ("７", 7, 1.0, 1.0),
    # as models wrap it
    ("\\boxed{7}", 7, 1.0, 0.0),
    ("7个", 7, 1.0, 0.0),
    ("**Answer:** 7", 7, 1.0, 0.0),
    # more digits than any number of things has
    ("7" * 5000, None, 0.0, 0.0),
    ("", None, 0.0, 0.0),
]


@pytest.mark.parametrize(("answer", "read", "strict", "legacy"), READINGS)
def test_an_answer_is_read_strictly_and_as_published(
    answer: str, read: int | None, strict: float, legacy: float
) -> None:
    score = Counting().score(SEVEN, answered(answer))
    assert score.parsed == read
    assert score.metrics == {"accuracy": strict, "legacy_accuracy": legacy}
    assert rewards_of(Counting(), SEVEN, answered(answer))["accuracy"] == strict


@pytest.mark.parametrize(
    ("text", "strict", "legacy"),
    [
        # several blocks: the last one counts, by the published rule the first
        ("<answer>7</answer><answer>8</answer>", 0.0, 1.0),
        ("<answer>8</answer><answer>7</answer>", 1.0, 0.0),
        # no block
        ("7", 0.0, 0.0),
        ("<think>7</think>", 0.0, 0.0),
        ("<answer>7", 0.0, 0.0),
        # the prompt echoed
        (Counting().prompt(SEVEN).text, 0.0, 0.0),
    ],
)
def test_the_answer_block_is_what_counts(text: str, strict: float, legacy: float) -> None:
    score = Counting().score(SEVEN, Completion(text))
    assert score.metrics == {"accuracy": strict, "legacy_accuracy": legacy}


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece", ["<answer>", "<answer> ", "<answer>7 ", "7", "7 ", " ", "<answer>6</answer>"]
)
def test_a_megabyte_earns_nothing_in_linear_time(piece: str) -> None:
    text = "<answer>" + piece * (1_000_000 // len(piece))
    for end in ("", "</answer>"):
        score = Counting().score(replace(SEVEN, answer=5), Completion(text + end))
        assert score.metrics == {"accuracy": 0.0, "legacy_accuracy": 0.0}


TRUTHS = {3: 30, 4: 18, 5: 30, 6: 27, 7: 18, 8: 24, 9: 25, 10: 28}
"""How many of the 200 pictures of SuperCLEVR hold how many items."""


@pytest.mark.parametrize(
    ("right", "unreadable", "percent"),
    [
        # R1-V's logs: Qwen2-VL-2B-Instruct, and after 100 steps of GRPO
        (96, 45, 48.0),
        (165, 0, 82.5),
    ],
)
def test_an_unreadable_answer_stays_in_the_denominator(
    right: int, unreadable: int, percent: float
) -> None:
    truths = [number for number, count in TRUTHS.items() for _ in range(count)]
    samples = [Sample(str(i), "How many?", truth) for i, truth in enumerate(truths)]
    assert len(samples) == 200
    texts = [
        f"<answer>{s.answer if i < right else s.answer + 1}</answer>" for i, s in enumerate(samples)
    ]
    texts[len(texts) - unreadable :] = ["I see several."] * unreadable
    predictions = [Prediction(s.id, text) for s, text in zip(samples, texts, strict=True)]
    report = summary.summarize(Counting(), samples, predictions, "superclevr")
    assert (report.n, report.unreadable) == (200, unreadable)
    for metric in ("accuracy", "legacy_accuracy"):
        assert 100 * report.metrics[metric].mean == pytest.approx(percent)


def test_the_shipped_files_say_what_was_published() -> None:
    benchmark = load_benchmark("superclevr", data_dir=str(LIST))
    assert benchmark.paper == {"base": 48.0, "grpo": 82.5}
    assert benchmark.sampling.max_completion_length == 256
    assert len(registry.build(benchmark.task).samples(benchmark.split)) == 3
    assert config.load("counting").task.name == "counting"


def test_task_and_samples_travel_to_other_processes() -> None:
    task = Counting(str(HERE))
    samples = task.samples("train")
    assert pickle.loads(pickle.dumps((task, samples))) == (task, samples)
    assert counting.counted("<answer>4</answer>") == 4
