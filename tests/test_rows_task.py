"""The base of tasks on rows: their settings, and prompts of both styles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vrft.errors import UserError
from vrft.rows_task import RowsTask
from vrft.task import Reward
from vrft.types import Completion, Prompt, Sample, Score, Turn, View


@dataclass(frozen=True)
class Gold:
    text: str
    system: str | None = None
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Loud(RowsTask[Gold]):
    """A user's task on rows: answers in capital letters."""

    mark: str = "!"
    primary = "loud"
    data = "rows"
    chat = "{question} Say {how}."
    base = "{turns}Q: {question} ({how})\nA:"

    def samples(self, split: str) -> Sequence[Sample[Gold]]:
        rows = self.read(split).rows
        return [Sample(row.id, row.question, Gold(str(row.answer)), row.files()) for row in rows]

    def prompt(self, sample: Sample[Gold]) -> Prompt:
        return self.ask(sample, sample.question, {"how": f"it loudly{self.mark}"})

    def reference(self, sample: Sample[Gold], views: tuple[View, ...]) -> str:
        return f"<think>.</think>\n<answer>{sample.answer.text.upper()}</answer>"

    def rewards(self) -> Mapping[str, Reward[Gold]]:
        return {"format": self.follows_format}

    def score(self, sample: Sample[Gold], completion: Completion) -> Score:
        return Score({"loud": float(completion.text.isupper())}, completion.text)


def sample(question: str = "Which?", **own: Any) -> Sample[Gold]:
    return Sample("a", question, Gold("red", **own))


def test_a_users_task_reads_rows_of_any_format(tmp_path: Path) -> None:
    rows = [{"id": str(n), "problem": "What?", "answer": n, "images": []} for n in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = Loud(str(tmp_path / "rows.jsonl"), rows=2)
    assert [each.answer.text for each in task.samples("train")] == ["0", "1"]
    assert task.read("train").name == "easyr1"


def test_the_question_is_put_in_last_so_that_its_braces_stay() -> None:
    asked = Loud("rows").prompt(sample("Is {how} a set?"))
    assert asked.text == "Is {how} a set? Say it loudly!." and not asked.raw
    template = Loud("rows", template="{question}?", mark="").prompt(sample("What"))
    assert template.text == "What?"


def test_a_base_model_is_asked_in_plain_text_with_the_earlier_turns() -> None:
    turns = (Turn("user", "Hi."), Turn("assistant", "Hello."))
    asked = Loud("rows", style="base", system="Be kind.").prompt(sample(turns=turns))
    assert asked.raw and asked.text.endswith("Q: Which? (it loudly!)\nA:")
    assert "Hi." in asked.text and "Hello." in asked.text and asked.system == "Be kind.\n"


def test_a_rows_own_system_text_comes_before_that_of_the_setting() -> None:
    task = Loud("rows", system="Be kind.")
    assert task.prompt(sample()).system == "Be kind."
    assert task.prompt(sample(system="")).system == ""
    turns = (Turn("user", "Hi."), Turn("assistant", "Hello."))
    assert task.prompt(sample(turns=turns)).turns == turns


def test_the_form_of_an_answer_depends_on_the_style() -> None:
    text = "<think>a</think>\n<answer>b</answer>"
    opened = text.removeprefix("<think>")
    chat, base = Loud("rows"), Loud("rows", style="base")
    assert (chat.follows_format(sample(), Completion(text, ())), 
            chat.follows_format(sample(), Completion(opened, ()))) == (1.0, 0.0)  # fmt: skip
    assert base.follows_format(sample(), Completion(opened, ())) == 1.0


def test_settings_that_are_wrong_are_refused() -> None:
    with pytest.raises(UserError, match=r"task\.rows: expected at least 1, got 0"):
        Loud("rows", rows=0)
    with pytest.raises(UserError, match="question"):
        Loud("rows", template="Say it.")


def hinted(folder: Path, template: str, *hints: Any) -> Loud:
    rows = [{"question": "{how} {hint}?", "answer": "red", "hint": hint} for hint in hints]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Loud(str(folder / "rows.jsonl"), template=template)


def with_columns(**columns: Any) -> Sample[Gold]:
    return Sample("a", "{how} {hint}?", Gold("red"), columns=columns)


@pytest.mark.parametrize("style", ["chat", "base"])
def test_a_template_may_name_columns_of_the_row(style: Any) -> None:
    task = Loud("", style=style, template="{hint} {question} {how}")
    for hint, text in (("It {how}s.", "It {how}s."), (3.0, "3"), (None, ""), (float("nan"), "")):
        prompt = task.prompt(with_columns(hint=hint, how="no word of the row"))
        assert prompt.text == f"{text} {{how}} {{hint}}? it loudly!"
    assert task.prompt(with_columns()).text == " {how} {hint}? it loudly!"
    with pytest.raises(UserError, match=r"sample 'a': the column 'hint', .* is no text: \['a'\]"):
        task.prompt(with_columns(hint=["a"]))


def test_a_column_of_a_template_that_the_first_row_lacks_is_refused(tmp_path: Path) -> None:
    task = hinted(tmp_path, "{hint} {question} \\boxed{x} {answer}", "look", None)
    reading = task.read("train")
    line = task.reading_line(reading, "texts", with_columns(hint="look"))
    assert "columns left out" not in line and "look {how} {hint}? " in line
    with pytest.raises(UserError, match=r"line 1: no column 'hnt', which task.template .*hint"):
        hinted(tmp_path, "{hnt} {question}", "look").read("train")
