"""The interface of tasks: what a task must define, what it may leave out, and its template."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from vrft import registry
from vrft.errors import UserError
from vrft.task import Reward, Task, check_template, check_types, samples_of
from vrft.types import Completion, Prompt, Sample, Score, View

SAMPLE = Sample("s", "Say yes.", "yes")


@dataclass(frozen=True)
class Yes(Task[str]):
    """The methods that every task must have."""

    times: int = 1

    primary = "right"
    data = "nothing"

    def samples(self, split: str) -> Sequence[Sample[str]]:
        return [SAMPLE] * self.times

    def prompt(self, sample: Sample[str]) -> Prompt:
        return Prompt(sample.question)

    def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
        return sample.answer

    def rewards(self) -> Mapping[str, Reward[str]]:
        return {}

    def score(self, sample: Sample[str], completion: Completion) -> Score:
        return Score({"right": 1.0}, completion.text)


def test_a_task_may_leave_out_boxes_masks_and_aggregates() -> None:
    task = Yes()
    assert task.boxes(SAMPLE) == ()
    assert task.region(SAMPLE) is None
    assert task.aggregates([]) == {}


@pytest.mark.parametrize("method", ["samples", "prompt", "reference", "rewards", "score"])
def test_a_task_without_one_of_its_methods_cannot_be_built(method: str) -> None:
    incomplete = type("Incomplete", (Yes,), {method: getattr(Task, method)})
    with pytest.raises(TypeError, match=f"abstract method '?{method}"):
        incomplete()


def test_primary_and_data_are_no_settings() -> None:
    assert [field.name for field in dataclasses.fields(Yes)] == ["times"]


@pytest.mark.parametrize("name", sorted(registry.names()))
def test_every_task_names_its_primary_metric_and_its_data(name: str) -> None:
    task = registry.task_class(name)
    assert task.primary and task.data
    assert "\n" not in task.data
    assert {"primary", "data"}.isdisjoint(field.name for field in dataclasses.fields(task))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        # the placeholder is there, among other braces
        ("{question} as JSON: {'answer': 1}", None),
        # it is missing, misspelt, or another one
        ("How many?", r"task\.template: write \{question\} where the question belongs"),
        ("{Question}", r"task\.template: write \{question\}"),
        ("{instruction}", r"task\.template: write \{question\}"),
    ],
)
def test_a_template_must_say_where_the_question_belongs(template: str, message: str | None) -> None:
    if message is None:
        check_template(template, "question")
    else:
        with pytest.raises(UserError, match=message):
            check_template(template, "question")


def test_samples_are_a_list_of_samples() -> None:
    class Given(SimpleNamespace):
        def samples(self, split: str) -> object:
            return self.value

    listed = [Sample("a", "?", "")]
    for value in (listed, tuple(listed), []):
        assert samples_of(cast("Task[str]", Given(value=value)), "train") is value
    for value, kind in ((iter(listed), "list_iterator"), (None, "NoneType"), ({"a": 1}, "dict")):
        with pytest.raises(UserError, match=rf"'train': .* gave a value of type {kind}; return a"):
            samples_of(cast("Task[str]", Given(value=value)), "train")


def test_prompts_and_references_have_their_types() -> None:
    check_types(Prompt("?"), "")
    with pytest.raises(UserError, match=r"prompt\(\) gave a str; return a Prompt"):
        check_types("?", "")
    with pytest.raises(UserError, match=r"reference\(\) gave a NoneType; return a text"):
        check_types(Prompt("?"), None)
