"""A dry run tries the gold answers that the run itself would try, and refuses what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.bigram import CONFIG, BigramPolicy, Echo, run

from vrft.errors import PictureError, UserError
from vrft.training import gold_trial
from vrft.training.stream import coming_prompts
from vrft.types import Completion, Sample, View


@dataclass(frozen=True)
class Silent(Echo):
    """A task whose gold answers earn nothing; it takes down of which samples it is asked."""

    asked: list[str] = field(default_factory=list)

    def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
        self.asked.append(sample.id)
        return "?"


@dataclass(frozen=True)
class Half(Echo):
    """A task whose reward gives half for the right answer."""

    def rewards(self) -> Any:
        return {"half": half}


def half(sample: Sample[str], completion: Completion) -> float:
    return 0.5


def tried(task: Any, process: int = 0, **train: object) -> int:
    settings: Any = replace(CONFIG, train=replace(CONFIG.train, **train))  # type: ignore[arg-type]
    accelerator: Any = SimpleNamespace(process_index=process, is_main_process=process == 0)
    samples = task.samples("train")
    return gold_trial.try_gold_answers(settings, task, samples, BigramPolicy(), accelerator)


def test_gold_answers_that_earn_full_reward_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tried(Echo()) == 2
    assert tried(Echo(), per_device_train_batch_size=1) == 1
    assert capsys.readouterr().err == ""


def test_a_gold_answer_that_earns_nothing_is_refused_as_the_run_refuses_it() -> None:
    with pytest.raises(UserError, match=r"^before the first update: gold_answer: .*earns nothing"):
        tried(Silent())


def test_the_samples_are_those_of_the_runs_first_step() -> None:
    first = [drawn.sample.id for drawn in coming_prompts(run(CONFIG))]
    asked: list[str] = []
    with pytest.raises(UserError):
        tried(Silent(asked=asked))
    assert asked == first[:1]


def test_a_gold_answer_that_earns_less_is_warned_of_and_refused_where_that_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tried(Half()) == 2
    assert capsys.readouterr().err.startswith("warning: gold_answer: ")
    assert tried(Half(), process=1) == 2  # one process speaks for all
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"earns less than 1 .*train\.strict=true makes an error"):
        tried(Half(), strict=True)
    assert capsys.readouterr().err == ""


def test_a_picture_of_the_first_step_that_cannot_be_read_is_refused() -> None:
    class Blind(BigramPolicy):
        def encode(self, prompts: Any, max_length: int | None = None) -> list[int]:
            raise PictureError("a picture of 250:1")

    accelerator: Any = SimpleNamespace(process_index=0, is_main_process=True)
    samples = Echo().samples("train")
    with pytest.raises(UserError, match="250:1"):
        gold_trial.try_gold_answers(CONFIG, Echo(), samples, Blind(), accelerator)
