"""Questions and answers: the kind of answer, options, turns, and what is right."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from fakes.folders import RECORDS

from vrft import config, registry
from vrft.checks import check
from vrft.errors import UserError
from vrft.evaluation.benchmark import load_benchmark
from vrft.rewards import rewards_of
from vrft.types import Completion, Sample, Turn
from vrft_tasks._vqa import Gold, Kind
from vrft_tasks.vqa import Vqa

HERE = RECORDS / "formats"
FILES = (
    "canonical_vqa.jsonl", "trl.jsonl", "llava.json", "swift_solution.jsonl", "sharegpt.jsonl",
    "openai.jsonl", "verl.parquet",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))


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
    with pytest.raises(UserError, match=r"line 1: the answer 'red' is neither yes nor no"):
        task_of(tmp_path, ["red"], kind="yes_no").samples("train")


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
    ],
)
def test_a_row_that_cannot_be_asked_is_named(
    row: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"rows\.jsonl: line 1: .*{complaint}"):
        task_of(tmp_path, [row]).samples("train")


def test_options_in_some_rows_only_are_refused(tmp_path: Path) -> None:
    rows = [{"question": "Q?", "answer": "A", "options": ["cup", "jug"]}, "B"]
    with pytest.raises(UserError, match=r"line 2: no options, as .*line 1 has"):
        task_of(tmp_path, rows).samples("train")


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
        # yes and no: by the first word, unless both are named
        ("yes_no", "yes", "Yes, it is.", True, "yes"),
        ("yes_no", "yes", "True", True, "yes"),
        ("yes_no", "yes", "No", False, "no"),
        ("yes_no", "yes", "yes and no", False, None),
        ("yes_no", "yes", "I think yes", False, None),
        # texts: the same words, in any case, with or without quotes and stops
        ("text", "a red cup", "A red  cup.", True, "a red cup"),
        ("text", "a red cup", '"A red cup"', True, "a red cup"),
        ("text", "a red cup", "red cup", False, "red cup"),
        ("text", "a red cup", "a red cup or a jug", False, "a red cup or a jug"),
        ("text", "a red cup", "...", False, None),
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
